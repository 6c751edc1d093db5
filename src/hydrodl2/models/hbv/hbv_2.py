"""HBV 2.0: HBV 1.1p with regional groundwater flow, for unit catchments of a river network."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor

from dmg.engine import Attribute, Ledger, ParameterLayout, RawParameters
from dmg.engine.declare import Values
from dmg.engine.router import latest
from dmg.errors import StepError
from dmg.registry import process_models
from hydrodl2.models.hbv.declarations import (
    CAPILLARY,
    CAPILLARY_RISE,
    CORE,
    ELEVATION,
    FLOOR,
    FLUXES,
    REGIONAL,
    REGIONAL_FLOW,
    SHAPE_OF_EVAPOTRANSPIRATION,
    STORES,
)
from hydrodl2.models.hbv.family import DailyHbv, daily_fluxes, daily_stores
from hydrodl2.models.hbv.processes import regional_flow, snow_threshold, soil_wetness
from hydrodl2.models.hbv.storages import capillary_rise, exchange, lower_zone, percolating_upper_zone, snow, soil
from hydrodl2.models.hbv.unit_catchment import UnitCatchmentModel
from hydrodl2.routing import Gauges, River


@process_models.register("Hbv_2", "hbv_2")
class Hbv_2(UnitCatchmentModel, DailyHbv):
    """HBV 2.0: HBV 1.1p with regional flow by upstream area and a snow threshold by elevation.

    Parameters
    ----------
    config
        Besides the options of `ProcessModel`: ``elev_threshold`` (true; false takes ``parTT`` at every elevation),
        ``full_output`` (true; false computes streamflow and evapotranspiration only), ``gage_agg`` (false; true
        returns streamflow and evapotranspiration of gauges, from ``outlet_topo`` [unit, gauge] and ``areas`` [unit],
        the share of each unit in the area of its gauge; one hydrograph per gauge, of the weighted parameters).
    device
        As for `ProcessModel`.

    Source: Song et al. (2025), https://doi.org/10.1029/2024WR038928.
    """

    name = "HBV 2.0"
    parameters = (*CORE, SHAPE_OF_EVAPOTRANSPIRATION, CAPILLARY, *REGIONAL)
    fluxes = (*FLUXES, CAPILLARY_RISE, REGIONAL_FLOW, FLOOR)
    ledger = Ledger(sources=("prcp", "regional_flow", "floor"), sinks=("AET_hydro", "streamflow"), stores=STORES)
    routes_whole: ClassVar = True
    gathers_units: ClassVar = True
    options: ClassVar = ("elev_threshold", "full_output", "gage_agg")

    def __init__(self, config: Mapping[str, Any] | None = None, device: torch.device | str | None = None) -> None:
        given = config or {}
        self.elev_threshold = given.get("elev_threshold") is not False
        self.full_output = given.get("full_output") is not False
        self.gage_agg = bool(given.get("gage_agg"))
        self.attributes = self.attributes_for(given)
        super().__init__(config, device)
        if self.router is not None and self.router.needs_network:
            self.routed = ("streamflow",)  # parts of a flow that is not linear do not add up to it

    @classmethod
    def attributes_for(cls, config: Mapping[str, Any]) -> tuple[Attribute, ...]:
        """Return the attributes that a model of these options needs."""
        return tuple(a for a in cls.attributes if a is not ELEVATION or config.get("elev_threshold") is not False)

    @property
    def usual_outputs(self) -> list[str]:
        """Names that a run returns if it is not asked for others."""
        return super().usual_outputs if self.full_output and not self.gage_agg else ["streamflow", "AET_hydro"]

    def read_downstream(self, x_dict: Mapping[str, Any]) -> Gauges | River | None:
        """Return the river (``downstream``, ``outlets``) if there is one, or the gauges that ``gage_agg`` asks for.

        Raises
        ------
        StepError
            If it does, and ``outlet_topo`` or ``areas`` is missing.
        """
        river = River.read(x_dict)
        if river is not None:
            return river
        if not self.gage_agg:
            return None
        gauges = Gauges.read(x_dict, x_dict["x_phy"].shape[1], by_unit=True)
        if gauges is None:
            raise StepError(
                "gage_agg asks for the streamflow of gauges, but there is no outlet_topo or no areas",
                hint="give both, or set model.phy.gage_agg=false",
            )
        return gauges

    def route(
        self,
        fluxes: Mapping[str, Tensor],
        parameters: RawParameters,
        layout: ParameterLayout,
        history: Mapping[str, Tensor],
        kernel_length: int | None = None,
        downstream: Gauges | River | None = None,
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Route the fluxes of units or, where gauges are given, bring them there; see `gather`."""
        if downstream is None:
            return super().route(fluxes, parameters, layout, history, kernel_length)
        return self.gather(fluxes, layout.scale_routing(parameters), history, downstream)

    def gather(
        self,
        fluxes: Mapping[str, Tensor],
        parameters: Mapping[str, Tensor],
        history: Mapping[str, Tensor] | None,
        downstream: Gauges | River,
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Bring the fluxes of units to gauges: the means by area, through one unit hydrograph of mean parameters each.

        A router of rivers routes the runoff of the units instead, through the reaches between them.

        Parameters
        ----------
        fluxes
            Name to series of units [T, U].
        parameters
            Those of the router, name to values [U] in their units.
        history
            Name to what the routing remembers; None where the first fluxes have lasted for long.
        downstream
            Where the units drain to.

        Returns
        -------
        series
            Name to series at gauges [T, G].
        memory
            Name to what the routing remembers after the last step.

        Raises
        ------
        StepError
            If the router needs a river and there is none.
        """
        router, memory = self.router, {}
        routed = [name for name in fluxes if router is not None and name in self.routed]
        if history is None:
            history = {name: router.settled(fluxes[name][:1], downstream) for name in routed}
        if router is not None and router.needs_network:
            if not isinstance(downstream, River):
                raise StepError(
                    f"{type(router).__name__} routes through a river, and outlet_topo says none",
                    hint="give downstream and outlets, or set model.phy.router=GammaUnitHydrograph",
                )
            series = {name: downstream.total(values) for name, values in fluxes.items() if name not in routed}
            for name in routed:
                series[name], memory[name] = router.through(fluxes[name], parameters, downstream, history.get(name))
            return series, memory
        series = {name: downstream.total(values) for name, values in fluxes.items()}
        if not routed:
            return series, memory
        kernel = router.kernel({n: downstream.total(values) for n, values in parameters.items()}, router.length)
        for name in routed:
            past = history.get(name)
            series[name] = router.route(series[name], kernel, None if past is None else downstream.total(past))
            memory[name] = latest(fluxes[name], past, router.length - 1)
        return series, memory

    def step(self, s: Values, x: Values, p: Values, dt: float) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """One day; see the class for the declaration."""
        threshold = snow_threshold(x.elev_all, p.parTT) if self.elev_threshold else p.parTT
        cover = snow(s.SNOWPACK, s.MELTWATER, x.prcp, x.tmean, threshold, p, dt)
        infiltration = cover.rain + cover.released
        learned = self.learned(s, x, p)
        recharge = learned("recharge", infiltration * soil_wetness(s.SM, p.parFC, p.parBETA), infiltration)
        ground = soil(s.SM, infiltration - recharge, x.pet, p, self.nearzero, dt, learned)
        risen = capillary_rise(ground.moisture, s.SLZ, p, self.nearzero, dt)
        upper = percolating_upper_zone(s.SUZ, recharge + ground.excess, p, dt, learned)
        asked = regional_flow(x.ac_all, p.parAC, p.parRT)
        exchanged = exchange(risen.lower + upper.percolation * dt, asked, self.nearzero, dt)
        lower = lower_zone(exchanged.storage, p, dt, learned)
        fluxes = daily_fluxes(x, cover, recharge, ground, upper, lower)
        floor = ground.floor + risen.floor + exchanged.floor
        fluxes |= {"capillary": risen.rise, "regional_flow": exchanged.moved, "floor": floor}
        return daily_stores(cover, risen.moisture, upper, lower), fluxes
