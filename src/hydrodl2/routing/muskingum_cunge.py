"""Nonlinear Muskingum-Cunge routing through a river network, differentiable, in memory that does not grow with time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache, cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor, nn

from dmg.core.utils.river_network import RiverNetwork
from dmg.engine.backend import reason_against
from dmg.engine.simulate import ENGINES
from dmg.errors import ConfigError, DataError, did_you_mean
from hydrodl2.routing.muskingum_cunge_reach import MINIMUM_DISCHARGE, MuskingumCungeReach
from hydrodl2.routing.wavefront import WaveFront

ATTRIBUTES = tuple(a.name for a in MuskingumCungeReach.attributes)
DIAGNOSTICS = tuple(flux.name for flux in MuskingumCungeReach.fluxes if flux.diagnostic)
#: Parameters whose share of the way between their bounds is that of their logarithms.
LOGARITHMIC = ("p_spatial",)


class MuskingumCunge(nn.Module):
    """Routes lateral inflow of the reaches of a network to discharge at every reach.

    On a CPU reaches are run in blocks from the headwaters down, in one kernel of the engine, a segment of time at a
    time. The way back runs segment after segment again, so that its memory depends on the segment and, for the states
    before each, little on the length of the series. On a GPU they are run as a wave front.

    Parameters
    ----------
    network
        Reaches and where they drain to.
    length, slope
        Of every reach [m], [-], in the order of the network.
    weight
        Weight X of the inflow, one or one per reach.
    minimum_slope
        Least slope that is used.
    dt
        Time step of the routing [s].
    substeps
        Routing steps in one step of the lateral inflow, which is constant meanwhile: 24 for daily runoff and hourly
        routing.
    nonnegative
        See `MuskingumCungeReach`.
    engine
        ``fused``: the kernel. ``eager``: the wave front, in PyTorch. ``auto``: the kernel where there is one.
    block
        Steps of the lateral inflow that the wave front runs at a time; the way back runs each of them again.
    """

    def __init__(
        self,
        network: RiverNetwork,
        length: ArrayLike,
        slope: ArrayLike,
        weight: ArrayLike = 0.3,
        *,
        minimum_slope: float = 1e-3,
        dt: float = 3600.0,
        substeps: int = 24,
        nonnegative: bool = False,
        engine: str = "auto",
        block: int = 10,
    ) -> None:
        super().__init__()
        if engine not in ENGINES:
            raise ConfigError(f"unknown engine '{engine}'", hint=did_you_mean(engine, ENGINES))
        self.network, self.substeps, self.engine, self.block = network, substeps, engine, block
        self.reach = _reach(float(dt), bool(nonnegative))
        self._forests: dict[torch.dtype, Any] = {}
        known = {"length": length, "slope": np.maximum(np.asarray(slope), minimum_slope), "weight": weight}
        for name, values in known.items():
            full = np.broadcast_to(np.asarray(values, dtype=np.float64), len(network))
            wrong = np.flatnonzero(~((full > 0.0) & np.isfinite(full)))
            if wrong.size:
                raise DataError(
                    f"the {name} of reach {network.ids[wrong[0]]} is {full[wrong[0]]:g}, which is no positive number",
                    hint="correct or leave out the reach",
                )
            self.register_buffer(name, torch.from_numpy(full.copy()))

    @cached_property
    def wave_front(self) -> WaveFront:
        """The reaches as a wave front."""
        return WaveFront(self.network)

    def hot_start(self, lateral: Tensor) -> Tensor:
        """Return the discharge [N] at which inflow and outflow of every reach are equal for a lateral inflow [N]."""
        return _Accumulate.apply(self.network, lateral.clamp(min=MINIMUM_DISCHARGE))

    def parameters_at(self, share: Tensor) -> dict[str, Tensor]:
        """Return the parameters at places between their bounds.

        Parameters
        ----------
        share
            In [0, 1], [N, 3], as a network gives them: Manning's n, q and p, the last one by its logarithm.
        """
        found = {}
        for declared, part in zip(self.reach.parameter_table, share.unbind(-1), strict=True):
            low, high = declared.low, declared.high
            if declared.name in LOGARITHMIC:
                found[declared.name] = low * (high / low) ** part
            else:
                found[declared.name] = low + (high - low) * part
        return found

    def forward(
        self,
        lateral: Tensor,
        parameters: Mapping[str, Tensor],
        state: Tensor | None = None,
        *,
        every_substep: bool = False,
    ) -> tuple[Tensor, Tensor]:
        """Route.

        Parameters
        ----------
        lateral
            Lateral inflow [T, N] in m3 s-1, in the order of the network.
        parameters
            Manning's ``n``, ``q_spatial`` and ``p_spatial`` [N], in their units.
        state
            Discharge [N] before the first step, not below the minimum; the hot start of the first lateral inflow if
            absent.
        every_substep
            Return the discharge after every routing step, not its mean over each step of the lateral inflow.

        Returns
        -------
        discharge
            [T, N], or [T * substeps, N].
        state
            Discharge [N] after the last step.
        """
        series, state = self._run(lateral, parameters, state, ("discharge_kept",), every_substep)
        return series["discharge_kept"], state

    def diagnose(
        self, lateral: Tensor, parameters: Mapping[str, Tensor], state: Tensor | None = None
    ) -> dict[str, Tensor]:
        """Return how often a reach [N] left what the method is made for; the arguments are those of `forward`.

        Returns
        -------
        dict
            ``negative``: share of the routing steps with a negative coefficient. ``clamped``: with a discharge that
            was below the minimum. ``added``: mean of the water that the minima added, m3 s-1.
        """
        with torch.no_grad():
            series, _ = self._run(lateral, parameters, state, DIAGNOSTICS, False)
        return {name: values.mean(0) for name, values in series.items()}

    def _run(
        self,
        lateral: Tensor,
        parameters: Mapping[str, Tensor],
        state: Tensor | None,
        fluxes: Sequence[str],
        every_substep: bool,
    ) -> tuple[dict[str, Tensor], Tensor]:
        if lateral.ndim != 2 or lateral.shape[1] != len(self.network) or not len(lateral):
            raise DataError(
                f"the lateral inflow has shape {tuple(lateral.shape)}, the network {len(self.network)} reaches",
                hint="give [time, reach]",
            )
        state = self.hot_start(lateral[0]) if state is None else state.clamp(min=MINIMUM_DISCHARGE)
        attributes = {name: getattr(self, name).to(lateral) for name in ATTRIBUTES}
        reason = self._reason_against_fused(lateral)
        if self.engine == "fused" and reason:
            raise ConfigError(f"the network cannot be run fused: {reason}", hint="use engine: auto or eager")
        if self.engine != "eager" and not reason:
            return self._run_fused(lateral, parameters, attributes, state, fluxes, every_substep)
        return self.wave_front.run(
            self.reach, lateral, parameters, attributes, state, fluxes,
            substeps=self.substeps, block=self.block, every_substep=every_substep,
        )  # fmt: skip

    @staticmethod
    def _reason_against_fused(lateral: Tensor) -> str | None:
        if lateral.device.type != "cpu" or lateral.dtype not in (torch.float32, torch.float64):
            return f"there is no kernel for {lateral.dtype} on {lateral.device}"
        return reason_against(lateral.device)

    def _run_fused(
        self,
        lateral: Tensor,
        parameters: Mapping[str, Tensor],
        attributes: Mapping[str, Tensor],
        state: Tensor,
        fluxes: Sequence[str],
        every_substep: bool,
    ) -> tuple[dict[str, Tensor], Tensor]:
        # Imported here: an eager run needs no compiler.
        from dmg.engine.forest import Forest
        from dmg.engine.fused_forest import run_forest
        from dmg.engine.geometry import LANES
        from dmg.engine.llvm_forest import Passing

        if lateral.dtype not in self._forests:
            self._forests[lateral.dtype] = Forest(self.network.downstream, LANES[lateral.dtype])
        # The reach scales what it is given from [0, 1] to the bounds.
        share = [(parameters[p.name] - p.low) / (p.high - p.low) for p in self.reach.parameter_table]
        series, states = run_forest(
            self.reach,
            self._forests[lateral.dtype],
            Passing(self.reach.above, tuple(fluxes), every_substep),
            {"lateral": lateral},
            torch.stack(share, dim=1),
            attributes,
            {"discharge": state},
            self.substeps,
        )
        return series, states["discharge"]


@cache
def _reach(dt: float, nonnegative: bool) -> MuskingumCungeReach:
    """Return the reach that all networks share, so that it is traced once."""
    return MuskingumCungeReach(dt=dt, nonnegative=nonnegative)


class _Accumulate(torch.autograd.Function):
    """Sums over all that is upstream; their gradient is summed along the way down."""

    @staticmethod
    def forward(ctx: Any, network: RiverNetwork, values: Tensor) -> Tensor:
        ctx.network = network
        return torch.from_numpy(network.accumulate(values.numpy(force=True))).to(values)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[None, Tensor]:
        return None, _ToOutlet.apply(ctx.network, gradient)


class _ToOutlet(torch.autograd.Function):
    """Sums along the way to the outlet; their gradient is summed over what is upstream."""

    @staticmethod
    def forward(ctx: Any, network: RiverNetwork, values: Tensor) -> Tensor:
        ctx.network = network
        return torch.from_numpy(network.to_outlet(values.numpy(force=True))).to(values)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[None, Tensor]:
        return None, _Accumulate.apply(ctx.network, gradient)
