"""Radiation of a day: at the top of the atmosphere, and what a grass surface keeps of it (FAO-56, chapter 3).

All fluxes are in MJ m-2 d-1, whatever the time step: 1 W m-2 is 0.0864 of them.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hydrodl2.calc.day_length import solar_declination, sunset_hour_angle

SOLAR_CONSTANT = 0.0820
"""MJ m-2 min-1 (FAO-56, eq. 21)."""

STEFAN_BOLTZMANN = 4.903e-9
"""MJ K-4 m-2 d-1 (FAO-56, eq. 39)."""

ALBEDO = 0.23
"""Of the reference grass (FAO-56, eq. 38)."""

ZERO_CELSIUS = 273.16
"""K; the offset that FAO-56 uses in eq. 39."""


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


def clear_sky_radiation(extraterrestrial: ArrayLike, elevation: ArrayLike) -> NDArray[np.float64]:
    """Return the shortwave radiation under a clear sky in MJ m-2 d-1; elevation in m (FAO-56, eq. 37)."""
    return (0.75 + 2e-5 * np.asarray(elevation, dtype=np.float64)) * np.asarray(extraterrestrial, dtype=np.float64)


def net_longwave_loss(
    tmin: ArrayLike, tmax: ArrayLike, vapour_pressure: ArrayLike, relative_shortwave: ArrayLike
) -> NDArray[np.float64]:
    """Return the net outgoing longwave radiation in MJ m-2 d-1, estimated from the cloudiness (FAO-56, eq. 39).

    Parameters
    ----------
    tmin, tmax
        Extremes of air temperature over the step in °C; the same twice for an hour.
    vapour_pressure
        kPa.
    relative_shortwave
        Incoming shortwave radiation over that of a clear sky; 1 at most is used.
    """
    emitted = 0.5 * (black_body(tmin) + black_body(tmax))
    humidity = 0.34 - 0.14 * np.sqrt(np.asarray(vapour_pressure, dtype=np.float64))
    return emitted * humidity * (1.35 * np.minimum(np.asarray(relative_shortwave, dtype=np.float64), 1.0) - 0.35)


def black_body(temperature: ArrayLike) -> NDArray[np.float64]:
    """Return the longwave radiation of a black body in MJ m-2 d-1; temperature in °C."""
    return STEFAN_BOLTZMANN * (np.asarray(temperature, dtype=np.float64) + ZERO_CELSIUS) ** 4


def net_radiation(shortwave: ArrayLike, longwave_loss: ArrayLike) -> NDArray[np.float64]:
    """Return what reference grass keeps of incoming shortwave radiation, in the unit of both (FAO-56, eq. 38, 40)."""
    return (1.0 - ALBEDO) * np.asarray(shortwave, dtype=np.float64) - np.asarray(longwave_loss, dtype=np.float64)
