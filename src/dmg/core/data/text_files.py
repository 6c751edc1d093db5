"""Small text files: JSON as published runs write it, and lists of site ids."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path
from typing import Any

import numpy as np

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


def read_site_ids(path: str | Path) -> list[str]:
    """Return the site ids of a file, in its order.

    Reads a JSON list, a Python or NumPy list in text, one id per line, a comma-separated line, a CSV table with a
    column ``gage``, ``gauge_id`` or ``site``, and a NumPy array file (``.npy``).

    Raises
    ------
    DataError
        If there is no such file, or no id in it, or an id occurs twice.
    """
    path = Path(path).expanduser()
    if path.suffix == ".npy":
        ids = [str(site) for site in _read_array(path).ravel().tolist()]
    elif path.suffix == ".json":
        content = load_json(path)
        if not isinstance(content, list):
            raise DataError("the file holds no list of site ids", where=str(path))
        ids = [str(site) for site in content]
    else:
        ids = _ids_of_text(_read(path))
    if not ids:
        raise DataError("the file names no site", where=str(path))
    twice = sorted({site for site in ids if ids.count(site) > 1}) if len(set(ids)) < len(ids) else []
    if twice:
        raise DataError(f"sites are listed more than once: {', '.join(twice[:10])}", where=str(path))
    return ids


def txt_to_array(path: str | Path) -> np.ndarray:
    """Return the site ids of a text file as an array: of integers where all of them are numbers, else of text."""
    ids = read_site_ids(path)
    return np.array([int(site) for site in ids] if all(site.isdigit() for site in ids) else ids)


def read_table(path: str | Path, columns: list[str]) -> dict[str, list[str]]:
    """Return columns of a CSV table as text.

    Raises
    ------
    DataError
        If a column is missing; names those that are there.
    """
    rows = list(csv.DictReader(_read(path).splitlines(), skipinitialspace=True))
    known = [] if not rows else [str(name) for name in rows[0]]
    missing = [name for name in columns if name not in known]
    if missing:
        raise DataError(f"the table has no column {', '.join(missing)}", where=str(path), hint=f"it has {known}")
    return {name: [row[name].strip() for row in rows] for name in columns}


def _ids_of_text(text: str) -> list[str]:
    lines = [line.split("#")[0].strip() for line in text.splitlines()]
    lines = [line for line in lines if line]
    header = re.split(r"[,;\t]", lines[0]) if lines else []
    for name in ("gage", "gauge", "gauge_id", "gage_id", "site", "site_id"):
        if name in header:
            at = header.index(name)
            return [re.split(r"[,;\t]", line)[at].strip() for line in lines[1:]]
    return [word.strip("'\"") for word in re.split(r"[\s,;\[\]()]+", " ".join(lines)) if word.strip("'\"")]


def _read(path: str | Path) -> str:
    try:
        return Path(path).expanduser().read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"cannot read the file: {error}", where=str(path)) from error


def _read_array(path: Path) -> np.ndarray:
    try:
        return np.load(path, allow_pickle=False)
    except (OSError, ValueError) as error:
        raise DataError(f"cannot read the array file: {error}", where=str(path)) from error
