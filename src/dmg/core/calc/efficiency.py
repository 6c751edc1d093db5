"""Efficiencies: Nash-Sutcliffe and Kling-Gupta."""

from __future__ import annotations

import numpy as np

from dmg.core.calc.correlation import pearson
from dmg.core.calc.metric import metric
from dmg.core.calc.pairs import Pairs

INF = float("inf")


def _efficiency(pairs: Pairs) -> np.ndarray:
    return 1.0 - pairs.mean(pairs.error**2) / pairs.target_std**2


@metric("nse", best="max", bounds=(-INF, 1.0), unit="1")
def nse(pairs: Pairs) -> np.ndarray:
    """Nash-Sutcliffe efficiency, 1 − Σ(t − p)² / Σ(t − t̄)²; NaN if the observations do not vary.

    Nash, J. E., Sutcliffe, J. V. (1970). Journal of Hydrology 10, 282-290.
    """
    return _efficiency(pairs)


@metric("r2", best="max", bounds=(-INF, 1.0), unit="1")
def r2(pairs: Pairs) -> np.ndarray:
    """Coefficient of determination 1 − Σ(t − p)² / Σ(t − t̄)², by definition the same number as ``nse``."""
    return _efficiency(pairs)


@metric("kge", best="max", bounds=(-INF, 1.0), unit="1")
def kge(pairs: Pairs) -> np.ndarray:
    """Kling-Gupta efficiency, 1 − √((r − 1)² + (σ_p/σ_t − 1)² + (p̄/t̄ − 1)²), population σ.

    Gupta, H. V. et al. (2009). Journal of Hydrology 377, 80-91. NaN if either series does not vary.
    """
    return _kling_gupta(pairs, pairs.pred_std / pairs.target_std)


@metric("kge_12", best="max", bounds=(-INF, 1.0), unit="1")
def kge_12(pairs: Pairs) -> np.ndarray:
    """Modified Kling-Gupta efficiency: the ratio of coefficients of variation in place of that of σ.

    Kling, H., Fuchs, M., Paulin, M. (2012). Journal of Hydrology 424-425, 264-277.
    """
    return _kling_gupta(pairs, (pairs.pred_std * pairs.target_mean) / (pairs.target_std * pairs.pred_mean))


def _kling_gupta(pairs: Pairs, variability: np.ndarray) -> np.ndarray:
    ratio = pairs.pred_mean / pairs.target_mean
    return 1.0 - np.sqrt((pearson(pairs) - 1.0) ** 2 + (variability - 1.0) ** 2 + (ratio - 1.0) ** 2)
