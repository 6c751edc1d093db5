"""Series at a coarser interval."""

from __future__ import annotations

from typing import Any, TypeVar

from dmg.core.utils.resample_interval import format_resample_interval
from dmg.errors import DataError, did_you_mean

T = TypeVar("T")

METHODS = ("mean", "sum", "min", "max", "median")


def timestep_resample(data: T, resolution: str = "M", method: str = "mean", times: Any = None) -> T:
    """Return series at a coarser interval.

    Parameters
    ----------
    data
        A pandas object with a datetime index or a column ``time``, or an array or tensor [T, ...].
    resolution
        Interval, as `format_resample_interval` takes it.
    method
        ``mean``, ``sum``, ``min``, ``max`` or ``median`` of the values that are not NaN; an interval without any is
        NaN.
    times
        Times [T] of an array or tensor.

    Returns
    -------
    same kind as ``data``
        With one row for every interval.

    Raises
    ------
    DataError
        If the method is unknown, or the times are missing or do not fit.
    """
    import numpy as np
    import pandas as pd

    if method not in METHODS:
        raise DataError(f"cannot resample by '{method}'", hint=did_you_mean(method, METHODS))
    if isinstance(data, pd.DataFrame | pd.Series):
        frame = data.set_index("time") if "time" in getattr(data, "columns", ()) else data
        if not isinstance(frame.index, pd.DatetimeIndex):
            raise DataError("the series have no times", hint="give a datetime index or a column 'time'")
        return _reduced(frame, resolution, method)
    values = data.detach().cpu().numpy() if hasattr(data, "detach") else np.asarray(data)
    if times is None or len(times) != len(values):
        raise DataError(
            f"{len(values)} steps but {'no' if times is None else len(times)} times", hint="pass times= of equal length"
        )
    index = pd.DatetimeIndex(np.asarray(times, dtype="datetime64[ns]"))
    coarse = _reduced(pd.DataFrame(values.reshape(len(values), -1), index=index), resolution, method).to_numpy()
    coarse = coarse.reshape(-1, *values.shape[1:]).astype(values.dtype, copy=False)
    return data.new_tensor(coarse) if hasattr(data, "new_tensor") else coarse


def _reduced(frame: Any, resolution: str, method: str) -> Any:
    groups = frame.resample(format_resample_interval(resolution))
    # The sum of nothing would be a zero that nobody measured.
    return groups.sum(min_count=1) if method == "sum" else getattr(groups, method)()
