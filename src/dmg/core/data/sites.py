"""Site ids: read from lists of any kind, matched by name."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from dmg.errors import DataError

_LIMIT = 5


def read_site_list(text: str | Path) -> list[str]:
    """Return the site ids of a file, or of a comma-separated text.

    Parameters
    ----------
    text
        A path (one id a line or comma-separated; JSON list; ``.npy``), or the ids themselves.

    Raises
    ------
    DataError
        If a file is named that does not exist, the list is empty, or ids are repeated.
    """
    path = Path(text).expanduser()
    if path.is_file():
        ids = _read_file(path)
    elif path.suffix in (".txt", ".csv", ".json", ".npy"):
        raise DataError(f"no such list of sites: {path}")
    else:
        ids = _split(str(text))
    if not ids:
        raise DataError("the list of sites is empty", where=str(text))
    return unique_ids(ids, where=str(text))


def unique_ids(ids: Iterable[object], where: str | None = None) -> list[str]:
    """Return ids as text, each checked to occur once."""
    plain = [text_id(i) for i in ids]
    doubled = [i for i, count in Counter(plain).items() if count > 1]
    if doubled:
        raise DataError(f"site ids occur more than once: {_some(doubled)}", where=where)
    return plain


def text_id(value: object) -> str:
    """Return an id as text; whole floats lose their ``.0``."""
    if isinstance(value, bytes):
        value = value.decode()
    if isinstance(value, (float, np.floating)) and float(value).is_integer():
        value = int(value)
    return str(value).strip()


def match_sites(wanted: Sequence[str], available: Sequence[str], *, what: str, where: str | None = None) -> np.ndarray:
    """Return the positions of the wanted ids among the available ones.

    Ids match as text; an id that lost its leading zeros on the way matches where only one id is left without them.

    Raises
    ------
    DataError
        If ids are not there; lists them.
    """
    exact = {site: i for i, site in enumerate(available)}
    bare_count = Counter(site.lstrip("0") for site in available)
    bare = {site.lstrip("0"): i for i, site in enumerate(available)}
    positions, missing = [], []
    for site in wanted:
        stripped = site.lstrip("0")
        position = exact.get(site)
        if position is None and bare_count[stripped] == 1:
            position = bare[stripped]
        if position is None:
            missing.append(site)
        positions.append(position)
    if missing:
        raise DataError(
            f"{len(missing)} of {len(wanted)} sites are not in {what}: {_some(missing)}",
            where=where,
            hint=f"it has {len(available)} sites, such as {_some(list(available), 3)}; choose among them",
        )
    return np.array(positions, dtype=np.int64)


def _read_file(path: Path) -> list[str]:
    if path.suffix == ".npy":
        try:
            return [text_id(v) for v in np.load(path, allow_pickle=False).ravel().tolist()]
        except ValueError as error:
            raise DataError(f"not an array of ids: {error}", where=str(path)) from error
    text = path.read_text(encoding="utf-8-sig").strip()
    if text.startswith("["):
        try:
            return [text_id(v) for v in json.loads(text)]
        except json.JSONDecodeError as error:
            raise DataError(f"not a JSON list: {error}", where=str(path)) from error
    return _split(text)


def _split(text: str) -> list[str]:
    lines = (line.split("#")[0] for line in text.splitlines())
    return [part for line in lines for part in line.replace(",", " ").split()]


def _some(names: Sequence[str], limit: int = _LIMIT) -> str:
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return ", ".join(names[:limit]) + more
