"""Potential evapotranspiration from temperature and latitude (Hargreaves)."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hydrodl2.calc.day_length import solar_declination, sunset_hour_angle

SOLAR_CONSTANT = 0.0820
"""MJ m-2 min-1 (FAO-56, eq. 21)."""

LATENT_HEAT = 2.45
"""MJ kg-1, heat of vaporisation at about 20 °C (FAO-56, eq. 20): MJ m-2 d-1 over it is mm d-1."""


def extraterrestrial_radiation(latitude: ArrayLike, doy: ArrayLike) -> NDArray[np.float64]:
    """Return the daily radiation at the top of the atmosphere in MJ m-2 d-1 (FAO-56, eq. 21 to 25).

    Parameters
    ----------
    latitude
        Degrees, north positive; broadcasts against `doy`.
    doy
        Day of the year, 1 to 366.
    """
    phi = np.radians(np.asarray(latitude, dtype=np.float64))
    delta = solar_declination(doy)
    omega = sunset_hour_angle(latitude, doy)
    distance = 1.0 + 0.033 * np.cos(2.0 * np.pi / 365.0 * np.asarray(doy, dtype=np.float64))
    geometry = omega * np.sin(phi) * np.sin(delta) + np.cos(phi) * np.cos(delta) * np.sin(omega)
    return 24.0 * 60.0 / np.pi * SOLAR_CONSTANT * distance * geometry


def hargreaves(
    tmin: ArrayLike, tmax: ArrayLike, tmean: ArrayLike, latitude: ArrayLike, doy: ArrayLike
) -> NDArray[np.float64]:
    """Return reference evapotranspiration in mm d-1 after Hargreaves, never negative.

    ``0.0023 · Ra/λ · (tmean + 17.8) · sqrt(tmax − tmin)`` (FAO-56, eq. 52). It is 0 below −17.8 °C, and where a
    record has its extremes in the wrong order.

    Parameters
    ----------
    tmin, tmax, tmean
        Daily temperatures in °C, ``[T, N]``.
    latitude
        Degrees, ``[N]``.
    doy
        Day of the year, ``[T]``.

    References
    ----------
    Hargreaves, G. H., Samani, Z. A. (1985): Reference crop evapotranspiration from temperature. Applied Engineering
    in Agriculture 1(2), 96-99. doi:10.13031/2013.26773.
    """
    # The radiation depends on the day of the year only: one year is computed, and looked up.
    year = extraterrestrial_radiation(np.asarray(latitude), np.arange(1, 367)[:, None]) / LATENT_HEAT
    spread = np.maximum(np.asarray(tmax, dtype=np.float64) - np.asarray(tmin, dtype=np.float64), 0.0)
    warmth = np.maximum(np.asarray(tmean, dtype=np.float64) + 17.8, 0.0)
    return 0.0023 * year[np.asarray(doy, dtype=np.int64) - 1] * warmth * np.sqrt(spread)
