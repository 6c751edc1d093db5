"""Potential evapotranspiration from what a data set or a host supplies, by three methods.

Names of inputs: ``tmin``, ``tmax``, ``tmean``; ``swdown``, ``lwdown`` (incoming shortwave and longwave radiation,
means over the step); ``vp``, ``psurf`` (vapour pressure, air pressure); ``wind_2m``; ``gauge_lat``, ``elev_mean``.
Where one of them is missing, :mod:`hydrodl2.data.derivations` may have a formula for it.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from dmg.core.data.derive import Derivation
from dmg.errors import DataError
from dmg.registry import derivations
from hydrodl2.calc import pet
from hydrodl2.calc.day_length import by_day
from hydrodl2.calc.radiation import (
    black_body,
    clear_sky_radiation,
    extraterrestrial_radiation,
    net_longwave_loss,
    net_radiation,
)

_ENERGY = "MJ m-2 d-1"
_AIR = {"tmean": "degC", "psurf": "kPa"}
_PLACE = {"gauge_lat": "degree", "elev_mean": "m"}
_SKY = {"swdown": _ENERGY, "vp": "kPa", **_PLACE}
_EXTREMES = {"tmin": "degC", "tmax": "degC"}
_LONGWAVE = {"lwdown": _ENERGY}


def is_mean_repeated(tmin: np.ndarray, tmax: np.ndarray) -> bool:
    """Return whether a product gives one temperature twice, from which Hargreaves would make a PET of 0."""
    known = np.isfinite(tmin) & np.isfinite(tmax)
    return bool(known.any() and (tmin == tmax)[known].mean() > 0.5)


def _hargreaves(
    *, tmin: np.ndarray, tmax: np.ndarray, tmean: np.ndarray, gauge_lat: np.ndarray, doy: np.ndarray
) -> np.ndarray:
    # One day at a time there is no record to judge: a day without range is one without range.
    if len(doy) > 1 and is_mean_repeated(tmin, tmax):
        raise DataError(
            "PET cannot be derived: minimum and maximum temperature are the same on most days",
            hint="the product repeats the daily mean (NLDAS does); take another product, or give pet",
        )
    return pet.hargreaves(tmin, tmax, tmean, gauge_lat, doy)


def _net_daily(
    *,
    swdown: np.ndarray,
    vp: np.ndarray,
    gauge_lat: np.ndarray,
    elev_mean: np.ndarray,
    doy: np.ndarray,
    tmin: np.ndarray,
    tmax: np.ndarray,
    lwdown: np.ndarray | None = None,
) -> np.ndarray:
    """Return net radiation, its longwave part from the sky's radiation if that is known and else from cloudiness."""
    if lwdown is not None:
        return net_radiation(swdown, 0.5 * (black_body(tmin) + black_body(tmax)) - lwdown)
    clear = clear_sky_radiation(by_day(extraterrestrial_radiation, gauge_lat, doy), elev_mean)
    # A sky that gets no sun says nothing of its clouds: in polar night it counts as clear.
    relative = np.divide(swdown, clear, out=np.ones(np.broadcast(swdown, clear).shape), where=clear > 0.0)
    return net_radiation(swdown, net_longwave_loss(tmin, tmax, vp, relative))


def _priestley_taylor(*, tmean: np.ndarray, psurf: np.ndarray, **sky: Any) -> np.ndarray:
    extremes = {"tmin": sky.pop("tmin", tmean), "tmax": sky.pop("tmax", tmean)}
    return pet.priestley_taylor(_net_daily(**sky, **extremes), tmean, psurf)


def _penman_monteith(*, psurf: np.ndarray, wind_2m: np.ndarray, **sky: Any) -> np.ndarray:
    return pet.penman_monteith(_net_daily(**sky), sky["tmin"], sky["tmax"], wind_2m, sky["vp"], psurf)


def _net_hourly(swdown: np.ndarray, lwdown: np.ndarray, tmean: np.ndarray) -> np.ndarray:
    return net_radiation(swdown, black_body(tmean) - lwdown)


def _priestley_taylor_hourly(
    *, swdown: np.ndarray, lwdown: np.ndarray, tmean: np.ndarray, psurf: np.ndarray, doy: np.ndarray
) -> np.ndarray:
    net = _net_hourly(swdown, lwdown, tmean)
    return pet.priestley_taylor(net, tmean, psurf, pet.ground_heat_hourly(net))


def _penman_monteith_hourly(
    *,
    swdown: np.ndarray,
    lwdown: np.ndarray,
    tmean: np.ndarray,
    wind_2m: np.ndarray,
    vp: np.ndarray,
    psurf: np.ndarray,
    doy: np.ndarray,
) -> np.ndarray:
    return pet.penman_monteith_hourly(_net_hourly(swdown, lwdown, tmean), tmean, wind_2m, vp, psurf)


_NAME = "potential evapotranspiration"
derivations.register("pet", "pet_hargreaves")(
    Derivation(
        {**_EXTREMES, "tmean": "degC", "gauge_lat": "degree"},
        "mm d-1",
        _hargreaves,
        f"{_NAME} (Hargreaves and Samani 1985)",
    )
)
derivations.register("pet_priestley_taylor")(
    Derivation(
        {**_SKY, **_AIR},
        "mm d-1",
        _priestley_taylor,
        f"{_NAME} (Priestley and Taylor 1972)",
        optional={**_EXTREMES, **_LONGWAVE},
    )
)
derivations.register("pet_penman_monteith")(
    Derivation(
        {**_SKY, **_EXTREMES, "psurf": "kPa", "wind_2m": "m s-1"},
        "mm d-1",
        _penman_monteith,
        f"{_NAME} (Penman-Monteith, FAO-56, daily)",
        optional=_LONGWAVE,
    )
)
# Within a day the cloudiness is not known at night: these take the longwave radiation of the sky.
derivations.register("pet_priestley_taylor_hourly")(
    Derivation(
        {"swdown": _ENERGY, **_LONGWAVE, **_AIR},
        "mm d-1",
        _priestley_taylor_hourly,
        f"{_NAME} (Priestley and Taylor 1972, hourly)",
        step="hourly",
    )
)
derivations.register("pet_penman_monteith_hourly")(
    Derivation(
        {"swdown": _ENERGY, **_LONGWAVE, **_AIR, "vp": "kPa", "wind_2m": "m s-1"},
        "mm d-1",
        _penman_monteith_hourly,
        f"{_NAME} (Penman-Monteith, FAO-56, hourly)",
        step="hourly",
    )
)
