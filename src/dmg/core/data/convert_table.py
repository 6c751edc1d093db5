"""``dmg data table``: CSV or parquet tables of series, long or wide, become a canonical store."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from dmg.core.data.attribute_tables import numbers, read_table, split_title
from dmg.core.data.converter import Converter
from dmg.core.data.sites import text_id
from dmg.errors import DataError
from dmg.registry import converters

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr

_SUFFIXES = (".csv", ".txt", ".tsv", ".parquet")
_TIME_COLUMNS = ("time", "date", "datetime", "day", "timestamp")
_SITE_COLUMNS = (
    "site",
    "basin",
    "gauge_id",
    "gage_id",
    "gauge",
    "gage",
    "station",
    "station_id",
    "id",
    "staid",
)


def read_series(
    path: str | Path,
    *,
    site_column: str | None = None,
    time_column: str | None = None,
    wide: str | None = None,
    extra_missing: Sequence[float] = (),
) -> xr.Dataset:
    """Read series from a table, or from a folder with one table for each site.

    Parameters
    ----------
    path
        A file, or a folder whose file names (without suffix) are the site ids.
    site_column, time_column
        Names of the columns; by default one of the usual names, whatever its case.
    wide
        Name of the one variable of a wide table, in which every column but the time is a site. A long table has a
        site column, a time column and one column for each variable; a title may carry the unit: ``prcp [mm/d]``.
    extra_missing
        Numbers that mean "missing", beyond the usual sentinels.

    Raises
    ------
    DataError
        If columns are not there, cells are neither number nor missing, or (site, time) is repeated.
    """
    path = Path(path).expanduser()
    if path.is_dir():
        files = sorted(f for f in path.iterdir() if f.suffix.lower() in _SUFFIXES)
        if not files:
            raise DataError(f"no tables ({', '.join(_SUFFIXES)}) in {path}")
    else:
        files = [path]
    parts: list[pd.DataFrame] = []
    units: dict[str, str] = {}
    for file in files:
        frame = read_table(file)
        if frame is None:
            raise DataError("no separator (; tab ,) in the first line", where=str(file))
        times = _times(frame, time_column, file)
        if wide is not None:
            tidy = _from_wide(frame.drop(columns=times.name), times, wide, file, extra_missing)
        else:
            column = _column(frame, site_column, _SITE_COLUMNS, None if path.is_dir() else "--site-column", file)
            sites = [file.stem] * len(frame) if column is None else [text_id(v) for v in frame[column]]
            used = [str(times.name)] + ([] if column is None else [column])
            tidy = _from_long(frame.drop(columns=used), times, sites, units, file, extra_missing)
        parts.append(tidy)
    return _to_dataset(parts, units, path)


@converters.register("table")
class TableConverter(Converter):
    """The sub-command ``dmg data table``."""

    summary = "CSV or parquet tables: long (site, time, variables…), wide (time, one column a site), or one a site"
    input_help = "table, or folder with one table for each site"

    def add_own_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Declare how the columns are called."""
        parser.add_argument("--site-column", metavar="NAME", help="column with the site ids")
        parser.add_argument("--time-column", metavar="NAME", help="column with the dates")
        parser.add_argument("--wide", metavar="VARIABLE", help="the table is wide: one column a site, one variable")

    def read(self, args: argparse.Namespace) -> tuple[xr.Dataset, list[str]]:
        """Read the tables."""
        return read_series(
            args.input,
            site_column=args.site_column,
            time_column=args.time_column,
            wide=args.wide,
            extra_missing=args.missing,
        ), []


def _column(
    frame: pd.DataFrame, wanted: str | None, usual: Sequence[str], required: str | None, file: Path
) -> str | None:
    lower = {str(name).lower(): str(name) for name in frame.columns}
    for name in [wanted.lower()] if wanted else usual:
        if name in lower:
            return lower[name]
    if wanted is None and required is None:
        return None
    raise DataError(
        f"the table has no column '{wanted}'" if wanted else f"which column is meant by {required}?",
        where=str(file),
        hint=f"columns: {', '.join(map(str, frame.columns[:12]))}",
    )


def _times(frame: pd.DataFrame, wanted: str | None, file: Path) -> pd.Series:
    import pandas as pd

    column = _column(frame, wanted, _TIME_COLUMNS, "--time-column", file)
    try:
        times = pd.to_datetime(frame[column])
    except (ValueError, TypeError) as error:
        raise DataError(f"column '{column}' holds no dates: {error}", where=str(file)) from error
    if times.dt.tz is not None:
        times = times.dt.tz_convert("UTC").dt.tz_localize(None)
    return times.rename(column)


def _numbers(column: pd.Series, title: str, file: Path, extra: Sequence[float]) -> np.ndarray:
    values = numbers(column, extra)
    if values is None:
        raise DataError(
            f"column '{title}' holds text",
            where=str(file),
            hint="tables of series hold numbers; attributes go aside",
        )
    return values


def _from_wide(frame: pd.DataFrame, times: pd.Series, name: str, file: Path, extra: Sequence[float]) -> pd.DataFrame:
    import pandas as pd

    blocks = [
        pd.DataFrame({"site": text_id(title), "time": times, name: _numbers(frame[title], str(title), file, extra)})
        for title in frame.columns
    ]
    return pd.concat(blocks)


def _from_long(
    frame: pd.DataFrame,
    times: pd.Series,
    sites: list[str],
    units: dict[str, str],
    file: Path,
    extra: Sequence[float],
) -> pd.DataFrame:
    import pandas as pd

    data: dict[str, object] = {"site": sites, "time": times}
    for title in frame.columns:
        name, unit = split_title(str(title))
        data[name] = _numbers(frame[title], str(title), file, extra)
        if unit:
            units.setdefault(name, unit)
    return pd.DataFrame(data)


def _to_dataset(parts: list[pd.DataFrame], units: dict[str, str], path: Path) -> xr.Dataset:
    import pandas as pd

    table = pd.concat(parts)
    doubled = table.duplicated(["site", "time"])
    if doubled.any():
        first = table[doubled].iloc[0]
        raise DataError(f"site {first['site']} has {first['time']:%Y-%m-%d} more than once", where=str(path))
    ids = list(dict.fromkeys(table["site"]))
    ds = table.set_index(["time", "site"]).sort_index().to_xarray().sel(site=ids)
    ds = ds.assign_coords(site=("site", np.array(ids, dtype=object))).transpose("time", "site")
    for name, unit in units.items():
        ds[name].attrs["units"] = unit
    return ds
