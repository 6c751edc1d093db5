"""Error of the largest peak."""

from __future__ import annotations

import numpy as np

from dmg.core.calc.metric import metric
from dmg.core.calc.pairs import Pairs

#: Steps before and after the observed maximum within which the predicted one is sought.
HALF_WINDOW = 10


def _peak_error(pairs: Pairs) -> tuple[np.ndarray, np.ndarray]:
    """Return predicted minus observed maximum, and the observed maximum, NaN without observations."""
    n_sites, n_steps = pairs.target.shape
    if n_steps == 0:
        return np.full(n_sites, np.nan), np.full(n_sites, np.nan)
    position = np.argmax(np.where(pairs.valid, pairs.target, -np.inf), axis=-1)
    largest = np.take_along_axis(pairs.target, position[:, None], axis=-1)[:, 0]
    # Clipping repeats the first or last step, which lies in the window anyway.
    window = np.clip(position[:, None] + np.arange(-HALF_WINDOW, HALF_WINDOW + 1), 0, n_steps - 1)
    return np.take_along_axis(pairs.all_pred, window, axis=-1).max(axis=-1) - largest, largest


@metric("d_max", best="zero")
def d_max(pairs: Pairs) -> np.ndarray:
    """Largest prediction within 10 steps of the observed maximum, minus that maximum."""
    return _peak_error(pairs)[0]


@metric("d_max_rel", best="zero", unit="percent")
def d_max_rel(pairs: Pairs) -> np.ndarray:
    """As ``d_max``, in percent of the observed maximum."""
    error, largest = _peak_error(pairs)
    return 100.0 * error / largest
