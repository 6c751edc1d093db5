"""Moist air: vapour pressure, its saturation, air pressure and the psychrometric constant (FAO-56, chapter 3)."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

VAPOUR_MASS_RATIO = 0.622
"""Molecular weight of water vapour over that of dry air."""


def saturation_vapour_pressure(temperature: ArrayLike) -> NDArray[np.float64]:
    """Return the saturation vapour pressure in kPa; temperature in °C (FAO-56, eq. 11)."""
    t = np.asarray(temperature, dtype=np.float64)
    return 0.6108 * np.exp(17.27 * t / (t + 237.3))


def saturation_slope(temperature: ArrayLike) -> NDArray[np.float64]:
    """Return the slope of the saturation vapour pressure in kPa °C-1; temperature in °C (FAO-56, eq. 13)."""
    t = np.asarray(temperature, dtype=np.float64)
    return 4098.0 * saturation_vapour_pressure(t) / (t + 237.3) ** 2


def air_pressure(elevation: ArrayLike) -> NDArray[np.float64]:
    """Return the mean air pressure in kPa; elevation in m (FAO-56, eq. 7)."""
    return 101.3 * ((293.0 - 0.0065 * np.asarray(elevation, dtype=np.float64)) / 293.0) ** 5.26


def psychrometric_constant(pressure: ArrayLike) -> NDArray[np.float64]:
    """Return the psychrometric constant in kPa °C-1; air pressure in kPa (FAO-56, eq. 8)."""
    return 0.665e-3 * np.asarray(pressure, dtype=np.float64)


def vapour_pressure(specific_humidity: ArrayLike, pressure: ArrayLike) -> NDArray[np.float64]:
    """Return the vapour pressure in the unit of the air pressure; specific humidity in kg kg-1.

    ``q = ε e / (p − (1 − ε) e)``, the definition of specific humidity, solved for e.
    """
    q = np.asarray(specific_humidity, dtype=np.float64)
    return q * np.asarray(pressure, dtype=np.float64) / (VAPOUR_MASS_RATIO + (1.0 - VAPOUR_MASS_RATIO) * q)
