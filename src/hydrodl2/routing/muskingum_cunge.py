"""Nonlinear Muskingum-Cunge routing through a river network, differentiable, in memory that does not grow with time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor, nn

from dmg.core.utils.river_network import RiverNetwork
from dmg.engine import RawParameters, simulate
from dmg.errors import ConfigError, DataError, did_you_mean
from hydrodl2.routing.muskingum_cunge_reach import MINIMUM_DISCHARGE, MuskingumCungeReach
from hydrodl2.routing.wavefront import WaveFront

METHODS = ("auto", "levels", "wavefront")
ATTRIBUTES = tuple(a.name for a in MuskingumCungeReach.attributes)


@dataclass(frozen=True)
class Level:
    """Reaches that do not depend on each other, as a slice of all reaches in order, and what drains into them.

    Parameters
    ----------
    reaches
        Their place in the order.
    upstream
        Places of the reaches that drain into them.
    into
        For each of those, the reach of the level, counted within it.
    """

    reaches: slice
    upstream: Tensor
    into: Tensor


class MuskingumCunge(nn.Module):
    """Routes lateral inflow of the reaches of a network to discharge at every reach.

    Reaches are advanced level by level, from the headwaters down; those of a level run through a block of time in one
    kernel of the engine. The way back recomputes block after block, so that its memory depends on the block, not on the
    length of the series.

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
    block
        Steps of the lateral inflow that are held in memory at sub-steps.
    method
        ``levels``: as above. ``wavefront``: see `WaveFront`; its gradient needs memory that grows with time. ``auto``:
        the wave front on a GPU, levels elsewhere.
    engine
        Of the levels: ``auto``, ``eager`` or ``fused``.
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
        block: int = 10,
        method: str = "auto",
        engine: str = "auto",
    ) -> None:
        super().__init__()
        if method not in METHODS:
            raise ConfigError(f"unknown method '{method}'", hint=did_you_mean(method, METHODS))
        self.method, self.wave_front = method, WaveFront(network)
        self.network, self.substeps, self.block = network, substeps, block
        self.reach = MuskingumCungeReach({"engine": engine}, dt=dt, nonnegative=nonnegative)
        known = {"length": length, "slope": np.maximum(slope, minimum_slope), "weight": weight}
        for name, values in known.items():
            full = np.broadcast_to(np.asarray(values, dtype=np.float64), len(network))
            if not np.isfinite(full).all() or (full <= 0.0).any():
                wrong = network.ids[int(np.flatnonzero(~(full > 0.0))[0])]
                raise DataError(f"the {name} of reach {wrong} is not positive", hint="correct or leave out the reach")
            self.register_buffer(name, torch.from_numpy(full[network.order].copy()))
        self.register_buffer("order", torch.from_numpy(network.order))
        self.register_buffer("place", torch.from_numpy(np.argsort(network.order)))
        self.levels = _levels(network)

    def hot_start(self, lateral: Tensor) -> Tensor:
        """Return the discharge [N] at which inflow and outflow of every reach are equal for a lateral inflow [N]."""
        total = lateral.detach()[self.order].clone()
        for level in self.levels:
            total[level.reaches].index_add_(0, level.into, total[level.upstream])
        return total.clamp(min=MINIMUM_DISCHARGE)[self.place]

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
            Discharge [N] before the first step; the hot start of the first lateral inflow if absent.
        every_substep
            Return the discharge after every routing step, not its mean over each step of the lateral inflow.

        Returns
        -------
        discharge
            [T, N], or [T * substeps, N].
        state
            Discharge [N] after the last step.
        """
        if lateral.shape[1:] != (len(self.network),):
            raise DataError(
                f"the lateral inflow has shape {tuple(lateral.shape)}, the network {len(self.network)} reaches",
                hint="give [time, reach]",
            )
        state = self.hot_start(lateral[0]) if state is None else state
        if self.method == "wavefront" or (self.method == "auto" and lateral.is_cuda):
            return self._as_wave_front(lateral, parameters, state, every_substep)
        raw = torch.stack([self._share(p, parameters[p.name]) for p in self.reach.parameter_table], dim=1)
        lateral, state, raw = lateral[:, self.order], state[self.order], raw[self.order]
        series = []
        for start in range(0, len(lateral), self.block):
            block = lateral[start : start + self.block]
            discharge, state = _Block.apply(self, every_substep, block, raw.to(block), state.to(block))
            series.append(discharge)
        return torch.cat(series)[:, self.place], state[self.place]

    def _as_wave_front(
        self, lateral: Tensor, parameters: Mapping[str, Tensor], state: Tensor, every_substep: bool
    ) -> tuple[Tensor, Tensor]:
        known = {name: getattr(self, name)[self.place].to(lateral) for name in ATTRIBUTES}
        series = self.wave_front.run(self.reach, _repeat(lateral, self.substeps), parameters, known, state)
        return _reported(series, self.substeps, every_substep), series[-1]

    @staticmethod
    def _share(declared: Any, values: Tensor) -> Tensor:
        """Return where values lie between the bounds of a parameter, as the reach takes them."""
        return (values - declared.low) / (declared.high - declared.low)

    def run_level(
        self, level: Level, inflow: Tensor, before: Tensor, lateral: Tensor, raw: Tensor, state: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Run the reaches of a level: discharge before and after it is kept above the minimum, [T, n] each."""
        forcing = torch.stack([inflow, before, lateral]).permute(1, 2, 0)
        run = simulate(
            self.reach,
            forcing,
            RawParameters(forcing.new_empty(*forcing.shape[:2], 0), raw),
            {"discharge": state[:, None]},
            attributes={name: getattr(self, name)[level.reaches] for name in ATTRIBUTES},
            fluxes=("outflow", "discharge_kept"),
            engine=self.reach.engine,
        )
        return run.fluxes["outflow"], run.fluxes["discharge_kept"]


class _Block(torch.autograd.Function):
    """A block of time through all levels; the way back computes it again, level by level."""

    @staticmethod
    def forward(
        ctx: Any, router: MuskingumCunge, every_substep: bool, lateral: Tensor, raw: Tensor, state: Tensor
    ) -> tuple[Tensor, Tensor]:
        ctx.router, ctx.every_substep = router, every_substep
        ctx.save_for_backward(lateral, raw, state)
        _, kept = _walk(router, lateral, raw, state)
        return _reported(kept[1:], router.substeps, every_substep), kept[-1].clone()

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, d_discharge: Tensor, d_state: Tensor) -> tuple[Tensor | None, ...]:
        router: MuskingumCunge = ctx.router
        lateral, raw, state = ctx.saved_tensors
        graphs: list[tuple[tuple[Tensor, ...], tuple[Tensor, ...]]] = []
        _walk(router, lateral, raw, state, graphs)
        steps = len(lateral) * router.substeps
        d_kept = lateral.new_zeros(steps + 1, lateral.shape[1])
        d_kept[1:] = d_discharge if ctx.every_substep else _repeat(d_discharge / router.substeps, router.substeps)
        d_kept[-1] += d_state
        d_outflow = torch.zeros_like(d_kept[1:])
        d_lateral, d_raw = torch.empty_like(lateral), torch.empty_like(raw)
        for level in reversed(router.levels):
            inputs, outputs = graphs.pop()
            here = level.reaches
            found = torch.autograd.grad(outputs, inputs, (d_outflow[:, here], d_kept[1:, here]))
            d_inflow, d_before, d_side, d_raw[here], d_start = found
            d_lateral[:, here] = d_side.unflatten(0, (-1, router.substeps)).sum(1)
            d_kept[0, here] += d_start
            # A reach drains into one other: each of these columns is met once.
            d_outflow[:, level.upstream] = d_inflow[:, level.into]
            d_kept[:-1, level.upstream] += d_before[:, level.into]
        return None, None, d_lateral, d_raw, d_kept[0].clone()


def _walk(
    router: MuskingumCunge,
    lateral: Tensor,
    raw: Tensor,
    state: Tensor,
    graphs: list[tuple[tuple[Tensor, ...], tuple[Tensor, ...]]] | None = None,
) -> tuple[Tensor, Tensor]:
    """Advance all levels through a block; note inputs and outputs of each with their graph if a list is given.

    Returns the discharge before it is kept above the minimum [S, N], and after that, with the state in front [S+1, N].
    """
    steps = len(lateral) * router.substeps
    outflow = lateral.new_empty(steps, lateral.shape[1])
    kept = lateral.new_empty(steps + 1, lateral.shape[1])
    kept[0] = state
    for level in router.levels:
        here, width = level.reaches, level.reaches.stop - level.reaches.start
        inflow = lateral.new_zeros(steps, width).index_add_(1, level.into, outflow[:, level.upstream])
        before = lateral.new_zeros(steps, width).index_add_(1, level.into, kept[:-1, level.upstream])
        inputs = (inflow, before, _repeat(lateral[:, here], router.substeps), raw[here], state[here])
        if graphs is None:
            with torch.no_grad():
                outputs = router.run_level(level, *inputs)
        else:
            inputs = tuple(t.detach().requires_grad_() for t in inputs)
            with torch.enable_grad():
                outputs = router.run_level(level, *inputs)
            graphs.append((inputs, outputs))
        outflow[:, here], kept[1:, here] = (t.detach() for t in outputs)
    return outflow, kept


def _repeat(series: Tensor, substeps: int) -> Tensor:
    return series.repeat_interleave(substeps, dim=0)


def _reported(series: Tensor, substeps: int, every_substep: bool) -> Tensor:
    return series.clone() if every_substep else series.unflatten(0, (-1, substeps)).mean(1)


def _levels(network: RiverNetwork) -> list[Level]:
    """Return the levels of a network in terms of places in its order."""
    place = np.argsort(network.order)
    downstream = network.downstream[network.order]
    below = np.where(downstream >= 0, place[downstream], -1)
    by_target = np.argsort(below, kind="stable")
    targets = below[by_target]
    levels, start = [], 0
    for reaches in network.levels:
        stop = start + len(reaches)
        first, last = np.searchsorted(targets, [start, stop])
        upstream = by_target[first:last]
        levels.append(Level(slice(start, stop), torch.from_numpy(upstream), torch.from_numpy(below[upstream] - start)))
        start = stop
    return levels
