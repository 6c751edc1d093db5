"""Hydrological variables that can be derived: mean temperature, day length, and what the weather lacks for PET."""

from __future__ import annotations

import numpy as np

from dmg.core.data.derive import Derivation
from dmg.registry import derivations
from hydrodl2.calc.day_length import by_day, day_length
from hydrodl2.calc.humidity import air_pressure, vapour_pressure
from hydrodl2.calc.pet import wind_at_2m


def _tmean(*, tmin: np.ndarray, tmax: np.ndarray, doy: np.ndarray) -> np.ndarray:
    return 0.5 * (tmin + tmax)


def _dayl(*, gauge_lat: np.ndarray, doy: np.ndarray) -> np.ndarray:
    return 3600.0 * by_day(day_length, gauge_lat, doy)


def _swdown(*, srad: np.ndarray, dayl: np.ndarray, doy: np.ndarray) -> np.ndarray:
    return srad * dayl / 86400.0


def _psurf(*, elev_mean: np.ndarray, doy: np.ndarray) -> np.ndarray:
    return air_pressure(elev_mean)


def _vp(*, qair: np.ndarray, psurf: np.ndarray, doy: np.ndarray) -> np.ndarray:
    return vapour_pressure(qair, psurf)


def _wind(*, wind_u: np.ndarray, wind_v: np.ndarray, doy: np.ndarray) -> np.ndarray:
    return np.hypot(wind_u, wind_v)


def _wind_2m(*, wind: np.ndarray, doy: np.ndarray) -> np.ndarray:
    return wind_at_2m(wind)


derivations.register("tmean")(
    Derivation({"tmin": "degC", "tmax": "degC"}, "degC", _tmean, "air temperature, mean of daily minimum and maximum")
)
derivations.register("dayl")(
    Derivation({"gauge_lat": "degree"}, "s", _dayl, "length of the day from latitude (FAO-56, eq. 34)", step="any")
)
derivations.register("swdown")(
    Derivation(
        {"srad": "W m-2", "dayl": "s"}, "W m-2", _swdown, "mean shortwave radiation of 24 h, from the daylight's"
    )
)
derivations.register("psurf")(
    Derivation({"elev_mean": "m"}, "kPa", _psurf, "air pressure from elevation (FAO-56, eq. 7)", step="any")
)
derivations.register("vp")(
    Derivation({"qair": "kg kg-1", "psurf": "kPa"}, "kPa", _vp, "vapour pressure from specific humidity", step="any")
)
derivations.register("wind")(
    Derivation({"wind_u": "m s-1", "wind_v": "m s-1"}, "m s-1", _wind, "wind speed at 10 m", step="any")
)
derivations.register("wind_2m")(
    Derivation({"wind": "m s-1"}, "m s-1", _wind_2m, "wind speed at 2 m from that at 10 m (FAO-56, eq. 47)", step="any")
)
