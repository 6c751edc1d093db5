"""What the hourly members of the HBV family have in common."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor

from dmg.engine import Flux, Ledger, ParameterLayout, RawParameters
from dmg.engine.declare import Values
from dmg.engine.parameters import LINKS, scale_to_bounds
from dmg.engine.router import extend
from dmg.errors import StepError
from hydrodl2.models.hbv.declarations import (
    CAPILLARY_RISE,
    FLOOR,
    FLUXES,
    HOURLY_FORCINGS,
    REGIONAL_FLOW,
    STATES,
    STORES,
)
from hydrodl2.models.hbv.family import daily_fluxes, daily_stores
from hydrodl2.models.hbv.processes import regional_flow, snow_threshold
from hydrodl2.models.hbv.storages import capillary_rise, exchange, lower_zone, percolating_upper_zone, snow, soil
from hydrodl2.models.hbv.unit_catchment import UnitCatchmentModel
from hydrodl2.routing import Gauges, HourlyUnitHydrograph, LaggedUnitHydrograph

HOURS = 24.0


class Infiltration(NamedTuple):
    """What recharges the groundwater, what stays in the soil, and what runs off at once [mm d-1]."""

    recharge: Tensor
    gain: Tensor
    excess: Tensor


class HourlyHbv(UnitCatchmentModel):
    """Base of the hourly HBV models: HBV 2.0 by the hour, with infiltration excess and a network of gauges.

    Forcings and runoff are in mm/h, fluxes inside (diagnostic, on request) and rate parameters in mm/d. ``Qs`` is the
    runoff of a unit; ``streamflow``, at gauges, is the runoff of the units above, each on its way through a lagged
    unit hydrograph, as a mean over the gauge's area. It needs ``outlet_topo`` [gauge, unit], ``areas`` [unit], and one
    row of routing parameters for every 1 in ``outlet_topo``, row by row.

    Parameters
    ----------
    config
        Besides the options of `ProcessModel`: ``infiltration`` (true), ``use_distr_routing`` (true; false returns
        ``Qs`` only), ``lag_uh`` (true), ``conserve_lag`` (true; false ends the lagged hydrographs after 72 hours, as
        published, and loses the water that comes later).
    device
        As for `ProcessModel`.

    Source: Song et al. (2025), https://doi.org/10.1029/2024WR038928.
    """

    forcings = HOURLY_FORCINGS
    states = STATES
    fluxes = (
        Flux("Qs", "mm h-1", "runoff of a unit"),
        *(replace(flux, diagnostic=True) for flux in FLUXES if flux.name not in ("streamflow", "PET_hydro")),
        replace(CAPILLARY_RISE, diagnostic=True),
        Flux("precipitation", "mm d-1", "precipitation, as given", diagnostic=True),
        Flux("runoff", "mm d-1", "runoff of a unit, unrouted", diagnostic=True),
        Flux("excess", "mm d-1", "infiltration excess", diagnostic=True),
        REGIONAL_FLOW,
        FLOOR,
    )
    ledger = Ledger(sources=("precipitation", "regional_flow", "floor"), sinks=("AET_hydro", "runoff"), stores=STORES)
    dt = 1.0 / HOURS
    routed: ClassVar = ("Qs",)
    total: ClassVar = "Qs"
    gathered: ClassVar = {"streamflow": ("Qs",)}
    derived_units: ClassVar = {"streamflow": "mm h-1"}
    router_class: ClassVar = HourlyUnitHydrograph
    options: ClassVar = ("infiltration", "use_distr_routing", "lag_uh", "conserve_lag")

    def __init__(self, config: Mapping[str, Any] | None = None, device: torch.device | str | None = None) -> None:
        given = config or {}
        self.infiltration = given.get("infiltration") is not False
        self.use_distr_routing = given.get("use_distr_routing") is not False
        self.lag_uh = given.get("lag_uh") is not False
        super().__init__(config, device)
        self.path_router = LaggedUnitHydrograph(conserving=given.get("conserve_lag") is not False)

    @property
    def usual_outputs(self) -> list[str]:
        """Names that a run returns if it is not asked for others: the flow at gauges where these are known."""
        return ["Qs", "streamflow"]

    @property
    def learnable_param_count3(self) -> int:
        """Number of routing parameters of every way from a unit to a gauge."""
        return len(self.path_router.routing_parameters)

    @property
    def distr_parameter_bounds(self) -> dict[str, list[float]]:
        """Bounds by name of the parameters of a way from a unit to a gauge."""
        return {p.name: [p.low, p.high] for p in self.path_router.routing_parameters}

    def read_downstream(self, x_dict: Mapping[str, Any]) -> Gauges | None:
        """Return the gauges; None if there are none, or the flow there is not wanted."""
        return Gauges.read(x_dict, x_dict["x_phy"].shape[1]) if self.use_distr_routing else None

    def route(
        self,
        fluxes: Mapping[str, Tensor],
        parameters: RawParameters,
        layout: ParameterLayout,
        history: Mapping[str, Tensor],
        kernel_length: int | None = None,
        downstream: Gauges | None = None,
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Route the runoff within units, then on its ways to the gauges."""
        series, memory = super().route(fluxes, parameters, layout, history, kernel_length)
        if downstream is not None and "Qs" in series:
            past = history.get("streamflow")
            paths = self._paths(parameters, downstream)
            series["streamflow"] = self.route_to_gauges(
                series["Qs"], paths, downstream, history=past, kernel_length=kernel_length
            )
            memory["streamflow"] = extend(series["Qs"], past, self.path_router.length - 1)[len(series["Qs"]) :]
        return series, memory

    def route_to_gauges(
        self,
        runoff: Tensor,
        paths: Tensor,
        gauges: Gauges,
        *,
        history: Tensor | None = None,
        kernel_length: int | None = None,
    ) -> Tensor:
        """Return the flow at gauges, as a mean over their areas.

        Parameters
        ----------
        runoff
            Runoff of the units [T, U].
        paths
            Routing parameters [P, 3] as the network gives them, in the order of ``gauges.pairs``.
        gauges
            Which units drain to which gauge.
        history
            Runoff just before the series [·, U]; none means zeros.
        kernel_length
            Greatest length of a hydrograph that does not conserve its water; its own if absent.

        Returns
        -------
        Tensor
            [T, G].
        """
        router = self.path_router
        unit = LINKS[self.layout.link](paths)
        values = {p.name: scale_to_bounds(unit[:, i], p) for i, p in enumerate(router.routing_parameters)}
        if not self.lag_uh:
            values["route_tau"] = torch.zeros_like(values["route_tau"])
        length = router.length if router.conserving else min(kernel_length or router.length, router.length)
        _, units = gauges.pairs
        before = None if history is None else history[:, units]
        return gauges.mean_of_pairs(router.route(runoff[:, units], router.kernel(values, length), before))

    def _paths(self, parameters: RawParameters, gauges: Gauges) -> Tensor:
        shape = len(gauges.pairs[0]), self.learnable_param_count3
        if parameters.paths is None or parameters.paths.shape != shape:
            got = "no parameters" if parameters.paths is None else f"parameters {tuple(parameters.paths.shape)}"
            raise StepError(
                f"there are {got} for the {shape[0]} ways to gauges, {type(self).__name__} needs {shape}",
                hint="give a third tensor of parameters, a row for every 1 in outlet_topo; or no outlet_topo",
            )
        return parameters.paths

    @abstractmethod
    def infiltrate(self, moisture: Tensor, water: Tensor, p: Values) -> Infiltration:
        """Split rain and melt [mm d-1] between groundwater, soil and runoff."""

    @abstractmethod
    def quick_flow(
        self, s: Mapping[str, Tensor], excess: Tensor, p: Values, dt: float
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Return what becomes of the infiltration excess: runoff [mm d-1], and stores by name."""

    def step(self, s: Values, x: Values, p: Values, dt: float) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """One hour; see the class for the declaration."""
        found = {state.name: getattr(s, state.name) for state in self.states}
        low = {"SNOWPACK": 0.0, "MELTWATER": 0.0}
        start = {name: torch.clamp(value, min=low.get(name, self.nearzero)) for name, value in found.items()}
        lifted = sum(start[name] - value for name, value in found.items()) / dt

        threshold = snow_threshold(x.elev_all, p.parTT)
        cover = snow(start["SNOWPACK"], start["MELTWATER"], x.prcp * HOURS, x.tmean, threshold, p, dt)
        water = self.infiltrate(start["SM"], cover.rain + cover.released, p)
        ground = soil(start["SM"], water.gain, x.pet * HOURS, p, self.nearzero, dt)
        risen = capillary_rise(ground.moisture, start["SLZ"], p, self.nearzero, dt)
        upper = percolating_upper_zone(start["SUZ"], water.recharge + ground.excess, p, dt)
        asked = regional_flow(x.ac_all, p.parAC, p.parRT)
        exchanged = exchange(risen.lower + upper.percolation * dt, asked, self.nearzero, dt)
        lower = lower_zone(exchanged.storage, p, dt)
        quick, further = self.quick_flow(start, water.excess, p, dt)

        fluxes = daily_fluxes(x, cover, water.recharge, ground, upper, lower)
        runoff = fluxes.pop("streamflow") + quick
        del fluxes["PET_hydro"]
        fluxes |= {
            "Qs": runoff / HOURS,
            "capillary": risen.rise,
            "precipitation": x.prcp * HOURS,
            "runoff": runoff,
            "excess": water.excess,
            "regional_flow": exchanged.moved,
            "floor": lifted + (ground.floor + risen.floor + exchanged.floor),
        }
        return daily_stores(cover, risen.moisture, upper, lower) | further, fluxes
