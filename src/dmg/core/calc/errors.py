"""Bias and size of the error."""

from __future__ import annotations

import numpy as np

from dmg.core.calc.metric import metric
from dmg.core.calc.pairs import Pairs

INF = float("inf")


@metric("bias", best="zero")
def bias(pairs: Pairs) -> np.ndarray:
    """Mean error, p̄ − t̄."""
    return pairs.mean(pairs.error)


@metric("bias_abs_rel", best="min", unit="1")
def bias_abs_rel(pairs: Pairs) -> np.ndarray:
    """Mean absolute relative error |p − t| / (t + 1e-5); older versions reported it as ``bias``."""
    return pairs.mean(np.abs(pairs.error) / (pairs.target + 1e-5))


@metric("bias_rel", best="zero", unit="1")
def bias_rel(pairs: Pairs) -> np.ndarray:
    """Relative volume error Σ(p − t) / Σt over the days with observations."""
    return pairs.sum(pairs.error) / pairs.sum(pairs.target)


@metric("pbias", best="zero", unit="percent")
def pbias(pairs: Pairs) -> np.ndarray:
    """Relative volume error in percent."""
    return 100.0 * pairs.sum(pairs.error) / pairs.sum(pairs.target)


@metric("pbias_abs", best="min", unit="percent")
def pbias_abs(pairs: Pairs) -> np.ndarray:
    """Sum of absolute errors over sum of observations, 100 Σ|p − t| / Σt, day by day."""
    return 100.0 * pairs.sum(np.abs(pairs.error)) / pairs.sum(pairs.target)


@metric("mae", best="min", bounds=(0.0, INF))
def mae(pairs: Pairs) -> np.ndarray:
    """Mean absolute error."""
    return pairs.mean(np.abs(pairs.error))


@metric("rmse", best="min", bounds=(0.0, INF))
def rmse(pairs: Pairs) -> np.ndarray:
    """Root mean squared error."""
    return np.sqrt(pairs.mean(pairs.error**2))


@metric("rmse_ub", best="min", bounds=(0.0, INF))
def rmse_ub(pairs: Pairs) -> np.ndarray:
    """Unbiased root mean squared error: of the anomalies about each series' own mean."""
    return np.sqrt(pairs.mean((pairs.pred_anomaly - pairs.target_anomaly) ** 2))
