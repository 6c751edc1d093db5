"""Correlation of predictions and observations."""

from __future__ import annotations

import numpy as np

from dmg.core.calc.metric import metric
from dmg.core.calc.pairs import Pairs


def pearson(pairs: Pairs) -> np.ndarray:
    """Return Pearson's correlation of each site, NaN where a series is constant."""
    covariance = pairs.mean(pairs.pred_anomaly * pairs.target_anomaly)
    scale = pairs.pred_std * pairs.target_std
    # Rounding may carry the quotient past 1; a quotient by 0 must not be clipped to 1.
    return np.where(scale > 0, np.clip(covariance / scale, -1.0, 1.0), np.nan)


@metric("corr", best="max", bounds=(-1.0, 1.0), unit="1")
def corr(pairs: Pairs) -> np.ndarray:
    """Pearson's correlation."""
    return pearson(pairs)


@metric("corr_spearman", best="max", bounds=(-1.0, 1.0), unit="1")
def corr_spearman(pairs: Pairs) -> np.ndarray:
    """Spearman's rank correlation; ties share their mean rank."""
    return pearson(Pairs(np.nan_to_num(_ranks(pairs.pred)), _ranks(pairs.target)))


def _ranks(values: np.ndarray) -> np.ndarray:
    """Return the mean ranks along time, NaN where there is no value."""
    import pandas as pd

    return pd.DataFrame(values.T).rank().to_numpy().T
