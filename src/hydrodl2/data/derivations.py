"""Hydrological variables that converters can derive: mean temperature, PET, day length."""

from __future__ import annotations

import numpy as np

from dmg.core.data.derive import Derivation
from dmg.errors import DataError
from dmg.registry import derivations
from hydrodl2.calc.day_length import day_length
from hydrodl2.calc.pet import hargreaves


def _tmean(*, tmin: np.ndarray, tmax: np.ndarray, doy: np.ndarray) -> np.ndarray:
    return 0.5 * (tmin + tmax)


def is_mean_repeated(tmin: np.ndarray, tmax: np.ndarray) -> bool:
    """Return whether a product gives one temperature twice, from which Hargreaves would make a PET of 0."""
    known = np.isfinite(tmin) & np.isfinite(tmax)
    return bool(known.any() and (tmin == tmax)[known].mean() > 0.5)


def _pet(
    *, tmin: np.ndarray, tmax: np.ndarray, tmean: np.ndarray, gauge_lat: np.ndarray, doy: np.ndarray
) -> np.ndarray:
    if is_mean_repeated(tmin, tmax):
        raise DataError(
            "PET cannot be derived: minimum and maximum temperature are the same on most days",
            hint="the product repeats the daily mean (NLDAS does); take another product, or give pet",
        )
    return hargreaves(tmin, tmax, tmean, gauge_lat, doy)


def _dayl(*, gauge_lat: np.ndarray, doy: np.ndarray) -> np.ndarray:
    return 3600.0 * day_length(gauge_lat, np.arange(1, 367)[:, None])[doy - 1]


derivations.register("tmean")(
    Derivation({"tmin": "degC", "tmax": "degC"}, "degC", _tmean, "air temperature, mean of daily minimum and maximum")
)
derivations.register("pet")(
    Derivation(
        {"tmin": "degC", "tmax": "degC", "tmean": "degC", "gauge_lat": "degree"},
        "mm d-1",
        _pet,
        "potential evapotranspiration (Hargreaves and Samani 1985)",
    )
)
derivations.register("dayl")(
    Derivation({"gauge_lat": "degree"}, "s", _dayl, "length of the day from latitude (FAO-56, eq. 34)")
)
