"""Length of the day from latitude and date."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray


def solar_declination(doy: ArrayLike) -> NDArray[np.float64]:
    """Return the solar declination in radians (FAO-56, eq. 24).

    Parameters
    ----------
    doy
        Day of the year, 1 to 366.
    """
    return 0.409 * np.sin(2.0 * np.pi / 365.0 * np.asarray(doy, dtype=np.float64) - 1.39)


def sunset_hour_angle(latitude: ArrayLike, doy: ArrayLike) -> NDArray[np.float64]:
    """Return the sunset hour angle in radians (FAO-56, eq. 25): 0 in polar night, π in polar day.

    Parameters
    ----------
    latitude
        Degrees, north positive; broadcasts against `doy`.
    doy
        Day of the year.
    """
    phi = np.radians(np.asarray(latitude, dtype=np.float64))
    return np.arccos(np.clip(-np.tan(phi) * np.tan(solar_declination(doy)), -1.0, 1.0))


def day_length(latitude: ArrayLike, doy: ArrayLike) -> NDArray[np.float64]:
    """Return the hours between sunrise and sunset (FAO-56, eq. 34).

    Parameters
    ----------
    latitude
        Degrees, north positive; broadcasts against `doy`.
    doy
        Day of the year.

    References
    ----------
    Allen, R. G., Pereira, L. S., Raes, D., Smith, M. (1998): Crop evapotranspiration. FAO Irrigation and Drainage
    Paper 56, Rome.
    """
    return 24.0 / np.pi * sunset_hour_angle(latitude, doy)


def by_day(
    function: Callable[[ArrayLike, ArrayLike], NDArray[np.float64]], latitude: ArrayLike, doy: ArrayLike
) -> NDArray[np.float64]:
    """Return a function of latitude [N] and day of the year [T] as [T, N]; a day that recurs is computed once."""
    days, where = np.unique(np.asarray(doy, dtype=np.int64), return_inverse=True)
    return function(np.asarray(latitude), days[:, None])[where.reshape(-1)]
