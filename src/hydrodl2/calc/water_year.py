"""Water years, and the largest flow of each."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

FIRST_MONTH = 10
"""A water year begins in October and bears the number of the calendar year in which it ends (USGS)."""


class AnnualMaxima(NamedTuple):
    """Annual maxima of series: ``years`` [Y]; ``peaks`` and their ``positions`` on the time axis, both [Y, N]."""

    years: NDArray[np.int64]
    peaks: NDArray[np.float64]
    positions: NDArray[np.int64]


def water_year(times: NDArray[np.datetime64], first_month: int = FIRST_MONTH) -> NDArray[np.int64]:
    """Return the water year of every moment.

    Parameters
    ----------
    times
        datetime64.
    first_month
        Month, 1 to 12, with which a year begins.
    """
    months = np.asarray(times).astype("datetime64[M]").astype(np.int64)
    return 1970 + (months + (13 - first_month) % 12) // 12


def water_year_span(year: int, first_month: int = FIRST_MONTH) -> tuple[np.datetime64, np.datetime64]:
    """Return the first and the last day of a water year."""
    bounds = 12 * (year - 1970) - (13 - first_month) % 12 + np.array([0, 12])
    first, after = bounds.astype("datetime64[M]").astype("datetime64[D]")
    return first, after - np.timedelta64(1, "D")


def annual_maxima(
    flow: NDArray[np.floating],
    times: NDArray[np.datetime64],
    *,
    max_missing: float = 0.1,
    first_month: int = FIRST_MONTH,
) -> AnnualMaxima:
    """Return the largest value of every water year and site.

    Parameters
    ----------
    flow
        [T, N]; NaN is missing.
    times
        datetime64 [T], regular.
    max_missing
        Largest share of a whole water year that may be missing, in the record or because the record begins or ends
        within it; a year with more has no maximum (NaN).
    first_month
        Month with which a year begins.
    """
    years = water_year(times, first_month)
    step = times[1] - times[0] if len(times) > 1 else np.timedelta64(1, "D")
    found = np.unique(years)
    peaks = np.full((len(found), flow.shape[1]), np.nan)
    positions = np.zeros((len(found), flow.shape[1]), dtype=np.int64)
    for row, year in enumerate(found.tolist()):
        inside = np.flatnonzero(years == year)
        values = np.where(np.isnan(flow[inside]), -np.inf, flow[inside])
        first, last = water_year_span(year, first_month)
        whole = (last + np.timedelta64(1, "D") - first) / step
        complete = np.isfinite(values).sum(axis=0) >= (1 - max_missing) * whole
        largest = values.argmax(axis=0)
        positions[row] = inside[largest]
        peaks[row] = np.where(complete, np.take_along_axis(values, largest[None], axis=0)[0], np.nan)
    return AnnualMaxima(found, peaks, positions)
