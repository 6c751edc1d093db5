"""Whether an ensemble means what it says: ranks of the observations, and promised against found frequencies."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dmg.errors import DataError

Floats = NDArray[np.float64]


def probability_integral_transform(members: ArrayLike, observed: ArrayLike, *, seed: int = 0) -> Floats:
    """Return the place of the observations in an ensemble, between 0 and 1: uniform if it is reliable.

    Parameters
    ----------
    members
        [M, …].
    observed
        […]; the result is NaN where it is.
    seed
        Decides between ties, such as days without flow.

    References
    ----------
    Gneiting, T., Balabdaoui, F., Raftery, A. E. (2007): Probabilistic forecasts, calibration and sharpness. J. R. Stat.
    Soc. B 69, 243-268.
    """
    x, y = np.asarray(members, dtype=np.float64), np.asarray(observed, dtype=np.float64)
    if x.shape[1:] != y.shape:
        raise DataError(f"members {x.shape} and observations {y.shape} differ", hint="members are [M, …] of them")
    below, ties = (x < y).sum(axis=0), (x == y).sum(axis=0)
    # A rank among M + 1 places, drawn within its place: uniform for a finite ensemble too.
    place = np.random.default_rng(seed).random(y.shape)
    return np.where(np.isfinite(y), (below + place * (ties + 1)) / (len(x) + 1), np.nan)


@dataclass(frozen=True)
class Reliability:
    """Found frequencies of promised ones.

    Parameters
    ----------
    levels
        Promised: shares of the central intervals.
    found
        Shares of the observations in them.
    slope
        Of the line through the points: below 1 the ensemble is too narrow at high levels.
    error
        Mean of |found − promised|.
    """

    levels: Floats
    found: Floats
    slope: float
    error: float


def reliability(
    members: ArrayLike, observed: ArrayLike, levels: ArrayLike | None = None, *, seed: int = 0
) -> Reliability:
    """Return how often central intervals of an ensemble [M, …] hold the observations […], over all of them.

    Parameters
    ----------
    members, observed, seed
        See `probability_integral_transform`.
    levels
        Shares between 0 and 1; 0.05, 0.10, … 0.95 if absent.
    """
    promised = np.arange(0.05, 0.96, 0.05) if levels is None else np.asarray(levels, dtype=np.float64)
    place = probability_integral_transform(members, observed, seed=seed)
    distance = 2.0 * np.abs(place[np.isfinite(place)] - 0.5)
    if not distance.size:
        raise DataError("there is no observation to compare with", hint="choose a period with observations")
    found = (distance[:, None] <= promised).mean(axis=0)
    slope = np.polyfit(promised, found, 1)[0] if len(promised) > 1 else np.nan
    return Reliability(promised, found, float(slope), float(np.abs(found - promised).mean()))
