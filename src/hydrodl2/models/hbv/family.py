"""What the daily members of the HBV family have in common beside their equations."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from torch import Tensor

from dmg.engine import ProcessModel
from dmg.engine.declare import Values
from hydrodl2.models.hbv.declarations import FORCINGS, STATES
from hydrodl2.models.hbv.storages import LowerZone, Snow, Soil, UpperZone
from hydrodl2.routing import GammaUnitHydrograph


class DailyHbv(ProcessModel):
    """Base of the daily HBV models: five stores, four flows through a gamma unit hydrograph, a baseflow index."""

    forcings = FORCINGS
    states = STATES
    routed: ClassVar = ("streamflow", "srflow", "ssflow", "gwflow")
    tail_names: ClassVar = {
        "streamflow": "Qsim_tail",
        "srflow": "Q0_tail",
        "ssflow": "Q1_tail",
        "gwflow": "Q2_tail",
    }
    total: ClassVar = "streamflow"
    derived: ClassVar = {"BFI": ("gwflow", "streamflow")}
    derived_units: ClassVar = {"BFI": "%"}
    router_class: ClassVar = GammaUnitHydrograph
    adjustable: ClassVar = ("recharge", "AET_hydro", "percolation", "gwflow")

    def derive(self, name: str, series: Mapping[str, Tensor]) -> Tensor:
        """Return the baseflow index BFI [B] in percent of the routed streamflow."""
        return 100.0 * series["gwflow"].sum(0) / (series["streamflow"].sum(0) + self.nearzero)


def daily_fluxes(
    x: Values, snow: Snow, recharge: Tensor, soil: Soil, upper: UpperZone, lower: LowerZone
) -> dict[str, Tensor]:
    """Return the fluxes that every daily model has, by their published names."""
    return {
        "streamflow": upper.surface + upper.interflow + lower.baseflow,
        "srflow": upper.surface,
        "ssflow": upper.interflow,
        "gwflow": lower.baseflow,
        "AET_hydro": soil.evapotranspiration,
        "PET_hydro": x.pet,
        "SWE": snow.pack,
        "recharge": recharge,
        "excs": soil.excess,
        "evapfactor": soil.factor,
        "tosoil": snow.released,
        "percolation": upper.percolation,
    }


def daily_stores(snow: Snow, moisture: Tensor, upper: UpperZone, lower: LowerZone) -> dict[str, Tensor]:
    """Return the five stores by their published names."""
    return {
        "SNOWPACK": snow.pack,
        "MELTWATER": snow.meltwater,
        "SM": moisture,
        "SUZ": upper.storage,
        "SLZ": lower.storage,
    }
