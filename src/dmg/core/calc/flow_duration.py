"""Metrics of the flow-duration curve: both series sorted, each on its own.

The sorted series are split at ranks round(0.3 n) and round(0.98 n) into low, middle and high flows. Only days
with observations enter either curve.
"""

from __future__ import annotations

import numpy as np

from dmg.core.calc.metric import metric
from dmg.core.calc.pairs import Pairs

INF = float("inf")
LOW, HIGH = 0.3, 0.98
#: Keeps the low-flow bias of an ephemeral stream finite.
FLV_OFFSET = 1e-4
#: Floor under the logarithm of the low-flow bias of Yilmaz et al.
LOG_FLOOR = 1e-6


def _low(pairs: Pairs) -> np.ndarray:
    return pairs.rank < np.round(LOW * pairs.n)[:, None]


def _high(pairs: Pairs) -> np.ndarray:
    return (pairs.rank >= np.round(HIGH * pairs.n)[:, None]) & (pairs.rank < pairs.n[:, None])


def _middle(pairs: Pairs) -> np.ndarray:
    return (pairs.rank < pairs.n[:, None]) & ~_low(pairs) & ~_high(pairs)


def _percent(pairs: Pairs, part: np.ndarray, offset: float = 0.0, absolute: bool = False) -> np.ndarray:
    """Return 100 Σ(p − t) / (Σt + offset) over a part of the sorted series; NaN if the part is empty."""
    error = np.where(part, pairs.pred_sorted - pairs.target_sorted, 0.0)
    volume = np.where(part, pairs.target_sorted, 0.0).sum(axis=-1) + offset
    total = (np.abs(error) if absolute else error).sum(axis=-1)
    return np.where(part.any(axis=-1), 100.0 * total / volume, np.nan)


def _rmse(pairs: Pairs, part: np.ndarray) -> np.ndarray:
    error = np.where(part, pairs.pred_sorted - pairs.target_sorted, 0.0)
    return np.sqrt((error**2).sum(axis=-1) / part.sum(axis=-1))


@metric("flv", best="zero", unit="percent")
def flv(pairs: Pairs) -> np.ndarray:
    """Volume bias of the lowest 30 % of flows, 100 Σ(p − t) / (Σt + 1e-4), on plain (not log) flows."""
    return _percent(pairs, _low(pairs), FLV_OFFSET)


@metric("flv_abs", best="min", unit="percent")
def flv_abs(pairs: Pairs) -> np.ndarray:
    """As ``flv``, with |p − t|."""
    return _percent(pairs, _low(pairs), FLV_OFFSET, absolute=True)


@metric("flv_log", best="zero", unit="percent")
def flv_log(pairs: Pairs) -> np.ndarray:
    """Bias of the low-flow slope of the flow-duration curve, on log flows.

    −100 (L_p − L_t) / L_t with L = Σ(ln q − ln min q) over the lowest 30 %, flows floored at 1e-6.
    Yilmaz, K. K., Gupta, H. V., Wagener, T. (2008). Water Resources Research 44, W09417, eq. A4.
    NaN if the low flows do not vary.
    """
    low = _low(pairs)

    def above_minimum(values: np.ndarray) -> np.ndarray:
        logs = np.log(np.maximum(values, LOG_FLOOR))
        return np.where(low, logs - logs[:, :1], 0.0).sum(axis=-1)

    observed = above_minimum(pairs.target_sorted)
    value = -100.0 * (above_minimum(pairs.pred_sorted) - observed) / observed
    return np.where(low.any(axis=-1) & (observed > 0), value, np.nan)


@metric("pbias_mid", best="zero", unit="percent")
def pbias_mid(pairs: Pairs) -> np.ndarray:
    """Volume bias of the flows between the lowest 30 % and the highest 2 %."""
    return _percent(pairs, _middle(pairs))


@metric("pbias_mid_abs", best="min", unit="percent")
def pbias_mid_abs(pairs: Pairs) -> np.ndarray:
    """As ``pbias_mid``, with |p − t|."""
    return _percent(pairs, _middle(pairs), absolute=True)


@metric("fhv", best="zero", unit="percent")
def fhv(pairs: Pairs) -> np.ndarray:
    """Volume bias of the highest 2 % of flows, 100 Σ(p − t) / Σt.

    Yilmaz, K. K., Gupta, H. V., Wagener, T. (2008). Water Resources Research 44, W09417, eq. A3.
    """
    return _percent(pairs, _high(pairs))


@metric("fhv_abs", best="min", unit="percent")
def fhv_abs(pairs: Pairs) -> np.ndarray:
    """As ``fhv``, with |p − t|."""
    return _percent(pairs, _high(pairs), absolute=True)


@metric("rmse_low", best="min", bounds=(0.0, INF))
def rmse_low(pairs: Pairs) -> np.ndarray:
    """Root mean squared difference of the lowest 30 % of both curves."""
    return _rmse(pairs, _low(pairs))


@metric("rmse_mid", best="min", bounds=(0.0, INF))
def rmse_mid(pairs: Pairs) -> np.ndarray:
    """Root mean squared difference of the middle of both curves."""
    return _rmse(pairs, _middle(pairs))


@metric("rmse_high", best="min", bounds=(0.0, INF))
def rmse_high(pairs: Pairs) -> np.ndarray:
    """Root mean squared difference of the highest 2 % of both curves."""
    return _rmse(pairs, _high(pairs))


@metric("rmse_fdc", best="min", bounds=(0.0, INF))
def rmse_fdc(pairs: Pairs) -> np.ndarray:
    """Root mean squared difference of the curves at 100 points.

    Point k of a curve is the value of descending rank floor(k n / 100), k = 0 … 99.
    """
    if pairs.target.shape[-1] == 0:
        return np.full(len(pairs.n), np.nan)
    descending = np.arange(100)[None, :] * pairs.n[:, None] // 100
    ascending = np.maximum(pairs.n[:, None] - 1 - descending, 0)
    curves = (np.take_along_axis(v, ascending, axis=-1) for v in (pairs.pred_sorted, pairs.target_sorted))
    predicted, observed = curves
    return np.sqrt(np.mean((predicted - observed) ** 2, axis=-1))
