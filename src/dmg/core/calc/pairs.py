"""Predicted and observed series, paired on the days with observations."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np

from dmg.errors import DataError

ArrayLike = Any  # numpy array, tensor or nested list


class Pairs:
    """Predictions and observations [n_sites, T] in float64, with what several metrics share.

    Parameters
    ----------
    pred, target
        Predictions and observations, [n_sites, T] or [T]; NaN observations do not count.
    sites
        Names of the sites, for messages.

    Raises
    ------
    DataError
        If the shapes differ or a prediction is not finite.
    """

    def __init__(self, pred: ArrayLike, target: ArrayLike, sites: Sequence[str] | None = None) -> None:
        self.all_pred, self.target = _series(pred, "predictions"), _series(target, "observations")
        if self.all_pred.shape != self.target.shape:
            raise DataError(
                f"predictions {self.all_pred.shape} and observations {self.target.shape} differ",
                hint="both are [site, time]; is the warm-up cut from one and not from the other?",
            )
        self._refuse_bad_predictions(sites)
        self.target = np.where(np.isfinite(self.target), self.target, np.nan)
        self.valid = ~np.isnan(self.target)
        self.pred = np.where(self.valid, self.all_pred, np.nan)

    def _refuse_bad_predictions(self, sites: Sequence[str] | None) -> None:
        bad = np.flatnonzero(~np.isfinite(self.all_pred).all(axis=-1))
        if bad.size == 0:
            return
        names = [str(sites[i]) if sites is not None else f"number {i}" for i in bad[:10]]
        more = f" and {bad.size - 10} more" if bad.size > 10 else ""
        raise DataError(
            f"predictions are not finite at {bad.size} of {len(self.all_pred)} sites",
            where=f"site {', '.join(names)}{more}",
            hint="look for NaN in the forcings of these sites, or for a training that diverged",
        )

    @cached_property
    def n(self) -> np.ndarray:
        """Number of observations of each site, [n_sites]."""
        return self.valid.sum(axis=-1)

    @cached_property
    def error(self) -> np.ndarray:
        """Prediction minus observation, NaN where there is none."""
        return self.pred - self.target

    @cached_property
    def pred_mean(self) -> np.ndarray:
        """Mean of the predictions on observed days."""
        return self.mean(self.pred)

    @cached_property
    def target_mean(self) -> np.ndarray:
        """Mean of the observations."""
        return self.mean(self.target)

    @cached_property
    def pred_anomaly(self) -> np.ndarray:
        """Predictions minus their mean."""
        return self.pred - self.pred_mean[:, None]

    @cached_property
    def target_anomaly(self) -> np.ndarray:
        """Observations minus their mean."""
        return self.target - self.target_mean[:, None]

    @cached_property
    def pred_std(self) -> np.ndarray:
        """Population standard deviation of the predictions, exactly 0 for a constant series."""
        return self._std(self.pred, self.pred_anomaly)

    @cached_property
    def target_std(self) -> np.ndarray:
        """Population standard deviation of the observations, exactly 0 for a constant series."""
        return self._std(self.target, self.target_anomaly)

    @cached_property
    def pred_sorted(self) -> np.ndarray:
        """Predictions of observed days in ascending order, NaN last."""
        return np.sort(self.pred, axis=-1)

    @cached_property
    def target_sorted(self) -> np.ndarray:
        """Observations in ascending order, NaN last."""
        return np.sort(self.target, axis=-1)

    @cached_property
    def rank(self) -> np.ndarray:
        """Position of each column of the sorted series, [1, T]."""
        return np.arange(self.target.shape[-1])[None, :]

    def sum(self, values: np.ndarray) -> np.ndarray:
        """Return the sum over observed days, NaN for a site without any."""
        return np.where(self.n > 0, np.nansum(values, axis=-1), np.nan)

    def mean(self, values: np.ndarray) -> np.ndarray:
        """Return the mean over observed days, NaN for a site without any."""
        return self.sum(values) / np.maximum(self.n, 1)

    def _std(self, values: np.ndarray, anomaly: np.ndarray) -> np.ndarray:
        # Rounding in the mean would give a constant series a tiny spread, and its efficiency a huge value.
        low = np.where(self.valid, values, np.inf).min(axis=-1, initial=np.inf)
        high = np.where(self.valid, values, -np.inf).max(axis=-1, initial=-np.inf)
        return np.where(high > low, np.sqrt(self.mean(anomaly**2)), np.where(self.n > 0, 0.0, np.nan))


def _series(values: ArrayLike, role: str) -> np.ndarray:
    """Return a float64 array [n_sites, T] of an array, a tensor or a list."""
    if hasattr(values, "detach"):
        values = values.detach().cpu()
    array = np.asarray(values, dtype=np.float64)
    if array.ndim == 1:
        array = array[None, :]
    if array.ndim != 2:
        raise DataError(
            f"{role} of shape {array.shape} are not [site, time]",
            hint="one target at a time, without a last axis of length one",
        )
    return array
