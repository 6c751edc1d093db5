"""HBV 1.0, the conceptual rainfall-runoff model of δHBV."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor

from dmg.engine import Flux, Forcing, Ledger, Parameter, ProcessModel, State
from dmg.engine.declare import Values
from dmg.registry import process_models
from hydrodl2.models.hbv.processes import (
    evaporation_factor,
    melt_and_refreeze,
    rain_and_snow,
    snow_outflow,
    soil_wetness,
    upper_zone,
)
from hydrodl2.routing import GammaUnitHydrograph


@process_models.register("Hbv", "hbv")
class Hbv(ProcessModel):
    """HBV 1.0: snow, soil, two groundwater zones, unit hydrograph; daily, lumped, ``nmul`` parallel components.

    ``parBETAET`` acts only if it is listed as dynamic. The order of the processes within a day is part of the model.

    Sources: Seibert and Vis (2012), https://doi.org/10.5194/hess-16-3315-2012; Feng et al. (2022),
    https://doi.org/10.1029/2022WR032404.
    """

    name = "HBV 1.0"
    forcings = (
        Forcing("prcp", "mm d-1", "precipitation", 0.0, 40.0),
        Forcing("tmean", "degC", "mean air temperature", -15.0, 25.0),
        Forcing("pet", "mm d-1", "potential evapotranspiration", 0.0, 8.0),
    )
    parameters = (
        Parameter("parBETA", 1.0, 6.0, "-", "shape of the recharge function"),
        Parameter("parFC", 50.0, 1000.0, "mm", "field capacity"),
        Parameter("parK0", 0.05, 0.9, "d-1", "recession of the surface flow"),
        Parameter("parK1", 0.01, 0.5, "d-1", "recession of the interflow"),
        Parameter("parK2", 0.001, 0.2, "d-1", "recession of the baseflow"),
        Parameter("parLP", 0.2, 1.0, "-", "share of field capacity above which evapotranspiration is potential"),
        Parameter("parPERC", 0.0, 10.0, "mm d-1", "percolation to the lower zone"),
        Parameter("parUZL", 0.0, 100.0, "mm", "threshold of the surface flow"),
        Parameter("parTT", -2.5, 2.5, "degC", "threshold temperature of snow"),
        Parameter("parCFMAX", 0.5, 10.0, "mm degC-1 d-1", "degree-day factor"),
        Parameter("parCFR", 0.0, 0.1, "-", "refreezing coefficient"),
        Parameter("parCWH", 0.0, 0.2, "-", "water holding capacity of the snow"),
        Parameter("parBETAET", 0.3, 5.0, "-", "shape of the evapotranspiration function", default=1.0),
    )
    states = (
        State("SNOWPACK", "mm", 0.001, description="snow without melt water"),
        State("MELTWATER", "mm", 0.001, description="liquid water held by the snow"),
        State("SM", "mm", 0.001, description="soil moisture"),
        State("SUZ", "mm", 0.001, description="upper groundwater zone"),
        State("SLZ", "mm", 0.001, description="lower groundwater zone"),
    )
    fluxes = (
        Flux("streamflow", "mm d-1", "streamflow"),
        Flux("srflow", "mm d-1", "surface flow"),
        Flux("ssflow", "mm d-1", "interflow"),
        Flux("gwflow", "mm d-1", "baseflow"),
        Flux("AET_hydro", "mm d-1", "actual evapotranspiration"),
        Flux("PET_hydro", "mm d-1", "potential evapotranspiration, as given"),
        Flux("SWE", "mm", "snow without melt water"),
        Flux("recharge", "mm d-1", "recharge from the soil to the upper zone"),
        Flux("excs", "mm d-1", "soil water above field capacity"),
        Flux("evapfactor", "-", "actual over potential evapotranspiration"),
        Flux("tosoil", "mm d-1", "water that leaves the snow"),
        Flux("percolation", "mm d-1", "percolation to the lower zone"),
        Flux("floor", "mm d-1", "water that the lower bound of the soil moisture adds", diagnostic=True),
    )
    ledger = Ledger(
        sources=("prcp", "floor"),
        sinks=("AET_hydro", "streamflow"),
        stores=("SNOWPACK", "MELTWATER", "SM", "SUZ", "SLZ"),
    )
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
    warmup_is_static: ClassVar = True
    router_class: ClassVar = GammaUnitHydrograph

    def step(self, s: Values, x: Values, p: Values, dt: float) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """One day; see the class for the declaration."""
        rain, snow = rain_and_snow(x.prcp, x.tmean, p.parTT)
        snowpack, meltwater = melt_and_refreeze(
            s.SNOWPACK + snow * dt, s.MELTWATER, p.parCFMAX, p.parCFR, x.tmean - p.parTT, dt
        )
        released = snow_outflow(snowpack, meltwater, p.parCWH)
        meltwater = meltwater - released
        to_soil = released / dt

        infiltration = rain + to_soil
        recharge = infiltration * soil_wetness(s.SM, p.parFC, p.parBETA)
        soil = s.SM + (infiltration - recharge) * dt
        excess = torch.relu(soil - p.parFC) / dt
        soil = soil - excess * dt
        factor = evaporation_factor(soil, p.parFC, p.parLP, p.parBETAET)
        evapotranspiration = torch.minimum(soil, x.pet * factor * dt) / dt
        dried = soil - evapotranspiration * dt
        soil = torch.clamp(dried, min=self.nearzero)

        upper = s.SUZ + (recharge + excess) * dt
        percolation = torch.minimum(upper, p.parPERC * dt) / dt
        upper, surface, interflow = upper_zone(upper - percolation * dt, p.parK0, p.parK1, p.parUZL, dt)
        lower = s.SLZ + percolation * dt
        baseflow = p.parK2 * lower
        lower = lower - baseflow * dt

        stores = {"SNOWPACK": snowpack, "MELTWATER": meltwater, "SM": soil, "SUZ": upper, "SLZ": lower}
        fluxes = {
            "streamflow": surface + interflow + baseflow,
            "srflow": surface,
            "ssflow": interflow,
            "gwflow": baseflow,
            "AET_hydro": evapotranspiration,
            "PET_hydro": x.pet,
            "SWE": snowpack,
            "recharge": recharge,
            "excs": excess,
            "evapfactor": factor,
            "tosoil": to_soil,
            "percolation": percolation,
            "floor": (soil - dried) / dt,
        }
        return stores, fluxes

    def derive(self, name: str, series: Mapping[str, Tensor]) -> Tensor:
        """Return the baseflow index BFI [B] in percent of the routed streamflow."""
        return 100.0 * series["gwflow"].sum(0) / (series["streamflow"].sum(0) + self.nearzero)
