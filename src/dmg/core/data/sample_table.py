"""Tables of samples: rows that are cases of their own, with their units, joined from several files."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from dmg.core.data.quantity import conversion
from dmg.errors import DataError, did_you_mean

if TYPE_CHECKING:
    import pandas as pd

#: Column of the ids of the samples; without it they are numbered.
ID = "sample"
_WITH_UNIT = re.compile(r"^\s*(?P<name>.+?)\s*[\[(](?P<unit>[^\])]*)[\])]\s*$")


@dataclass(frozen=True)
class SampleTable:
    """Samples by row and variables by column.

    Parameters
    ----------
    frame
        The columns; NaN where a table has no such column. The index has the ids.
    units
        Unit of the columns that name one.
    where
        What errors say of where it came from.
    """

    frame: pd.DataFrame
    units: dict[str, str]
    where: str

    def numbers(self, name: str, unit: str = "") -> np.ndarray:
        """Return a column as float64 [N], in a unit if both it and the column name one.

        Raises
        ------
        DataError
            If there is no such column, or it has text.
        """
        import pandas as pd

        column = self._column(name)
        values = pd.to_numeric(column, errors="coerce").to_numpy(np.float64)
        text = np.isnan(values) & column.notna().to_numpy()
        if text.any():
            row = int(np.flatnonzero(text)[0])
            raise DataError(
                f"'{name}' of sample {self.frame.index[row]} is no number: {column.iloc[row]!r}", where=self.where
            )
        if unit and self.units.get(name):
            values = conversion(self.units[name], unit)(values)
        return values

    def text(self, name: str) -> np.ndarray:
        """Return a column as text [N]; missing values are empty."""
        return self._column(name).fillna("").astype(str).str.strip().to_numpy()

    def _column(self, name: str) -> pd.Series:
        if name not in self.frame:
            raise DataError(
                f"the tables have no column '{name}'",
                where=self.where,
                hint=did_you_mean(name, [str(column) for column in self.frame]),
            )
        return self.frame[name]


def read_samples(tables: Mapping[str, str], lookups: Mapping[str, str] | None = None) -> SampleTable:
    """Read tables of samples one below the other, and what is known of their categories.

    Parameters
    ----------
    tables
        Name to file: CSV, Parquet, or NetCDF (every combination of its coordinates is a sample). A header
        ``Tleaf (degC)`` or ``Tleaf [degC]`` gives a unit.
    lookups
        Column to a table of the same column and further ones, which every sample of a category gets.

    Raises
    ------
    DataError
        For a file that is not there or of another kind, units that differ, ids that appear twice, or a category that
        a lookup does not have.
    """
    import pandas as pd

    frames, units = [], {}
    where = ", ".join(tables.values())
    for name, path in tables.items():
        frame, own = _read(path)
        _merge_units(units, own, path)
        if ID in frame:
            frame.index = frame.pop(ID).astype(str)
        else:
            frame.index = [f"{name}:{i}" if len(tables) > 1 else str(i) for i in range(len(frame))]
        frames.append(frame)
    joined = pd.concat(frames)
    for column, path in (lookups or {}).items():
        joined, own = _look_up(joined, column, path)
        _merge_units(units, own, path)
    return sample_table(joined, units, where)


def sample_table(frame: pd.DataFrame, units: Mapping[str, str] | None = None, where: str = "the table") -> SampleTable:
    """Return a table in memory as samples.

    Raises
    ------
    DataError
        If an id appears twice, or there is no row.
    """
    twice = frame.index[frame.index.duplicated()]
    if len(twice):
        raise DataError(f"the sample '{twice[0]}' is there twice", where=where, hint=f"ids are the column '{ID}'")
    if frame.empty:
        raise DataError("there is no sample", where=where)
    return SampleTable(frame, dict(units or {}), where)


def _read(path: str) -> tuple[pd.DataFrame, dict[str, str]]:
    """Return the columns of a file without the units in their names, and the units."""
    import pandas as pd

    file = Path(path).expanduser()
    if not file.is_file():
        raise DataError(f"no such file: {path}")
    kind = file.suffix.lower()
    if kind == ".csv":
        frame = pd.read_csv(file, skipinitialspace=True)
    elif kind in (".parquet", ".pq"):
        frame = _read_parquet(file)
    elif kind in (".nc", ".nc4"):
        import xarray as xr

        with xr.open_dataset(file) as store:
            frame = store.to_dataframe().reset_index()
            return frame, {str(n): str(v.attrs["units"]) for n, v in store.variables.items() if "units" in v.attrs}
    else:
        raise DataError(f"a table is CSV, Parquet or NetCDF, not '{kind}'", where=path)
    units = {}
    for column in list(frame):
        if found := _WITH_UNIT.match(str(column)):
            frame = frame.rename(columns={column: found["name"]})
            units[found["name"]] = found["unit"]
    return frame, units


def _read_parquet(file: Path) -> pd.DataFrame:
    import pandas as pd

    try:
        return pd.read_parquet(file)
    except ImportError as error:
        raise DataError(
            "Parquet needs a reader that is not installed", where=str(file), hint="pip install pyarrow"
        ) from error


def _look_up(frame: pd.DataFrame, column: str, path: str) -> tuple[pd.DataFrame, dict[str, str]]:
    known, units = _read(path)
    for table, of in ((frame, "the samples"), (known, path)):
        if column not in table:
            raise DataError(f"{of} have no column '{column}' to look up", where=path)
    known = known.set_index(column)
    missing = _some(set(frame[column].dropna()) - set(known.index))
    if missing:
        raise DataError(f"'{column}' has no {missing}", where=path, hint="add a row for each")
    taken = [name for name in known if name in frame]
    if taken:
        raise DataError(f"samples and lookup have the column '{taken[0]}'", where=path, hint="rename one of them")
    return frame.join(known, on=column), units


def _merge_units(units: dict[str, str], more: Mapping[str, str], path: str) -> None:
    for name, unit in more.items():
        if units.setdefault(name, unit) != unit:
            raise DataError(f"'{name}' is in {units[name]} elsewhere and in {unit} here", where=path)


def _some(names: Iterable[object]) -> str:
    return ", ".join(sorted(str(name) for name in names)[:10])
