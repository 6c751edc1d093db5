"""Which observations count: a variable of the store, or a table of the periods of each site."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from dmg.core.data.text_files import read_table
from dmg.core.data.time_window import as_span
from dmg.errors import DataError

if TYPE_CHECKING:
    from dmg.core.data.loaders.site_data import SiteData

COLUMNS = ["site", "start", "end"]


def read_mask(source: str, data: SiteData, window: slice, columns: np.ndarray, where: str) -> np.ndarray:
    """Return which observations count, bool [T, B].

    Parameters
    ----------
    source
        Path of a CSV with the columns ``site``, ``start`` and ``end`` (both days belong to the period; a site may have
        any number of rows, one without any counts never), or the name of a variable (time, site) of the store, which is
        not 0 where an observation counts.
    data
        The selected sites.
    window, columns
        Steps and sites wanted.
    where
        Key of the configuration, for messages.

    Raises
    ------
    DataError
        If there is neither such a file nor such a variable, a date is none, or the table has none of the sites.
    """
    if source in data:
        return np.nan_to_num(data.series(source, window, columns)) != 0
    if not Path(source).expanduser().is_file():
        raise DataError(
            f"'{source}' is neither a file nor a variable of {data.where}",
            where=where,
            hint=f"give a CSV with the columns {', '.join(COLUMNS)}, or a variable over (time, site)",
        )
    return table_mask(source, [data.sites[i] for i in columns], data.times[window])


def table_mask(path: str | Path, sites: list[str], times: np.ndarray) -> np.ndarray:
    """Return which steps of which sites lie in a period of a table, bool [T, B]."""
    table = read_table(path, COLUMNS)
    # As everywhere, an id that lost its leading zeros on the way is still the same site.
    position = {site.lstrip("0"): i for i, site in enumerate(sites)} | {site: i for i, site in enumerate(sites)}
    rows = [position.get(site, position.get(site.lstrip("0"))) for site in table["site"]]
    if all(row is None for row in rows):
        some = ", ".join(table["site"][:3]) or "none at all"
        raise DataError(f"the table has none of the {len(sites)} sites in use; it has {some}", where=str(path))
    mask = np.zeros((len(times), len(sites)), dtype=bool)
    for line, (column, start, end) in enumerate(zip(rows, table["start"], table["end"], strict=True), start=2):
        if column is None:
            continue
        try:
            first, after = as_span(start, end)
        except ValueError as error:
            raise DataError(f"'{start}' to '{end}' is no period: {error}", where=f"{path}, line {line}") from error
        begin, stop = np.searchsorted(times, [first, after])
        mask[begin:stop, column] = True
    return mask
