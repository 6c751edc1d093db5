"""Prediction intervals: of an ensemble, how wide they are."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]


def ensemble_interval(members: ArrayLike, level: float) -> tuple[Floats, Floats]:
    """Return the central interval of an ensemble [M, …] that holds a share ``level`` of its members."""
    x = np.asarray(members, dtype=np.float64)
    lower, upper = np.quantile(x, [(1.0 - level) / 2.0, (1.0 + level) / 2.0], axis=0)
    return lower, upper


def relative_width(lower: ArrayLike, upper: ArrayLike, observed: ArrayLike, level: float) -> Floats:
    """Return the mean width of intervals [T, …] over that of climatology; below 1 the model says something.

    Parameters
    ----------
    lower, upper
        Bounds.
    observed
        Observations, NaN where there are none; only where there are some widths count.
    level
        Share that the intervals shall hold; climatology is the central interval of all observations.
    """
    low, high, y = (np.asarray(values, dtype=np.float64) for values in (lower, upper, observed))
    bounds = np.nanquantile(y, [(1.0 - level) / 2.0, (1.0 + level) / 2.0], axis=0)
    return np.nanmean(np.where(np.isfinite(y), high - low, np.nan), axis=0) / (bounds[1] - bounds[0])
