"""Names of the CSDMS Standard Names for what hydrological models take and give, with the units of the exchange.

Units are written as UDUNITS reads them. Variables that have no standard name, such as the groundwater zones of HBV,
keep their own: a near name would say something else of them.

Source: Peckham, S. D. (2014), The CSDMS Standard Names, https://csdms.colorado.edu/wiki/CSDMS_Standard_Names.
"""

from __future__ import annotations

from dmg.core.data.vocabulary import Vocabulary
from dmg.registry import vocabularies

_PRECIPITATION = (("atmosphere_water__liquid_equivalent_precipitation_rate", "mm h-1"),)
_TEMPERATURE = (("land_surface_air__temperature", "degC"),)
_POTENTIAL_EVAPORATION = (("land_surface_water__potential_evaporation_volume_flux", "mm h-1"),)
_WIND = "land_surface_wind__{}_component_of_velocity"
_RADIATION = "land_surface_radiation~incoming~{}__energy_flux"
_RUNOFF = (
    ("land_surface_water__runoff_depth", "m"),
    ("channel_exit_water_x-section__volume_flow_rate", "m3 s-1"),
)

CSDMS = Vocabulary(
    csdms_names={
        "prcp": _PRECIPITATION,
        "P": _PRECIPITATION,
        "tmean": _TEMPERATURE,
        "Temp": _TEMPERATURE,
        "pet": _POTENTIAL_EVAPORATION,
        "PET": _POTENTIAL_EVAPORATION,
        "swdown": ((_RADIATION.format("shortwave"), "W m-2"),),
        "lwdown": ((_RADIATION.format("longwave"), "W m-2"),),
        "psurf": (("land_surface_air__pressure", "Pa"),),
        # NextGen supplies the specific humidity under this name.
        "qair": (("atmosphere_air_water~vapor__relative_saturation", "kg kg-1"),),
        "wind_u": ((_WIND.format("x"), "m s-1"),),
        "wind_v": ((_WIND.format("y"), "m s-1"),),
        "streamflow": _RUNOFF,
        "Qs": _RUNOFF,
        "AET_hydro": (("land_surface_water__evapotranspiration_volume_flux", "m s-1"),),
        "SNOWPACK": (("snowpack__liquid-equivalent_depth", "m"),),
        "SM": (("soil_water__depth", "m"),),
    },
    extremes={"tmin": ("tmean", "min"), "tmax": ("tmean", "max")},
)
vocabularies.register("csdms")(CSDMS)
