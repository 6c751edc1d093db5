"""Conformal calibration: intervals widened, or narrowed, until they hold what they promise, whatever the distribution.

Romano, Y., Patterson, E., Candès, E. J. (2019): Conformalized quantile regression. NeurIPS 32 (split conformal, with an
interval of any origin in the place of quantile regression).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dmg.errors import DataError

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Conformal:
    """By how much intervals have to grow, site by site.

    Parameters
    ----------
    level
        Share of the observations that the intervals shall hold.
    margin
        [N], in the scale of the calibration; negative where intervals were too wide, infinite where there are too few
        observations to promise anything.
    relative
        Whether margins are multiples of the interval's width, as suits errors that grow with the flow.
    """

    level: float
    margin: Floats
    relative: bool

    @classmethod
    def calibrate(
        cls, lower: ArrayLike, upper: ArrayLike, observed: ArrayLike, level: float, *, relative: bool = True
    ) -> Conformal:
        """Return the calibration by intervals and observations [T, N] that took no part in training.

        Raises
        ------
        DataError
            If the level is no share, shapes differ, or an interval has no width that a relative margin could scale.
        """
        if not 0.0 < level < 1.0:
            raise DataError(f"level is {level}", hint="give a share between 0 and 1, such as 0.9")
        low, high, y = (np.asarray(values, dtype=np.float64) for values in (lower, upper, observed))
        if not low.shape == high.shape == y.shape or y.ndim != 2:
            raise DataError(
                f"bounds {low.shape}, {high.shape} and observations {y.shape} differ", hint="all are [T, N]"
            )
        known = np.isfinite(y)
        score = np.maximum(low - y, y - high)
        if relative:
            width = high - low
            if (known & ~(width > 0)).any():
                raise DataError("an interval has no width", hint="calibrate with relative=False, or with more members")
            score = score / np.where(known, width, 1.0)
        # The finite-sample quantile: the next observation is one more among n that are exchangeable with it.
        ranked = np.sort(np.where(known, score, np.inf), axis=0)
        rank = np.ceil((known.sum(axis=0) + 1) * level).astype(int)
        enough = rank <= known.sum(axis=0)
        at = np.clip(rank - 1, 0, max(len(ranked) - 1, 0))
        found = np.take_along_axis(ranked, at[None], axis=0)[0] if len(ranked) else np.full(y.shape[1], np.inf)
        return cls(level, np.where(enough, found, np.inf), relative)

    def apply(self, lower: ArrayLike, upper: ArrayLike, *, floor: float | None = 0.0) -> tuple[Floats, Floats]:
        """Return calibrated bounds [T, N]; none below ``floor``, and none where bounds have crossed."""
        low, high = (np.asarray(values, dtype=np.float64) for values in (lower, upper))
        if low.shape[-1] != len(self.margin):
            raise DataError(
                f"the intervals are of {low.shape[-1]} sites, the calibration of {len(self.margin)}",
                hint="give the sites of the calibration, in its order",
            )
        margin = self.margin * (high - low) if self.relative else self.margin
        new_low, new_high = low - margin, high + margin
        middle = (low + high) / 2.0
        crossed = new_low > new_high
        new_low, new_high = np.where(crossed, middle, new_low), np.where(crossed, middle, new_high)
        return (new_low if floor is None else np.maximum(new_low, floor)), new_high
