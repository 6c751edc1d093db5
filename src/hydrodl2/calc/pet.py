"""Potential evapotranspiration: Hargreaves, Priestley–Taylor, and FAO-56 Penman–Monteith by day and by hour.

All of it is for reference grass, a rate in mm d-1, and never negative. Energies are in MJ m-2 d-1 whatever the step,
pressures in kPa.

References
----------
Allen, R. G., Pereira, L. S., Raes, D., Smith, M. (1998): Crop evapotranspiration. FAO Irrigation and Drainage Paper 56,
Rome.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hydrodl2.calc.day_length import by_day
from hydrodl2.calc.humidity import psychrometric_constant, saturation_slope, saturation_vapour_pressure
from hydrodl2.calc.radiation import extraterrestrial_radiation

LATENT_HEAT = 2.45
"""MJ kg-1, heat of vaporisation at about 20 °C (FAO-56, eq. 20): MJ m-2 d-1 over it is mm d-1."""

PRIESTLEY_TAYLOR = 1.26
"""Evaporation of a wet surface over its equilibrium evaporation."""

DAILY_COEFFICIENT = 900.0
"""Factor of the aerodynamic term for a day, which gives mm d-1 (FAO-56, eq. 6)."""

HOURLY_COEFFICIENT = 24.0 * 37.0
"""The same for an hour: 37 gives mm h-1 (FAO-56, eq. 53)."""


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
    spread = np.maximum(np.asarray(tmax, dtype=np.float64) - np.asarray(tmin, dtype=np.float64), 0.0)
    warmth = np.maximum(np.asarray(tmean, dtype=np.float64) + 17.8, 0.0)
    radiation = by_day(extraterrestrial_radiation, latitude, doy)
    return 0.0023 * (radiation / LATENT_HEAT) * warmth * np.sqrt(spread)


def priestley_taylor(
    net_radiation: ArrayLike, temperature: ArrayLike, pressure: ArrayLike, ground_heat: ArrayLike = 0.0
) -> NDArray[np.float64]:
    """Return potential evapotranspiration in mm d-1 after Priestley and Taylor, never negative.

    ``1.26 · Δ / (Δ + γ) · (Rn − G) / λ``, from energy alone, without wind and humidity.

    Parameters
    ----------
    net_radiation, ground_heat
        Net radiation, and what of it warms the ground, in MJ m-2 d-1.
    temperature
        Mean air temperature in °C.
    pressure
        Air pressure in kPa.

    References
    ----------
    Priestley, C. H. B., Taylor, R. J. (1972): On the assessment of surface heat flux and evaporation using large-scale
    parameters. Monthly Weather Review 100(2), 81-92. doi:10.1175/1520-0493(1972)100<0081:OTAOSH>2.3.CO;2.
    """
    slope, gamma = saturation_slope(temperature), psychrometric_constant(pressure)
    energy = np.asarray(net_radiation, dtype=np.float64) - np.asarray(ground_heat, dtype=np.float64)
    return np.maximum(PRIESTLEY_TAYLOR * slope / (slope + gamma) * energy / LATENT_HEAT, 0.0)


def penman_monteith(
    net_radiation: ArrayLike,
    tmin: ArrayLike,
    tmax: ArrayLike,
    wind: ArrayLike,
    vapour_pressure: ArrayLike,
    pressure: ArrayLike,
    ground_heat: ArrayLike = 0.0,
) -> NDArray[np.float64]:
    """Return the reference evapotranspiration of a day in mm d-1 after Penman and Monteith (FAO-56, eq. 6).

    Parameters
    ----------
    net_radiation, ground_heat
        Net radiation, and what of it warms the ground (about 0 over a day), in MJ m-2 d-1.
    tmin, tmax
        Extremes of air temperature in °C; FAO-56 takes their mean as that of the day.
    wind
        Wind speed at 2 m in m s-1.
    vapour_pressure, pressure
        Actual vapour pressure and air pressure in kPa.
    """
    tmean = 0.5 * (np.asarray(tmin, dtype=np.float64) + np.asarray(tmax, dtype=np.float64))
    saturation = 0.5 * (saturation_vapour_pressure(tmin) + saturation_vapour_pressure(tmax))
    energy = np.asarray(net_radiation, dtype=np.float64) - np.asarray(ground_heat, dtype=np.float64)
    return _combined(energy, tmean, wind, saturation - vapour_pressure, pressure, DAILY_COEFFICIENT)


def penman_monteith_hourly(
    net_radiation: ArrayLike,
    temperature: ArrayLike,
    wind: ArrayLike,
    vapour_pressure: ArrayLike,
    pressure: ArrayLike,
) -> NDArray[np.float64]:
    """Return the reference evapotranspiration of an hour, or less, as a rate in mm d-1 (FAO-56, eq. 53).

    Parameters
    ----------
    net_radiation
        Rate over the step in MJ m-2 d-1; `ground_heat_hourly` tells what warms the ground.
    temperature
        Mean air temperature in °C.
    wind
        Wind speed at 2 m in m s-1.
    vapour_pressure, pressure
        Actual vapour pressure and air pressure in kPa.
    """
    energy = np.asarray(net_radiation, dtype=np.float64) - ground_heat_hourly(net_radiation)
    deficit = saturation_vapour_pressure(temperature) - vapour_pressure
    return _combined(energy, temperature, wind, deficit, pressure, HOURLY_COEFFICIENT)


def ground_heat_hourly(net_radiation: ArrayLike) -> NDArray[np.float64]:
    """Return what warms the ground under grass within a day, in the unit of the net radiation (FAO-56, eq. 45, 46).

    A tenth of the net radiation by day and half of it by night; day is where it is positive.
    """
    net = np.asarray(net_radiation, dtype=np.float64)
    return np.where(net > 0.0, 0.1, 0.5) * net


def wind_at_2m(wind: ArrayLike, height: float = 10.0) -> NDArray[np.float64]:
    """Return the wind speed at 2 m over grass from that at another height in m (FAO-56, eq. 47)."""
    return np.asarray(wind, dtype=np.float64) * (4.87 / np.log(67.8 * height - 5.42))


def _combined(
    energy: ArrayLike,
    temperature: ArrayLike,
    wind: ArrayLike,
    deficit: ArrayLike,
    pressure: ArrayLike,
    coefficient: float,
) -> NDArray[np.float64]:
    """Return the combination of energy and aerodynamics for grass of 0.12 m, of a surface resistance of 70 s m-1."""
    slope, gamma = saturation_slope(temperature), psychrometric_constant(pressure)
    wind = np.asarray(wind, dtype=np.float64)
    aerodynamic = gamma * coefficient / (np.asarray(temperature, dtype=np.float64) + 273.0) * wind * deficit
    radiative = slope * energy / LATENT_HEAT
    return np.maximum((radiative + aerodynamic) / (slope + gamma * (1.0 + 0.34 * wind)), 0.0)
