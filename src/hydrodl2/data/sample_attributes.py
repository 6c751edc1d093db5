"""The attributes of the embedded sample, with the names of CAMELS.

Climatic ones are computed from the generated weather as Addor et al. (2017), doi:10.5194/hess-21-5293-2017, define
them; the others are curves of the land with a measurement error of one hundredth of their range.
"""

from __future__ import annotations

import numpy as np

from hydrodl2.data.sample_landscape import Landscape
from hydrodl2.data.sample_weather import Weather

ERROR = 0.01
"""Standard deviation of the error of a property of the land, in parts of its range."""

_LAND_COVER = np.array([7, 10, 12, 5, 4, 1])
"""Shrubland, grassland, cropland, mixed, broadleaf and needleleaf forest in the numbering of CAMELS, by cover."""


def climate_attributes(weather: Weather, days: np.ndarray) -> dict[str, np.ndarray]:
    """Return the climatic attributes [N]: means, aridity, seasonality, snow, frequency and duration of extremes."""
    prcp, years = weather.prcp, len(days) / 365.25
    p_mean, pet_mean = prcp.mean(axis=0), weather.pet.mean(axis=0)
    heavy, dry = prcp >= 5.0 * p_mean, prcp < 1.0
    return {
        "p_mean": p_mean,
        "pet_mean": pet_mean,
        "p_seasonality": seasonality(prcp, weather.tmean, days),
        "frac_snow": np.where(weather.tmean < 0.0, prcp, 0.0).sum(axis=0) / prcp.sum(axis=0),
        "aridity": pet_mean / p_mean,
        "high_prec_freq": heavy.sum(axis=0) / years,
        "high_prec_dur": _mean_duration(heavy),
        "low_prec_freq": dry.sum(axis=0) / years,
        "low_prec_dur": _mean_duration(dry),
    }


def land_attributes(land: Landscape, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Return topography, vegetation, soil and geology [N], and where the gauges are."""

    def seen(x: np.ndarray) -> np.ndarray:
        return np.clip(x + ERROR * rng.standard_normal(land.sites), 0.0, 1.0)

    cover, sand, depth, rock = seen(land.cover), seen(land.sand), seen(land.depth), seen(land.rock)
    karst, relief = seen(land.karst), seen(land.relief)
    porosity = 0.48 - 0.11 * sand
    soil_depth = 0.3 + 1.2 * depth
    share = 0.35 + 0.6 * rng.random(land.sites)
    second = rng.random(land.sites) * (1.0 - share)
    return {
        "gauge_lat": land.latitude,
        "gauge_lon": -122.0 + 50.0 * rng.random(land.sites),
        "elev_mean": land.elevation,
        "slope_mean": 1.0 + 150.0 * relief**1.3,
        "area_gages2": 10.0 ** (1.0 + 2.4 * seen(land.size)),
        "frac_forest": cover,
        "lai_max": 0.6 + 4.8 * seen(land.cover),
        "lai_diff": 0.3 + 3.0 * cover * (0.5 + 0.5 * land.warmth),
        "gvf_max": 0.35 + 0.6 * np.sqrt(cover),
        "gvf_diff": 0.1 + 0.4 * (1.0 - cover),
        "dom_land_cover_frac": share,
        "dom_land_cover": _LAND_COVER[np.minimum((cover * len(_LAND_COVER)).astype(int), len(_LAND_COVER) - 1)],
        "root_depth_50": 0.12 + 0.15 * cover,
        "soil_depth_pelletier": 0.5 + 30.0 * seen(land.depth) ** 1.5,
        "soil_depth_statsgo": soil_depth,
        "soil_porosity": porosity,
        "soil_conductivity": 0.4 * 18.0**sand,
        "max_water_content": porosity * soil_depth,
        "sand_frac": 10.0 + 75.0 * sand,
        "silt_frac": 0.55 * (90.0 - 75.0 * sand),
        "clay_frac": 0.45 * (90.0 - 75.0 * sand),
        "geol_1st_class": np.where(karst > 0.5, 6, np.where(rock > 0.5, 3, 9)),
        "glim_1st_class_frac": share,
        "geol_2nd_class": np.where(second > 0.05, np.where(rock > 0.5, 5, 8), 0),
        "glim_2nd_class_frac": np.where(second > 0.05, second, 0.0),
        "carbonate_rocks_frac": karst,
        "geol_porosity": 0.01 + 0.25 * rock,
        "geol_permeability": -16.0 + 4.5 * rock,
    }


def seasonality(prcp: np.ndarray, tmean: np.ndarray, days: np.ndarray) -> np.ndarray:
    """Return the seasonality of precipitation [N]: positive with a peak in summer, negative in winter.

    The amplitude of the yearly wave of precipitation, relative to its mean, times the cosine of its distance from the
    wave of temperature. Source: Woods (2009), doi:10.1016/j.advwatres.2009.06.011, eq. 14.
    """
    doy = (days - days.astype("datetime64[Y]")).astype(np.int64) + 1
    turn = np.exp(-2j * np.pi * doy / 365.25)
    rain, warmth = turn @ prcp, turn @ tmean
    amplitude = 2.0 * np.abs(rain) / len(doy) / prcp.mean(axis=0)
    return np.minimum(amplitude, 1.0) * np.cos(np.angle(rain) - np.angle(warmth))


def _mean_duration(event: np.ndarray) -> np.ndarray:
    """Return the mean length in days of the spells of an event [T, N]; 0 where it never happens."""
    starts = event & ~np.vstack([np.zeros((1, event.shape[1]), dtype=bool), event[:-1]])
    return event.sum(axis=0) / np.maximum(starts.sum(axis=0), 1)
