"""Return periods of annual maxima after Bulletin 17B: log-Pearson III with its test for low outliers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from dmg.errors import DataError

MIN_PEAKS = 10
"""The Bulletin asks for at least ten years."""

SKEW_MSE = 0.302
"""Mean square error of the generalised skew, that of the Bulletin's map (plate I)."""

MOST_CENSORED = 0.25
"""Share of a record below which its zeros and low outliers have to stay for the conditional adjustment (appendix 5)."""

_ANCHORS = np.array([0.01, 0.10, 0.50])  # exceedance probabilities of the synthetic statistics (appendix 5)
_NORMAL_SKEW = 1e-4  # below it the distribution and the normal one agree to 1e-5 in the tails asked for


@dataclass(frozen=True)
class LogPearson3:
    """A log-Pearson III distribution of annual maxima.

    Attributes
    ----------
    mean, std, skew
        Moments of the logarithms (base 10).
    n_peaks
        Maxima it was fitted to, those set aside included.
    n_low
        How many were set aside: zeros, and low outliers.
    """

    mean: float
    std: float
    skew: float
    n_peaks: int
    n_low: int

    def quantile(self, return_period: ArrayLike) -> NDArray[np.float64]:
        """Return the flow that is exceeded once in so many years on average, in the unit of the maxima."""
        deviate = pearson3_quantile(1.0 - 1.0 / np.asarray(return_period, dtype=np.float64), self.skew)
        return 10.0 ** (self.mean + self.std * deviate)

    def return_period(self, flow: ArrayLike) -> NDArray[np.float64]:
        """Return the average years between exceedances of a flow; 1 for no flow, NaN for NaN."""
        flow = np.asarray(flow, dtype=np.float64)
        with np.errstate(divide="ignore", invalid="ignore"):
            deviate = (np.log10(np.where(flow > 0, flow, 0.0)) - self.mean) / self.std
            period = 1.0 / pearson3_exceedance(deviate, self.skew)
        return np.where(np.isnan(flow), np.nan, period)


def fit_log_pearson3(
    peaks: ArrayLike, *, generalised_skew: float | None = 0.0, skew_mse: float = SKEW_MSE
) -> LogPearson3:
    """Fit the distribution of annual maxima.

    Zeros and low outliers (below ``mean − K_N·std`` of the logarithms, one-sided at 10 %, appendix 4) are set aside and
    the curve is adjusted for them by conditional probability (appendix 5). Without historic information high outliers
    belong to the record, as the Bulletin says, and the order of the two tests does not matter. The skew is the mean of
    the station's and a generalised one, weighted by the inverse of their mean square errors (equation 5).

    Parameters
    ----------
    peaks
        Annual maxima, at least ten; NaN is left out.
    generalised_skew
        None takes the station's skew alone.
    skew_mse
        Mean square error of the generalised skew.

    Raises
    ------
    DataError
        If there are fewer than ten maxima, more than a quarter of them is zero or a low outlier, or all are equal.

    References
    ----------
    Interagency Advisory Committee on Water Data (1982): Guidelines for determining flood flow frequency. Bulletin 17B
    of the Hydrology Subcommittee, U.S. Geological Survey, Reston.
    """
    values = np.asarray(peaks, dtype=np.float64)
    values = values[~np.isnan(values)]
    n_peaks = len(values)
    if n_peaks < MIN_PEAKS:
        raise DataError(
            f"{n_peaks} annual maxima are too few to fit their distribution",
            hint=f"lengthen the record to at least {MIN_PEAKS} complete years",
        )
    logs = np.log10(values[values > 0])
    if len(logs) < 3 or np.ptp(logs) == 0:
        raise DataError("the annual maxima have no spread, so that their distribution cannot be fitted")
    mean, std, _ = _moments(logs)
    logs = logs[logs >= mean - outlier_deviate(len(logs)) * std]
    share = len(logs) / n_peaks
    if share < 1 - MOST_CENSORED:
        raise DataError(
            f"{n_peaks - len(logs)} of {n_peaks} annual maxima are zero or low outliers, more than the method stands",
            hint="leave out the site",
        )
    mean, std, skew = _moments(logs)
    if share < 1:
        mean, std, skew = _conditional(mean, std, skew, share)
    if generalised_skew is not None:
        error = skew_error(skew, n_peaks)
        skew = (skew_mse * skew + error * generalised_skew) / (skew_mse + error)
    return LogPearson3(float(mean), float(std), float(skew), n_peaks, n_peaks - len(logs))


def outlier_deviate(n: int) -> float:
    """Return K_N, beyond which the most extreme of `n` normal deviates lies once in ten samples.

    Table of appendix 4 in the closed form of Stedinger, Vogel and Foufoula-Georgiou (1993, Handbook of Hydrology,
    eq. 18.3.1); the two differ by less than 0.002 for 10 to 149 values.
    """
    decades = np.log10(n)
    return float(-0.9043 + 3.345 * np.sqrt(decades) - 0.4046 * decades)


def skew_error(skew: float, n: int) -> float:
    """Return the mean square error of a station's skew from `n` maxima (equation 6)."""
    size = abs(skew)
    a = -0.33 + 0.08 * size if size <= 0.90 else -0.52 + 0.30 * size
    b = 0.94 - 0.26 * size if size <= 1.50 else 0.55
    return float(10.0 ** (a - b * np.log10(n / 10.0)))


def pearson3_exceedance(deviate: ArrayLike, skew: float) -> NDArray[np.float64]:
    """Return the probability that a standardised Pearson III variable exceeds a deviate."""
    z = torch.as_tensor(np.asarray(deviate, dtype=np.float64))
    if abs(skew) < _NORMAL_SKEW:
        return torch.special.ndtr(-z).numpy()
    shape = torch.tensor(4.0 / skew**2, dtype=torch.float64)
    gamma = (shape + 2.0 * z / skew).clamp(min=0.0)
    tail = torch.special.gammaincc if skew > 0 else torch.special.gammainc
    return tail(shape, gamma).numpy()


def pearson3_quantile(probability: ArrayLike, skew: float) -> NDArray[np.float64]:
    """Return the standardised Pearson III deviate of a probability of non-exceedance (the Bulletin's K, appendix 3)."""
    p = np.asarray(probability, dtype=np.float64)
    low, high = np.full(p.shape, -60.0), np.full(p.shape, 60.0)
    for _ in range(60):  # halving: 120 / 2⁶⁰ is below the spacing of float64
        middle = 0.5 * (low + high)
        below = pearson3_exceedance(middle, skew) > 1.0 - p
        low, high = np.where(below, middle, low), np.where(below, high, middle)
    return 0.5 * (low + high)


def _moments(logs: NDArray[np.float64]) -> tuple[float, float, float]:
    """Return mean, standard deviation and skew of a sample (equations 2 to 4)."""
    n = len(logs)
    mean, std = logs.mean(), logs.std(ddof=1)
    return mean, std, n * ((logs - mean) ** 3).sum() / ((n - 1) * (n - 2) * std**3)


def _conditional(mean: float, std: float, skew: float, share: float) -> tuple[float, float, float]:
    """Return the synthetic statistics of a curve of which only a share of the years takes part (appendix 5)."""
    deviates = pearson3_quantile(1.0 - _ANCHORS / share, skew)
    rare, seldom, median = mean + std * deviates
    synthetic = -2.50 + 3.12 * (rare - seldom) / (seldom - median)
    extremes = pearson3_quantile(1.0 - _ANCHORS[[0, 2]], synthetic)
    spread = (rare - median) / (extremes[0] - extremes[1])
    return median - extremes[1] * spread, spread, synthetic
