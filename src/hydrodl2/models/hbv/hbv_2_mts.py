"""HBV 2.0 at two time steps: days fill the stores from which the hours start."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from dmg.engine import Ledger, ModelState, ProcessModel, RawParameters, simulate
from dmg.errors import StepError
from dmg.registry import process_models
from hydrodl2.models.hbv.hbv_2_hourly import Hbv_2_hourly

Parts = tuple[Sequence[Tensor], Sequence[Tensor]]


@process_models.register("Hbv_2_mts", "hbv_2_mts")
class Hbv_2_mts(nn.Module):
    """HBV 2.0 daily, then HBV 2.0 or 2.1 hourly from the stores that the days left.

    A store passes to the store of the same name; one that only the hours have starts cold. Static parameters that both
    have come from the daily network's values, on the hourly bounds; what the hourly network says of them is not read.

    Parameters
    ----------
    config
        Options of both models, as for `ProcessModel`; ``lof_model`` and ``hif_model`` may give others, and each a
        ``name``. ``lof_model.handover``: ``detached`` (no gradient through the stores handed over, as published) or
        ``attached``. ``hif_model.simulate_spatial_chunk_size`` and ``simulate_temporal_chunk_size``: units run, and
        hours routed, at once; they bound the memory, not the result.
    device
        As for `ProcessModel`.

    Attributes
    ----------
    lof_model, hif_model
        The two process models.
    """

    name = "HBV 2.0 MTS"
    coupling: ClassVar = "MtsDplModel"
    part_names: ClassVar[Mapping[str, str]] = {"lof_model": "Hbv_2", "hif_model": "Hbv_2_hourly"}
    forcings = Hbv_2_hourly.forcings
    fluxes = Hbv_2_hourly.fluxes
    derived_units: ClassVar = Hbv_2_hourly.derived_units
    parameter_table = Hbv_2_hourly.parameter_table
    derived: ClassVar[Mapping[str, tuple[str, ...]]] = {}
    options: ClassVar = Hbv_2_hourly.options

    def __init__(self, config: Mapping[str, Any] | None = None, device: torch.device | str | None = None) -> None:
        super().__init__()
        config = dict(config or {})
        low, high = (_given(config.get(key)) for key in self.part_names)
        self.lof_model = self._part("lof_model", config, device)
        self.hif_model = self._part("hif_model", config, device)
        self.warmup = int(config.get("warmup") or 0)
        self.attached = low.get("handover") == "attached"
        self.spatial_chunk = high.get("simulate_spatial_chunk_size")
        self.temporal_chunk = high.get("simulate_temporal_chunk_size")
        self._states: tuple[ModelState, ModelState] | None = None
        self._check()

    @property
    def parameter_bounds(self) -> dict[str, list[float]]:
        """Bounds by name of the parameters of the hours."""
        return self.hif_model.parameter_bounds

    @property
    def ledger(self) -> Ledger:
        """The budget of the hours."""
        return self.hif_model.ledger

    @property
    def learnable_param_count(self) -> int:
        """Number of channels that the networks must supply for both models."""
        return self.lof_model.learnable_param_count + self.hif_model.learnable_param_count

    def forward(
        self, x_dict: Mapping[str, Any], parameters: Parts, outputs: Sequence[str] | None = None
    ) -> dict[str, Tensor]:
        """Run days and hours as published, with the streamflow at the gauges in training as well.

        Parameters
        ----------
        x_dict
            ``x_phy_lof`` [Td, U, F] (mm/d, °C), ``x_phy_hif`` [Th, U, F] (mm/h, °C), ``ac_all``, ``elev_all``,
            ``areas`` [U], ``outlet_topo`` [G, U].
        parameters
            Dynamic [Td, U, ·] and static [U, ·] parameters of the days; dynamic [Th, U, ·], static [U, ·] and routing
            parameters [P, 3] of the hours; all in [0, 1].
        outputs
            Names to return; all if absent.

        Returns
        -------
        dict
            ``Qs`` [Th, U, 1] and ``streamflow`` [Th, G, 1], mm/h.
        """
        low, high = parameters
        days, hours = self.lof_model.layout.join(low), self.hif_model.layout.join(high)
        of_days, of_hours = ({**x_dict, "x_phy": x_dict[key]} for key in ("x_phy_lof", "x_phy_hif"))
        state = self.fill(
            self.lof_model.read_forcing(of_days), days, attributes=self.lof_model.read_attributes(of_days)
        )
        series, final = self.run(
            self.hif_model.read_forcing(of_hours),
            replace(hours, static=self.shared_static(days.static, hours.static)),
            state,
            attributes=self.hif_model.read_attributes(of_hours),
            downstream=self.hif_model.read_downstream(of_hours),
            outputs=outputs,
            kernel_length=of_hours["x_phy"].shape[0],
        )
        self._states = state.detach(), final.detach()
        return {name: values[..., None] for name, values in series.items()}

    def get_states(self) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]] | None:
        """Return the stores that the last call handed over and those after its last hour; None before the first."""
        if self._states is None:
            return None
        handed, final = self._states
        return tuple(handed.stores[s.name] for s in self.lof_model.states), tuple(
            final.stores[s.name] for s in self.hif_model.states
        )

    def fill(
        self, forcing: Tensor, parameters: RawParameters, attributes: Mapping[str, Tensor] | None = None
    ) -> ModelState:
        """Run the days [Td, U, F] from a cold start and return the state in which the hours start."""
        cold = self.hif_model.cold_stores(forcing.shape[1], dtype=forcing.dtype, device=forcing.device)
        if not forcing.shape[0]:
            return ModelState(cold)
        with torch.set_grad_enabled(self.attached and torch.is_grad_enabled()):
            _, state = self.lof_model.run(forcing, parameters, attributes=attributes, outputs=())
        return ModelState({**cold, **state.stores})

    def shared_static(self, low: Tensor, high: Tensor) -> Tensor:
        """Return the static parameters of the hours [U, ·]: those that both models have from the days."""
        shared = len(self.lof_model.layout.static_parameters) * self.lof_model.layout.components
        return torch.cat([low[:, :shared], high[:, shared:]], dim=1)

    def run(
        self,
        forcing: Tensor,
        parameters: RawParameters,
        state: ModelState,
        *,
        attributes: Mapping[str, Tensor],
        downstream: Any,
        outputs: Sequence[str] | None = None,
        weights: Tensor | None = None,
        kernel_length: int | None = None,
    ) -> tuple[dict[str, Tensor], ModelState]:
        """Run the hours from a full state to a full state; in evaluation mode in chunks, if the configuration says so.

        Parameters
        ----------
        forcing, parameters, state, attributes, downstream, outputs, weights, kernel_length
            As for `ProcessModel.run` of the hourly model.
        """
        model, steps = self.hif_model, forcing.shape[0]
        if self.training or not (self.spatial_chunk or self.temporal_chunk):
            return model.run(
                forcing,
                parameters,
                state,
                attributes=attributes,
                outputs=outputs,
                weights=weights,
                kernel_length=kernel_length,
                downstream=downstream,
            )
        fluxes, stores = self._run_units(forcing, parameters, state, attributes, weights, model.fluxes_of(outputs))
        pieces: list[dict[str, Tensor]] = []
        memory, size = state.routing, self.temporal_chunk or steps
        for begin in range(0, steps, size):
            window = {name: values[begin : begin + size] for name, values in fluxes.items()}
            series, memory = model.route(window, parameters, model.layout, memory, kernel_length, downstream)
            pieces.append(series)
        wanted = [name for name in model.usual_outputs if name in pieces[0]] if outputs is None else outputs
        return {name: torch.cat([piece[name] for piece in pieces]) for name in wanted}, ModelState(stores, memory)

    def _run_units(
        self,
        forcing: Tensor,
        parameters: RawParameters,
        state: ModelState,
        attributes: Mapping[str, Tensor],
        weights: Tensor | None,
        fluxes: Sequence[str],
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Return fluxes before routing [T, U] and the stores after them, so many units at once."""
        units = forcing.shape[1]
        size, found = self.spatial_chunk or units, []
        for begin in range(0, units, size):
            part = slice(begin, begin + size)
            own = replace(parameters, dynamic=parameters.dynamic[:, part], static=parameters.static[part])
            stores = {name: store[part] for name, store in state.stores.items()}
            here = {name: values[part] for name, values in attributes.items()}
            model, share = self.hif_model, None if weights is None else {self.hif_model.total: weights[part]}
            run = simulate(
                model,
                forcing[:, part],
                own,
                stores,
                attributes=here,
                fluxes=fluxes,
                weights=share,
                engine=model.engine,
            )
            found.append(run)
        return (
            {name: torch.cat([f.fluxes[name] for f in found], dim=1) for name in fluxes},
            {name: torch.cat([f.stores[name] for f in found]) for name in state.stores},
        )

    def _part(self, key: str, config: Mapping[str, Any], device: torch.device | str | None) -> ProcessModel:
        own = _given(config.get(key))
        name = own.pop("name", None) or self.part_names[key]
        model = process_models.get(name if isinstance(name, str) else name[0])
        dynamic = {**(config.get("dynamic_params") or {}), **(own.pop("dynamic_params", None) or {})}
        wanted = next((dynamic[n] for n in (model.__name__, type(self).__name__, "hbv_2_mts") if n in dynamic), [])
        shared = {k: v for k, v in config.items() if k not in self.part_names}
        options = shared | {"routing": False} | own | {"warmup": 0, "cache_states": False}
        return model(options | {"dynamic_params": {model.__name__: wanted}}, device)

    def _check(self) -> None:
        """Refuse two models between which stores or static parameters cannot pass."""
        low, high = self.lof_model.layout, self.hif_model.layout
        if low.components != high.components:
            raise StepError(
                f"the days have {low.components} components, the hours {high.components}",
                where="model.phy.lof_model.nmul, model.phy.hif_model.nmul",
                hint="give model.phy.nmul only",
            )
        days, hours = ([p.name for p in layout.static_parameters] for layout in (low, high))
        if hours[: len(days)] != days:
            raise StepError(
                f"the static parameters of the days ({', '.join(days)}) are not the first of those of the hours "
                f"({', '.join(hours)})",
                where="model.phy.dynamic_params",
                hint="let the same parameters be dynamic at both time steps",
            )


def _given(block: Mapping[str, Any] | None) -> dict[str, Any]:
    return {key: value for key, value in (block or {}).items() if value is not None}
