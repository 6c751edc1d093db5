"""From the dates of a configuration to positions on the time axis of a store."""

from __future__ import annotations

from datetime import datetime

import numpy as np

from dmg.errors import DataError


def as_span(start: str | datetime, end: str | datetime) -> tuple[np.datetime64, np.datetime64]:
    """Return a period as [first moment, first moment after it); an end without time of day means the whole day."""
    first, last = (np.datetime64(_iso(bound), "s") for bound in (start, end))
    whole_day = "T" not in _iso(end)
    return first, last + (np.timedelta64(1, "D") if whole_day else np.timedelta64(1, "s"))


def locate_period(
    times: np.ndarray,
    start: str | datetime,
    end: str | datetime,
    *,
    name: str,
    lead: int = 0,
    where: str | None = None,
) -> tuple[slice, int]:
    """Return the positions of a period and how many of them come before it.

    Parameters
    ----------
    times
        The record, datetime64 [T], regular.
    start, end
        First and last day of the period; both belong to it.
    name
        What the period is for, for the message.
    lead
        Steps to add before the period, as far as the record has them.

    Returns
    -------
    window
        Slice of positions, lead included.
    lead
        Number of steps before the period, at most as many as asked for.

    Raises
    ------
    DataError
        If the record does not cover the period; gives the dates of both.
    """
    first, bound = as_span(start, end)
    step = times[1] - times[0] if len(times) > 1 else np.timedelta64(1, "D")
    if first < times[0] or bound > times[-1] + step:
        raise DataError(
            f"the {name} period {_day(first)} to {_day(bound - np.timedelta64(1, 's'))} lies outside the record, "
            f"{_day(times[0])} to {_day(times[-1])}",
            where=where,
            hint="choose dates inside the record",
        )
    begin, stop = (int(np.searchsorted(times, moment)) for moment in (first, bound))
    if begin >= stop:
        raise DataError(f"the {name} period {_day(first)} to {_day(bound)} has no time step", where=where)
    taken = min(int(lead), begin)
    return slice(begin - taken, stop), taken


def _iso(bound: str | datetime) -> str:
    return bound.isoformat() if isinstance(bound, datetime) else str(bound).strip().replace("/", "-").replace(" ", "T")


def _day(moment: np.datetime64) -> str:
    return str(moment.astype("datetime64[D]"))
