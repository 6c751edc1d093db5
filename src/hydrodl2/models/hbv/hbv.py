"""HBV 1.0, the conceptual rainfall-runoff model of δHBV."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

from torch import Tensor

from dmg.engine import Ledger
from dmg.engine.declare import Values
from dmg.registry import process_models
from hydrodl2.models.hbv.declarations import CORE, FLOOR, FLUXES, SHAPE_OF_EVAPOTRANSPIRATION, STORES
from hydrodl2.models.hbv.family import DailyHbv, daily_fluxes, daily_stores
from hydrodl2.models.hbv.processes import soil_wetness
from hydrodl2.models.hbv.storages import lower_zone, percolating_upper_zone, snow, soil


@process_models.register("Hbv", "hbv")
class Hbv(DailyHbv):
    """HBV 1.0: snow, soil, two groundwater zones, unit hydrograph; daily, lumped, ``nmul`` parallel components.

    ``parBETAET`` acts only if it is listed as dynamic. The order of the processes within a day is part of the model.

    Sources: Seibert and Vis (2012), https://doi.org/10.5194/hess-16-3315-2012; Feng et al. (2022),
    https://doi.org/10.1029/2022WR032404.
    """

    name = "HBV 1.0"
    parameters = (*CORE, replace(SHAPE_OF_EVAPOTRANSPIRATION, default=1.0))
    fluxes = (*FLUXES, FLOOR)
    ledger = Ledger(sources=("prcp", "floor"), sinks=("AET_hydro", "streamflow"), stores=STORES)
    warmup_is_static: ClassVar = True

    def step(self, s: Values, x: Values, p: Values, dt: float) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """One day; see the class for the declaration."""
        cover = snow(s.SNOWPACK, s.MELTWATER, x.prcp, x.tmean, p.parTT, p, dt)
        infiltration = cover.rain + cover.released
        learned = self.learned(s, x, p)
        recharge = learned("recharge", infiltration * soil_wetness(s.SM, p.parFC, p.parBETA), infiltration)
        ground = soil(s.SM, infiltration - recharge, x.pet, p, self.nearzero, dt, learned)
        upper = percolating_upper_zone(s.SUZ, recharge + ground.excess, p, dt, learned)
        lower = lower_zone(s.SLZ + upper.percolation * dt, p, dt, learned)
        fluxes = daily_fluxes(x, cover, recharge, ground, upper, lower) | {"floor": ground.floor}
        return daily_stores(cover, ground.moisture, upper, lower), fluxes
