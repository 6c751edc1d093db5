"""Static attributes from text or parquet tables: any number of files, joined by site id, matched by name."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from dmg.core.data.gaps import encode_categories, mask_sentinels
from dmg.core.data.quantity import unit_text
from dmg.core.data.sites import match_sites, unique_ids
from dmg.core.data.vocabulary import UNKNOWN, category_numbers, known_unit, preferred_name
from dmg.errors import DataError

if TYPE_CHECKING:
    import pandas as pd

SEPARATORS = (";", "\t", ",")
MISSING_TEXT = ["", "NA", "N/A", "NaN", "nan", "null", "None"]
_SUFFIXES = (".txt", ".csv", ".tsv", ".parquet")
_MOST_CATEGORIES = 50


class Attribute(NamedTuple):
    """One static attribute: values float32 ``[N]`` and the attributes of its variable."""

    values: np.ndarray
    attrs: dict[str, object]


def read_attributes(
    paths: Sequence[str | Path],
    sites: Sequence[str],
    *,
    id_column: str | None = None,
    extra_missing: Sequence[float] = (),
) -> tuple[dict[str, Attribute], list[str]]:
    """Read the attributes of the sites.

    Parameters
    ----------
    paths
        Files, or folders of files (``.txt``, ``.csv``, ``.tsv``, ``.parquet``), separated by ``;``, tab or comma.
        The id column is `id_column`, or the first.
    sites
        Ids in the order wanted.

    Returns
    -------
    attributes
        By name (as the vocabularies spell it). Text columns are numbered (CF ``flag_values``, ``flag_meanings``).
    notes
        What was left out and why, for the user.

    Raises
    ------
    DataError
        If a site is missing or repeated in a table, or two tables disagree about one attribute.
    """
    found: dict[str, Attribute] = {}
    notes: list[str] = []
    files = [file for path in paths for file in _files(Path(path).expanduser())]
    for file in files:
        frame = read_table(file)
        if frame is None or frame.shape[1] < 2:
            notes.append(f"{file.name}: not a table, left out")
            continue
        column = _id_column(frame, id_column, file)
        ids = unique_ids(frame[column], where=str(file))
        rows = match_sites(sites, ids, what="the attribute table", where=str(file))
        for title in frame.columns.drop(column):
            name, unit = split_title(str(title))
            # Categories are numbered over the whole table, so that a choice of sites does not change the numbers.
            attribute = _attribute(name, unit, frame[title], extra_missing)
            if attribute is None:
                notes.append(f"{file.name}: '{name}' is free text, left out")
                continue
            attribute = attribute._replace(values=attribute.values[rows])
            if name in found and not np.allclose(found[name].values, attribute.values, rtol=1e-3, equal_nan=True):
                raise DataError(f"two tables disagree about '{name}'", where=str(file))
            found.setdefault(name, attribute)
    if not found:
        raise DataError(f"no attributes found in {', '.join(map(str, paths))}")
    silent = [name for name, a in found.items() if a.attrs["units"] == UNKNOWN]
    if silent:
        notes.append(f"unit unknown (give it with --unit NAME=UNIT): {', '.join(silent)}")
    return found, notes


def read_table(path: Path) -> pd.DataFrame | None:
    """Read a table with every cell as text (parquet: as it is); None if the first line has no separator."""
    import pandas as pd

    if not path.exists():
        raise DataError(f"no such file: {path}")
    if path.suffix == ".parquet":
        try:
            return pd.read_parquet(path)
        except ImportError as error:
            raise DataError(
                "reading parquet needs the package pyarrow", where=str(path), hint="`pip install pyarrow`"
            ) from error
    with path.open(encoding="utf-8-sig", errors="replace") as stream:
        head = stream.readline()
    separator = max(SEPARATORS, key=head.count)
    if head.count(separator) == 0:
        return None
    try:
        frame = pd.read_csv(
            path, sep=separator, dtype=str, keep_default_na=False, skipinitialspace=True, encoding_errors="replace"
        )
    except pd.errors.ParserError as error:
        raise DataError(f"cannot read the table: {error}", where=str(path)) from error
    return frame.rename(columns=lambda name: str(name).strip())


def numbers(column: pd.Series, extra_missing: Sequence[float] = ()) -> np.ndarray | None:
    """Return a column as float64 with NaN for missing, or None if it holds text."""
    import pandas as pd

    plain = column.map(lambda cell: cell.strip() if isinstance(cell, str) else cell).replace(MISSING_TEXT, np.nan)
    values = pd.to_numeric(plain, errors="coerce")
    if (values.isna() & plain.notna()).any():
        return None
    return mask_sentinels(values.to_numpy(dtype=np.float64), extra_missing)


def _attribute(name: str, unit: str | None, column: pd.Series, extra: Sequence[float]) -> Attribute | None:
    values = numbers(column, extra)
    if values is not None:
        return Attribute(values.astype(np.float32), {"units": unit or known_unit(name) or UNKNOWN})
    table = category_numbers(name)
    labels = [str(cell).strip() for cell in column]
    if table is not None and "" in table:
        labels = ["no class" if label in MISSING_TEXT else label for label in labels]
        table = {label or "no class": number for label, number in table.items()}
    elif table is None and len(set(labels)) > _MOST_CATEGORIES:
        return None
    codes, used = encode_categories(labels, table, name=name)
    meanings = " ".join(label.replace(" ", "_") for label in used)
    flags = np.array(list(used.values()), dtype=np.float32)
    return Attribute(codes, {"units": "1", "flag_values": flags, "flag_meanings": meanings})


def _files(path: Path) -> list[Path]:
    if path.is_dir():
        files = sorted(f for f in path.iterdir() if f.suffix.lower() in _SUFFIXES)
        if not files:
            raise DataError(f"no attribute tables ({', '.join(_SUFFIXES)}) in {path}")
        return files
    if not path.exists():
        raise DataError(f"no such attribute table or folder: {path}")
    return [path]


def _id_column(frame: pd.DataFrame, wanted: str | None, path: Path) -> str:
    if wanted is None:
        return str(frame.columns[0])
    if wanted not in frame.columns:
        raise DataError(
            f"the table has no id column '{wanted}'",
            where=str(path),
            hint=f"columns: {', '.join(frame.columns[:12])}",
        )
    return wanted


def split_title(title: str) -> tuple[str, str | None]:
    """Split ``area [km2]`` or ``prcp(mm/day)`` into name and unit; text in brackets that is no unit stays unread."""
    match = re.fullmatch(r"\s*(.+?)\s*[\[(]([^\])]*)[\])]\s*", title)
    if match:
        try:
            return preferred_name(match[1]), unit_text(match[2])
        except DataError:
            return preferred_name(match[1]), None
    return preferred_name(title.strip()), None
