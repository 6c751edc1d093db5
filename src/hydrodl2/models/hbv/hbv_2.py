"""HBV 2.0: HBV 1.1p with regional groundwater flow, for unit catchments of a river network."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor

from dmg.engine import Ledger
from dmg.engine.declare import Values
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
    UPSTREAM_AREA,
)
from hydrodl2.models.hbv.family import DailyHbv, daily_fluxes, daily_stores
from hydrodl2.models.hbv.processes import regional_flow, snow_threshold, soil_wetness
from hydrodl2.models.hbv.storages import capillary_rise, exchange, lower_zone, percolating_upper_zone, snow, soil


@process_models.register("Hbv_2", "hbv_2")
class Hbv_2(DailyHbv):
    """HBV 2.0: HBV 1.1p with regional flow by upstream area and a snow threshold by elevation.

    Its network ends in a logistic: parameters come as dynamic and static values in [0, 1]. There is no spin-up of its
    own: ``warmup`` steps are simulated with gradient and cut. Routing is off unless the configuration asks for it.

    Parameters
    ----------
    config
        Besides the options of `ProcessModel`: ``elev_threshold`` (true; false takes ``parTT`` at every elevation),
        ``full_output`` (true; false computes streamflow and evapotranspiration only).
    device
        As for `ProcessModel`.

    Source: Song et al. (2025), https://doi.org/10.1029/2024WR038928.
    """

    name = "HBV 2.0"
    parameters = (*CORE, SHAPE_OF_EVAPOTRANSPIRATION, CAPILLARY, *REGIONAL)
    fluxes = (*FLUXES, CAPILLARY_RISE, REGIONAL_FLOW, FLOOR)
    ledger = Ledger(sources=("prcp", "regional_flow", "floor"), sinks=("AET_hydro", "streamflow"), stores=STORES)
    link: ClassVar = "identity"
    routes_whole: ClassVar = True
    options: ClassVar = ("elev_threshold", "full_output")

    def __init__(self, config: Mapping[str, Any] | None = None, device: torch.device | str | None = None) -> None:
        config = {"routing": False} | {k: v for k, v in dict(config or {}).items() if v is not None}
        self.elev_threshold = bool(config.get("elev_threshold", True))
        self.full_output = bool(config.get("full_output", True))
        self.attributes = (UPSTREAM_AREA, ELEVATION) if self.elev_threshold else (UPSTREAM_AREA,)
        super().__init__(config | {"warmup_states": False}, device)

    @property
    def usual_outputs(self) -> list[str]:
        """Names that a run returns if it is not asked for others."""
        return super().usual_outputs if self.full_output else ["streamflow", "AET_hydro"]

    def step(self, s: Values, x: Values, p: Values, dt: float) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """One day; see the class for the declaration."""
        threshold = snow_threshold(x.elev_all, p.parTT) if self.elev_threshold else p.parTT
        cover = snow(s.SNOWPACK, s.MELTWATER, x.prcp, x.tmean, threshold, p, dt)
        infiltration = cover.rain + cover.released
        recharge = infiltration * soil_wetness(s.SM, p.parFC, p.parBETA)
        ground = soil(s.SM, infiltration - recharge, x.pet, p, self.nearzero, dt)
        risen = capillary_rise(ground.moisture, s.SLZ, p, self.nearzero, dt)
        upper = percolating_upper_zone(s.SUZ, recharge + ground.excess, p, dt)
        asked = regional_flow(x.ac_all, p.parAC, p.parRT)
        exchanged = exchange(risen.lower + upper.percolation * dt, asked, self.nearzero, dt)
        lower = lower_zone(exchanged.storage, p, dt)
        fluxes = daily_fluxes(x, cover, recharge, ground, upper, lower)
        floor = ground.floor + risen.floor + exchanged.floor
        fluxes |= {"capillary": risen.rise, "regional_flow": exchanged.moved, "floor": floor}
        return daily_stores(cover, risen.moisture, upper, lower), fluxes
