"""Missing values: one policy for each role.

========== =================================================================================================
forcing    gaps of up to `max_gap` steps between two known values are filled linearly, and logged; others are
           an error that names variable, sites and dates
attribute  an error, or the mean of the training sites (``train_mean``); categories are encoded explicitly
target     stays NaN: losses and metrics mask it
========== =================================================================================================

Sentinels such as −999 become NaN where data enter (:func:`mask_sentinels`) and are never met again.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from dmg.errors import DataError

logger = logging.getLogger(__name__)

SENTINELS = (-999.0, -999.9, -999.99, -9999.0, -9999.9, -9999.99, -99999.0, -999999.0, -9999999.0)
"""Numbers that stand for "missing" in files of the field; none of them is a value that anything can have."""

HUGE = 1e15
"""Beyond it a number is a fill value (the NetCDF default is 9.97e36)."""

MAX_GAP = 3
"""Steps that are filled by default in a forcing."""

_NO_LABEL = {"", "na", "n/a", "nan", "none", "null", "-999", "-9999"}


class Gap(NamedTuple):
    """A run of missing steps at one site."""

    site: int
    start: int
    length: int


def mask_sentinels(values: Any, extra: Iterable[float] = ()) -> np.ndarray:
    """Return a float copy in which sentinels, infinities and fill values are NaN.

    Parameters
    ----------
    values
        Any shape; never written to.
    extra
        Further numbers that mean "missing" in this file.
    """
    given = np.asarray(values)
    dtype = given.dtype if given.dtype in (np.float32, np.float64) else np.dtype(np.float64)
    result = given.astype(dtype, copy=True)
    marks = np.array([*SENTINELS, *extra], dtype=dtype)
    with np.errstate(invalid="ignore"):
        # Sentinels but for `extra` are all below −998, so that most arrays need one comparison, not ten.
        suspicious = (result < -998) | np.isin(result, marks[len(SENTINELS) :])
        if suspicious.any():
            result[suspicious & np.isin(result, marks)] = np.nan
        result[np.abs(result) >= HUGE] = np.nan
    return result


def find_gaps(values: np.ndarray) -> list[Gap]:
    """Return the runs of NaN in ``[T, N]``, by site and then by time."""
    missing = np.isnan(values)
    columns = np.flatnonzero(missing.any(axis=0))
    gaps = []
    for site in columns.tolist():
        edges = np.flatnonzero(np.diff(np.concatenate(([0], missing[:, site].astype(np.int8), [0]))))
        gaps += [Gap(site, int(a), int(b - a)) for a, b in zip(edges[::2], edges[1::2], strict=True)]
    return gaps


def fill_forcing(
    values: np.ndarray,
    *,
    name: str,
    sites: Sequence[str],
    times: np.ndarray,
    max_gap: int = MAX_GAP,
    where: str | None = None,
    goes_on: tuple[bool, bool] = (False, False),
) -> np.ndarray:
    """Return the forcing ``[T, N]`` without NaN.

    Runs of at most `max_gap` missing steps with a known value on both sides are filled linearly in time; the
    number of filled values is logged as a warning.

    Parameters
    ----------
    values
        [T, N], never written to.
    name, sites, times, where
        For messages.
    max_gap
        Longest run that is filled.
    goes_on
        Whether the period goes on before the first and behind the last of these steps: a short run there is left to
        whoever reads these steps with more of their neighbours.

    Raises
    ------
    DataError
        If a longer run, or one at the start or the end of the period, is missing; names the sites and dates, or the day
        on which the forcing ends everywhere.
    """
    gaps = find_gaps(values)
    if not gaps:
        return values
    steps = len(values)
    known = np.flatnonzero(~np.isnan(values).all(axis=1))
    if len(known) and known[-1] < steps - 1 and not goes_on[1]:
        days = np.asarray(times).astype("datetime64[D]")
        raise DataError(
            f"forcing '{name}' ends on {days[known[-1]]} at every site, the period goes to {days[-1]}",
            where=where,
            hint="end the period where the forcing ends, or use one that is longer",
        )
    at_edge = [(g.start == 0, g.start + g.length == steps) for g in gaps]
    left = [any(e and on for e, on in zip(edge, goes_on, strict=True)) for edge in at_edge]
    hopeless = [g for g, edge, lies in zip(gaps, at_edge, left, strict=True) if g.length > max_gap or any(edge) > lies]
    if hopeless:
        raise DataError(
            f"forcing '{name}' is missing at {_describe(hopeless, sites, times)}",
            where=where,
            hint=f"gaps of up to {max_gap} steps inside the record are filled; choose another period or "
            "other sites, fill the store, or raise the limit",
        )
    filled = values.copy()
    gaps = [g for g, lies in zip(gaps, left, strict=True) if not lies]
    for site, start, length in gaps:
        ends = values[start - 1, site], values[start + length, site]
        filled[start : start + length, site] = np.linspace(*ends, length + 2)[1:-1]
    # A store that is read in parts says it for every part, which is of less interest.
    logger.log(
        logging.INFO if any(goes_on) else logging.WARNING,
        "forcing '%s': %d missing values at %d sites filled linearly (gaps of up to %d steps)",
        name,
        sum(g.length for g in gaps),
        len({g.site for g in gaps}),
        max((g.length for g in gaps), default=0),
    )
    return filled


def fill_attribute(
    values: np.ndarray,
    *,
    name: str,
    sites: Sequence[str],
    policy: str = "error",
    train: np.ndarray | None = None,
    where: str | None = None,
) -> np.ndarray:
    """Return the attribute ``[N]`` without NaN.

    Parameters
    ----------
    policy
        ``error``, or ``train_mean``: the mean over the training sites that have a value.
    train
        Which sites are used in training, bool ``[N]``; all, where not given.

    Raises
    ------
    DataError
        If values are missing and the policy is ``error``, or no training site has a value.
    """
    if policy not in ("error", "train_mean"):
        raise DataError(f"unknown policy '{policy}' for missing attributes", hint="error, train_mean")
    missing = np.isnan(values)
    if not missing.any():
        return values
    if policy == "error":
        raise DataError(
            f"attribute '{name}' is missing at {_some([sites[i] for i in np.flatnonzero(missing)])}",
            where=where,
            hint="drop the attribute or these sites, or fill in the mean of the training sites (train_mean)",
        )
    known = ~missing if train is None else ~missing & np.asarray(train, dtype=bool)
    if not known.any():
        raise DataError(f"attribute '{name}' is missing at every training site", where=where)
    filled = values.copy()
    filled[missing] = values[known].mean(dtype=np.float64)
    logger.warning("attribute '%s': %d missing values set to the training mean", name, int(missing.sum()))
    return filled


def encode_categories(
    labels: Iterable[Any], mapping: Mapping[str, int] | None = None, *, name: str = "category"
) -> tuple[np.ndarray, dict[str, int]]:
    """Return category labels as numbers, NaN where there is none, and the mapping.

    Parameters
    ----------
    labels
        Text per site; blanks around it are dropped, ``NA`` and empty text mean missing.
    mapping
        Label to number as used before; by default the sorted labels are numbered from 0.

    Raises
    ------
    DataError
        If a label is not in the given mapping.
    """
    plain = [None if _is_blank(label) else str(label).strip() for label in labels]
    present = sorted({label for label in plain if label is not None})
    table = dict(mapping) if mapping is not None else {label: code for code, label in enumerate(present)}
    unknown = [label for label in present if label not in table]
    if unknown:
        raise DataError(f"'{name}' has categories without a number: {_some(unknown)}", hint="extend the mapping")
    codes = np.array([np.nan if label is None else table[label] for label in plain], dtype=np.float32)
    return codes, table


def require_nonnegative(
    values: np.ndarray, *, name: str, sites: Sequence[str], times: np.ndarray, where: str | None = None
) -> None:
    """Check that no value of ``[T, N]`` is negative (NaN passes).

    Raises
    ------
    DataError
        If one is; names the first sites and dates, and the smallest value.
    """
    with np.errstate(invalid="ignore"):
        negative = values < 0
    if negative.any():
        gaps = find_gaps(np.where(negative, np.nan, 0.0))
        raise DataError(
            f"'{name}' is negative (down to {np.nanmin(values):g}) at {_describe(gaps, sites, times)}",
            where=where,
            hint="correct the data; if the number means 'missing', tell the converter: `--missing VALUE`",
        )


def mask_target(values: np.ndarray) -> np.ndarray:
    """Return the target with every sentinel and infinity as NaN, ready to be masked by a loss."""
    return mask_sentinels(values)


def _is_blank(label: Any) -> bool:
    return label is None or (isinstance(label, float) and np.isnan(label)) or str(label).strip().lower() in _NO_LABEL


def _describe(gaps: Sequence[Gap], sites: Sequence[str], times: np.ndarray) -> str:
    affected = list(dict.fromkeys(g.site for g in gaps))
    days = np.asarray(times).astype("datetime64[D]")
    parts = []
    for index in affected[:3]:
        runs = [g for g in gaps if g.site == index]
        spans = [f"{days[g.start]}..{days[g.start + g.length - 1]}" for g in runs[:2]]
        more = f" and {len(runs) - 2} more" if len(runs) > 2 else ""
        parts.append(f"{sites[index]} ({', '.join(spans)}{more})")
    rest = f" and {len(affected) - 3} more sites" if len(affected) > 3 else ""
    return "; ".join(parts) + rest


def _some(names: Sequence[str], limit: int = 5) -> str:
    return ", ".join(map(str, names[:limit])) + (f" and {len(names) - limit} more" if len(names) > limit else "")
