"""Quantiles against observations: score, coverage, reliability."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dmg.errors import DataError

Floats: TypeAlias = NDArray[np.float64]


def quantile_crps(quantiles: ArrayLike, levels: Sequence[float], observed: ArrayLike) -> Floats:
    """Return the continuous ranked probability score of quantiles, in the unit of the series; 0 is best.

    It is twice the pinball loss, integrated over all levels (Gneiting and Ranjan, 2011): each level stands for the
    levels that are closest to it. The median alone gives the absolute error.

    Parameters
    ----------
    quantiles
        [Q, …].
    levels
        Of the quantiles, rising.
    observed
        […]; the score is NaN where it is.

    References
    ----------
    Gneiting, T., Ranjan, R. (2011): Comparing density forecasts using threshold- and quantile-weighted scoring rules.
    J. Bus. Econ. Stat. 29, 411-422.
    """
    x, tau, y = _as_arrays(quantiles, levels, observed)
    edges = np.concatenate([[0.0], (tau[1:] + tau[:-1]) / 2.0, [1.0]])
    at = tau.reshape(-1, *[1] * y.ndim)
    pinball = np.maximum(at * (y - x), (at - 1.0) * (y - x))
    return 2.0 * np.tensordot(np.diff(edges), pinball, axes=1)


def quantile_reliability(quantiles: ArrayLike, levels: Sequence[float], observed: ArrayLike) -> Floats:
    """Return the share of the observations […] that lie below each of the quantiles [Q, …]; their levels are promised.

    An observation that equals a quantile (a day without flow) counts half.
    """
    x, _, y = _as_arrays(quantiles, levels, observed)
    known = np.isfinite(y)
    if not known.any():
        raise DataError("there is no observation to compare with", hint="choose a period with observations")
    return ((y < x) + 0.5 * (y == x))[:, known].mean(axis=1)


def central_intervals(levels: Sequence[float]) -> dict[float, tuple[int, int]]:
    """Return the central intervals that levels offer: share that they hold to the positions of their bounds."""
    places = {round(float(level), 9): i for i, level in enumerate(levels)}
    return {
        round(1.0 - 2.0 * low, 9): (i, places[round(1.0 - low, 9)])
        for low, i in places.items()
        if low < 0.5 and round(1.0 - low, 9) in places
    }


def coverage(lower: ArrayLike, upper: ArrayLike, observed: ArrayLike) -> Floats:
    """Return the share of the observations [T, …] that lie within the interval; NaN where nothing was observed."""
    low, high, y = (np.asarray(values, dtype=np.float64) for values in (lower, upper, observed))
    known = np.isfinite(y)
    inside = known & (y >= low) & (y <= high)
    with np.errstate(invalid="ignore"):
        return inside.sum(axis=0) / known.sum(axis=0)


def _as_arrays(quantiles: ArrayLike, levels: Sequence[float], observed: ArrayLike) -> tuple[Floats, Floats, Floats]:
    x, tau, y = (np.asarray(values, dtype=np.float64) for values in (quantiles, levels, observed))
    if x.shape != (len(tau), *y.shape):
        raise DataError(
            f"quantiles {x.shape} do not fit {len(tau)} levels and observations {y.shape}",
            hint="give [level, time, site] and [time, site]",
        )
    return x, tau, y
