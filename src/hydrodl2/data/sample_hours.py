"""Hours of the embedded sample's days: rain in storms, a wave of temperature, evapotranspiration by daylight.

The hours of a day add up to the day: precipitation and potential evapotranspiration have its sum, temperature its mean.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hydrodl2.data.sample_landscape import Landscape
from hydrodl2.data.sample_weather import Weather

HOURS = 24

WARMEST_HOUR = 15.0


@dataclass(frozen=True)
class HourlyWeather:
    """Hourly series [24 T, N], float64.

    Parameters
    ----------
    prcp, tmean, pet
        Precipitation (mm/h), temperature (°C), potential evapotranspiration (mm/h).
    """

    prcp: np.ndarray
    tmean: np.ndarray
    pet: np.ndarray

    def since(self, step: int) -> HourlyWeather:
        """Return the weather without its first hours."""
        return HourlyWeather(**{name: series[step:] for name, series in vars(self).items()})


def to_hours(weather: Weather, land: Landscape, rng: np.random.Generator) -> HourlyWeather:
    """Return the hours of daily weather.

    Parameters
    ----------
    weather
        Days [T, N].
    land
        The sites; where rain is rare and heavy, storms are short.
    rng
        Source of randomness.
    """
    hour = np.arange(HOURS)[None, :, None] + 0.5
    dry = weather.prcp == 0.0
    wave = np.cos(2.0 * np.pi * (hour - WARMEST_HOUR) / HOURS)
    range_ = (9.0 + 5.0 * (1.0 - land.wetness)) * np.where(dry, 1.05, 0.65)
    daylight = weather.dayl[:, None] / 3600.0
    sun = np.maximum(np.sin(np.pi * (hour - 12.0 + daylight / 2.0) / daylight), 0.0)
    sun *= np.abs(hour - 12.0) <= daylight / 2.0
    return HourlyWeather(
        prcp=_series(weather.prcp[:, None] * _storms(*weather.prcp.shape, land, rng)),
        tmean=_series(weather.tmean[:, None] + 0.5 * range_[:, None] * wave),
        pet=_series(weather.pet[:, None] * sun / sun.sum(axis=1, keepdims=True)),
    )


def _storms(days: int, sites: int, land: Landscape, rng: np.random.Generator) -> np.ndarray:
    """Return the share of every hour in the rain of its day, [T, 24, N]: one storm a day, uneven within."""
    hour = np.arange(HOURS)[None, :, None] + 0.5
    centre = HOURS * rng.random((days, 1, sites))
    width = 1.0 + (1.0 + 6.0 * (1.0 - land.storminess)) * rng.standard_exponential((days, 1, sites))
    # A storm that passes midnight ends the day where it began.
    distance = np.abs(hour - centre)
    distance = np.minimum(distance, HOURS - distance)
    rain = np.exp(-((distance / width) ** 2)) * rng.standard_gamma(0.8, (days, HOURS, sites))
    rain[rain < 0.05 * rain.max(axis=1, keepdims=True)] = 0.0
    return rain / rain.sum(axis=1, keepdims=True)


def _series(values: np.ndarray) -> np.ndarray:
    return values.reshape(-1, values.shape[-1])
