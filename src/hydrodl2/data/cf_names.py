"""CF standard names of hydrological variables (CF Standard Name Table, version 93).

A depth of flow at a gauge has none: ``runoff_flux`` is what leaves the land before it flows.
"""

from __future__ import annotations

from dmg.core.data.vocabulary import Vocabulary
from dmg.registry import vocabularies

_RIVER = (("water_volume_transport_in_river_channel", "m3 s-1"),)
_AIR = (("air_temperature", "K"),)
_SNOW = (("lwe_thickness_of_surface_snow_amount", "m"), ("surface_snow_amount", "kg m-2"))
_SHORTWAVE = (("surface_downwelling_shortwave_flux_in_air", "W m-2"),)

vocabularies.register("cf")(
    Vocabulary(
        cf_names={
            "streamflow": _RIVER,
            "streamflow_obs": _RIVER,
            "discharge": _RIVER,
            "prcp": (("lwe_precipitation_rate", "m s-1"), ("precipitation_flux", "kg m-2 s-1")),
            "tmean": _AIR,
            "tmin": _AIR,
            "tmax": _AIR,
            "pet": (("water_potential_evaporation_flux", "kg m-2 s-1"),),
            "AET_hydro": (("water_evapotranspiration_flux", "kg m-2 s-1"),),
            "swe": _SNOW,
            "SWE": _SNOW,
            "srad": _SHORTWAVE,
            "swdown": _SHORTWAVE,
            "lwdown": (("surface_downwelling_longwave_flux_in_air", "W m-2"),),
            "vp": (("water_vapor_partial_pressure_in_air", "Pa"),),
            "psurf": (("surface_air_pressure", "Pa"),),
            "qair": (("specific_humidity", "1"),),
            "wind": (("wind_speed", "m s-1"),),
            "gauge_lat": (("latitude", "degree"),),
            "gauge_lon": (("longitude", "degree"),),
            "elev_mean": (("surface_altitude", "m"),),
            "realization": (("realization", "1"),),
        }
    )
)
