"""HBV 1.1p: HBV 1.0 with capillary rise."""

from __future__ import annotations

from torch import Tensor

from dmg.engine import Ledger
from dmg.engine.declare import Values
from dmg.registry import process_models
from hydrodl2.models.hbv.declarations import (
    CAPILLARY,
    CAPILLARY_RISE,
    CORE,
    FLOOR,
    FLUXES,
    SHAPE_OF_EVAPOTRANSPIRATION,
    STORES,
)
from hydrodl2.models.hbv.family import DailyHbv, daily_fluxes, daily_stores
from hydrodl2.models.hbv.processes import soil_wetness
from hydrodl2.models.hbv.storages import capillary_rise, lower_zone, percolating_upper_zone, snow, soil


@process_models.register("Hbv_1_1p", "hbv_1_1p")
class Hbv_1_1p(DailyHbv):
    """HBV 1.1p: HBV 1.0 with capillary rise from the lower zone, ``parBETAET`` always in use.

    In a published-style call the spin-up keeps dynamic parameters dynamic.

    Sources: Seibert and Vis (2012), https://doi.org/10.5194/hess-16-3315-2012; Song et al. (2024),
    https://doi.org/10.5194/hess-28-3051-2024; Song et al. (2026), https://doi.org/10.1029/2025WR040414.
    """

    name = "HBV 1.1p"
    parameters = (*CORE, SHAPE_OF_EVAPOTRANSPIRATION, CAPILLARY)
    fluxes = (*FLUXES, CAPILLARY_RISE, FLOOR)
    ledger = Ledger(sources=("prcp", "floor"), sinks=("AET_hydro", "streamflow"), stores=STORES)

    def step(self, s: Values, x: Values, p: Values, dt: float) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """One day; see the class for the declaration."""
        cover = snow(s.SNOWPACK, s.MELTWATER, x.prcp, x.tmean, p.parTT, p, dt)
        infiltration = cover.rain + cover.released
        learned = self.learned(s, x, p)
        recharge = learned("recharge", infiltration * soil_wetness(s.SM, p.parFC, p.parBETA), infiltration)
        ground = soil(s.SM, infiltration - recharge, x.pet, p, self.nearzero, dt, learned)
        risen = capillary_rise(ground.moisture, s.SLZ, p, self.nearzero, dt)
        upper = percolating_upper_zone(s.SUZ, recharge + ground.excess, p, dt, learned)
        lower = lower_zone(risen.lower + upper.percolation * dt, p, dt, learned)
        fluxes = daily_fluxes(x, cover, recharge, ground, upper, lower)
        fluxes |= {"capillary": risen.rise, "floor": ground.floor + risen.floor}
        return daily_stores(cover, risen.moisture, upper, lower), fluxes
