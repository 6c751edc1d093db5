"""The time steps of a period."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

from dmg.conf.period import parse_date
from dmg.errors import ConfigError

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

EPOCH = datetime(1980, 1, 1)


class Dates:
    """The days and hours of a period, both ends included.

    Parameters
    ----------
    time_range
        Mapping with ``start_time`` and ``end_time``, as the blocks ``train``, ``test`` and ``sim`` have them, or a
        list of the two dates, as ``train_time`` … are.
    rho
        Length of the training window in days; ``batch_daily_time_range`` leaves out so many days at the start.

    Raises
    ------
    ConfigError
        If a date is no date, the period runs backwards, or the window is longer than the period.
    """

    def __init__(self, time_range: Any, rho: int | None = None) -> None:
        ends = time_range
        if not isinstance(time_range, (list, tuple)):
            if time_range is None:
                raise ConfigError("there is no period to take dates from", hint="give start_time and end_time")
            read = time_range.get if hasattr(time_range, "get") else lambda key: getattr(time_range, key, None)
            ends = (read("start_time"), read("end_time"))
        self.rho = rho
        self.start, self.end = (parse_date(day) for day in ends)
        if self.start > self.end:
            raise ConfigError(f"the period from {ends[0]} to {ends[1]} runs backwards", hint="swap the dates")
        if rho is not None and rho > self.n_days:
            raise ConfigError(
                f"a window of {rho} days is longer than the {self.n_days} days from {ends[0]} to {ends[1]}"
            )

    @property
    def n_days(self) -> int:
        """Number of days."""
        return (self.end - self.start).days + 1

    @property
    def daily_time_range(self) -> pd.DatetimeIndex:
        """Every day."""
        import pandas as pd

        return pd.date_range(self.start, self.end, freq="D")

    @property
    def hourly_time_range(self) -> pd.DatetimeIndex:
        """Every hour from the first moment of the first day; an end without time of day counts to its last hour."""
        import pandas as pd

        end = pd.Timestamp(self.end)
        last = end + pd.Timedelta(hours=23) if end == end.normalize() else end
        return pd.date_range(self.start, last, freq="h")

    @property
    def batch_daily_time_range(self) -> pd.DatetimeIndex:
        """The days of the period without the first ``rho``; every day where no ``rho`` is given."""
        return self.daily_time_range[self.rho or 0 :]

    @property
    def numerical_time_range(self) -> np.ndarray:
        """Every day as its number since 1980/01/01."""
        import numpy as np

        first = self.date_to_int(self.start)
        return np.arange(first, first + self.n_days)

    @staticmethod
    def date_to_int(date: Any) -> int:
        """Return the number of a day since 1980/01/01."""
        return (parse_date(date) - EPOCH).days
