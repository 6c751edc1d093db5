"""Daily weather of the embedded sample: a stochastic generator for all sites at once.

Wet and dry days come from a latent Gaussian autoregressive process that crosses a seasonal threshold, amounts from a
gamma distribution whose mean follows the season; temperature is a seasonal wave with autocorrelated anomalies, lower
on wet days. Day length is astronomical, potential evapotranspiration Hargreaves', radiation and vapour pressure are
estimated from the daily range of temperature, so that the six forcings agree with each other.

Sources: Richardson (1981), doi:10.1029/WR017i001p00182 (structure of the generator); Allen et al. (1998), FAO-56
(equations 11, 50 and 52).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from hydrodl2.calc.day_length import by_day, day_length
from hydrodl2.calc.humidity import saturation_vapour_pressure
from hydrodl2.calc.pet import hargreaves
from hydrodl2.calc.radiation import extraterrestrial_radiation
from hydrodl2.data.sample_landscape import Landscape

COLDEST_DAY = 20
"""Day of the year of the least temperature."""

WARMEST_PEAK = COLDEST_DAY + 182.6

MEMORY_OF_SPELLS, MEMORY_OF_WARMTH = 0.6, 0.75
"""Correlation of a day with the one before: of the process that decides on rain, and of anomalies of temperature."""


@dataclass(frozen=True)
class Weather:
    """Daily series [T, N], float64.

    Parameters
    ----------
    prcp, tmean, pet, dayl, srad, vp
        Precipitation (mm/d), mean temperature (°C), potential evapotranspiration (mm/d), day length (s), mean
        radiation of the daylight (W/m²), vapour pressure (Pa).
    """

    prcp: np.ndarray
    tmean: np.ndarray
    pet: np.ndarray
    dayl: np.ndarray
    srad: np.ndarray
    vp: np.ndarray

    def since(self, step: int) -> Weather:
        """Return the weather without its first steps."""
        return Weather(**{name: series[step:] for name, series in vars(self).items()})


def generate_weather(
    land: Landscape,
    days: np.ndarray,
    rng: np.random.Generator,
    latent: Callable[[float], np.ndarray] | None = None,
) -> Weather:
    """Return the weather of all sites.

    Parameters
    ----------
    land
        The sites.
    days
        datetime64[D], [T].
    rng
        Source of randomness.
    latent
        Called with `MEMORY_OF_SPELLS` and with `MEMORY_OF_WARMTH`; returns standard Gaussian series [T, N] with that
        correlation from day to day. Independent by site if absent.
    """
    latent = latent or (lambda memory: autoregressive(len(days), land.sites, memory, rng))
    doy = (days - days.astype("datetime64[Y]")).astype(np.int64) + 1
    prcp = _precipitation(land, doy, rng, latent(MEMORY_OF_SPELLS))
    wet = prcp > 0.0
    amplitude = 8.0 + 6.0 * (1.0 - land.warmth)
    mean = -1.0 + 19.0 * land.warmth
    wave = _wave(doy, WARMEST_PEAK)[:, None]
    anomaly = latent(MEMORY_OF_WARMTH) * (3.0 - 0.8 * wave)
    tmean = mean + amplitude * wave + anomaly - np.where(wet, 1.2 * (1.0 + wave), 0.0)
    spread = (9.0 + 5.0 * (1.0 - land.wetness)) * (1.0 + 0.15 * wave) * np.where(wet, 0.65, 1.05)
    tmin, tmax = tmean - spread / 2.0, tmean + spread / 2.0
    dayl = by_day(day_length, land.latitude, doy) * 3600.0
    sunshine = 0.16 * np.sqrt(spread) * by_day(extraterrestrial_radiation, land.latitude, doy)
    dew_point = tmin - 4.0 * (1.0 - land.wetness)
    return Weather(
        prcp=prcp,
        tmean=tmean,
        pet=hargreaves(tmin, tmax, tmean, land.latitude, doy),
        dayl=dayl,
        srad=sunshine * 1e6 / dayl,
        vp=1000.0 * saturation_vapour_pressure(dew_point),
    )


def _precipitation(land: Landscape, doy: np.ndarray, rng: np.random.Generator, spells: np.ndarray) -> np.ndarray:
    """Return daily precipitation in mm/d; its mean is that of the climate, 1.4 to 7 mm/d."""
    mean = 1.4 * 5.0**land.wetness
    peak = 20.0 + 182.6 * land.season
    season = 1.0 + (0.15 + 0.6 * np.abs(2.0 * land.season - 1.0)) * _wave(doy[:, None], peak)
    frequency = (0.25 + 0.25 * land.wetness) * (1.3 - 0.6 * land.storminess)
    # Part of the season is in how often it rains, part in how much.
    chance = np.clip(frequency * np.sqrt(season), 0.02, 0.95)
    wet = spells > -_normal_quantile(chance)
    shape = 1.1 - 0.5 * land.storminess
    amount = rng.standard_gamma(np.broadcast_to(shape, spells.shape)) / shape * np.sqrt(season)
    # Rain comes in tenths of a millimetre: a day has less than 0.1 mm or none.
    prcp = np.where(wet, amount, 0.0) * (mean / frequency)
    prcp *= mean / prcp.mean(axis=0)
    return np.where(prcp < 0.1, 0.0, prcp)


def _wave(doy: np.ndarray, peak: float | np.ndarray) -> np.ndarray:
    """Return a wave of one year, 1 at the peak and −1 half a year later."""
    return np.cos(2.0 * np.pi * (doy - peak) / 365.25)


def autoregressive(steps: int, sites: int, memory: float, rng: np.random.Generator) -> np.ndarray:
    """Return a Gaussian process [T, N] of mean 0 and variance 1 with lag-one correlation `memory`."""
    series = rng.standard_normal((steps, sites))
    series[1:] *= np.sqrt(1.0 - memory**2)
    for t in range(1, steps):
        series[t] += memory * series[t - 1]
    return series


def _normal_quantile(probability: np.ndarray) -> np.ndarray:
    """Return the standard normal quantile, by the logistic approximation of Bowling et al. (2009), error < 0.02."""
    # F(z) = 1 / (1 + exp(−(0.07056 z³ + 1.5976 z))); the cubic is solved by Cardano's formula.
    logit = np.log(probability / (1.0 - probability))
    p, q = 1.5976 / 0.07056 / 3.0, logit / 0.07056 / 2.0
    root = np.sqrt(q**2 + p**3)
    return np.cbrt(q + root) + np.cbrt(q - root)
