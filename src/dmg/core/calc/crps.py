"""Score of an ensemble forecast: the continuous ranked probability score."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray


def crps(members: ArrayLike, observed: ArrayLike, *, fair: bool = False) -> NDArray[np.float64]:
    """Return the continuous ranked probability score of an ensemble, in the unit of the series; 0 is best.

    ``E|X − y| − ½ E|X − X'|`` with X and X' drawn from the ensemble: the absolute error for one member, and less for an
    ensemble that tells its uncertainty.

    Parameters
    ----------
    members
        [M, …].
    observed
        […]; the score is NaN where it is, or where a member is.
    fair
        Score the distribution that the members were drawn from: ensembles of different sizes can be compared. Needs
        two members.

    References
    ----------
    Hersbach, H. (2000): Decomposition of the continuous ranked probability score for ensemble prediction systems.
    Weather and Forecasting 15, 559-570. Ferro, C. A. T. (2014): Fair scores for ensemble forecasts. Q. J. R. Meteorol.
    Soc. 140, 1917-1923, doi:10.1002/qj.2270 (``fair``).
    """
    x, y = np.asarray(members, dtype=np.float64), np.asarray(observed, dtype=np.float64)
    size = len(x)
    if size < 1 + fair:
        raise ValueError(f"{size} members are too few")
    error = np.abs(x - y).mean(axis=0)
    # Of sorted members the sum of all differences is a weighted sum.
    weights = (2.0 * np.arange(1, size + 1) - size - 1.0).reshape(-1, *[1] * y.ndim)
    spread = (weights * np.sort(x, axis=0)).sum(axis=0) / (size * (size - 1 if fair else size))
    return error - spread
