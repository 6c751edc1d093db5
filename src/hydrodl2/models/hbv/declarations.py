"""What the members of the HBV family declare in common: forcings, attributes, parameters, states, fluxes."""

from __future__ import annotations

from dmg.engine import Attribute, Flux, Forcing, Parameter, State

FORCINGS = (
    Forcing("prcp", "mm d-1", "precipitation", 0.0, 40.0),
    Forcing("tmean", "degC", "mean air temperature", -15.0, 25.0),
    Forcing("pet", "mm d-1", "potential evapotranspiration", 0.0, 8.0),
)

HOURLY_FORCINGS = (
    Forcing("prcp", "mm h-1", "precipitation", 0.0, 8.0),
    Forcing("tmean", "degC", "mean air temperature", -15.0, 25.0),
    Forcing("pet", "mm h-1", "potential evapotranspiration", 0.0, 0.8),
)

UPSTREAM_AREA = Attribute("ac_all", "km2", "area that drains through the site, its own included", 20.0, 4000.0)
ELEVATION = Attribute("elev_all", "m", "mean elevation", 0.0, 3500.0)

CORE = (
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
)
SHAPE_OF_EVAPOTRANSPIRATION = Parameter("parBETAET", 0.3, 5.0, "-", "shape of the evapotranspiration function")
CAPILLARY = Parameter("parC", 0.0, 1.0, "d-1", "capillary rise from the lower zone")
DEFICIT = Parameter("parNDC", 0.05, 0.95, "-", "share of field capacity below which capillary rise sets in")
REGIONAL = (
    Parameter("parRT", 0.0, 20.0, "mm d-1", "greatest regional flow"),
    Parameter("parAC", 0.0, 2500.0, "km2", "upstream area at which the regional flow changes its direction"),
)

STATES = (
    State("SNOWPACK", "mm", 0.001, description="snow without melt water"),
    State("MELTWATER", "mm", 0.001, description="liquid water held by the snow"),
    State("SM", "mm", 0.001, description="soil moisture"),
    State("SUZ", "mm", 0.001, description="upper groundwater zone"),
    State("SLZ", "mm", 0.001, description="lower groundwater zone"),
)
STORES = tuple(state.name for state in STATES)

FLUXES = (
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
)
CAPILLARY_RISE = Flux("capillary", "mm d-1", "capillary rise from the lower zone to the soil")
REGIONAL_FLOW = Flux("regional_flow", "mm d-1", "regional flow that enters (or leaves, negative)", diagnostic=True)
FLOOR = Flux("floor", "mm d-1", "water that the lower bounds of the stores add", diagnostic=True)
