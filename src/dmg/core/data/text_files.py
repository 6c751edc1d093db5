"""Small text files: JSON as published runs write it, lists of site ids, tables."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np

from dmg.core.data.sites import read_site_list
from dmg.errors import DataError


def load_json(path: str | Path) -> Any:
    """Return the content of a JSON file; a published file that is JSON inside a JSON string is decoded twice.

    Raises
    ------
    DataError
        If there is no such file, or it is not JSON.
    """
    try:
        content = json.loads(_read(path))
        return json.loads(content) if isinstance(content, str) else content
    except json.JSONDecodeError as error:
        raise DataError(f"not JSON: {error}", where=str(path)) from error


def txt_to_array(path: str | Path) -> np.ndarray:
    """Return the site ids of a text file as an array: of integers where all of them are numbers, else of text.

    Raises
    ------
    DataError
        If there is no such file, or it names no site, or one twice.
    """
    if not Path(path).expanduser().is_file():
        raise DataError(f"no such file: {path}")
    ids = read_site_list(path)
    return np.array([int(site) for site in ids] if all(site.isdigit() for site in ids) else ids)


def read_table(path: str | Path, columns: list[str]) -> dict[str, list[str]]:
    """Return columns of a CSV table as text.

    Raises
    ------
    DataError
        If there is no such file, or a column is missing; names those that are there.
    """
    reader = csv.DictReader(_read(path).splitlines(), skipinitialspace=True)
    rows, known = list(reader), list(reader.fieldnames or [])
    missing = [name for name in columns if name not in known]
    if missing:
        raise DataError(
            f"the table has no column {', '.join(missing)}", where=str(path), hint=f"it has {', '.join(known)}"
        )
    return {name: [(row[name] or "").strip() for row in rows] for name in columns}


def _read(path: str | Path) -> str:
    try:
        return Path(path).expanduser().read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"cannot read the file: {error}", where=str(path)) from error
