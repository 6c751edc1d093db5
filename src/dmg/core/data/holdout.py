"""Which sites are kept out of training; matched by id, never by position."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from dmg.core.data.sites import match_sites
from dmg.core.data.text_files import read_table
from dmg.errors import ConfigError

if TYPE_CHECKING:
    from dmg.conf.config import Config

COLUMN = {"PUB": "PUB_ID", "PUR": "huc"}
"""Column of the groups in a table of gauges, by what a spatial test holds out."""


def mark_held_out(config: Config, sites: Sequence[str], fold: int | None) -> np.ndarray:
    """Return which sites a configuration keeps out of training, bool [N].

    Parameters
    ----------
    config
        Its block ``test`` says which: a fold of a spatial test, or single sites.
    sites
        Ids of the sites in use.
    fold
        Of a spatial test, counted from 0.

    Raises
    ------
    ConfigError
        If there is no such fold, or no table of groups.
    """
    test, table = config.test, config.observations.gage_split_file
    if test.type != "spatial" and fold is None:
        if not test.holdout_sites:
            return np.zeros(len(sites), dtype=bool)
        return mark_holdout(sites, test.holdout_sites, config.seed or 0)
    if test.type != "spatial":
        raise ConfigError("a fold is chosen, but the test is temporal", where="test.type", hint="set it to spatial")
    if fold is None or fold >= len(test.folds):
        raise ConfigError(
            "a spatial test needs the fold that this run holds out"
            if fold is None
            else f"there is no fold {fold}: the test has {len(test.folds)}, counted from 0",
            where="test.holdout_index",
            hint=f"choose one of 0 to {len(test.folds) - 1}; one run is one fold",
        )
    if table is None:
        raise ConfigError(
            "a spatial test needs the table of groups or regions",
            where="observations.gage_split_file",
            hint="give a CSV file with the columns gage and PUB_ID or huc",
        )
    return mark_fold(sites, table, extent=test.extent, group=test.folds[fold])


def mark_holdout(sites: Sequence[str], holdout: int | Sequence[str], seed: int) -> np.ndarray:
    """Return which sites are held out, bool [N]: those named, or as many as asked for, drawn with the seed.

    Raises
    ------
    ConfigError
        If no site would be left to train on.
    DataError
        If a named site is not among the sites.
    """
    where = "test.holdout_sites"
    mask = np.zeros(len(sites), dtype=bool)
    if isinstance(holdout, int):
        if holdout >= len(sites):
            raise ConfigError(
                f"{holdout} sites are to be held out, there are {len(sites)}", where=where, hint="hold out fewer"
            )
        mask[np.random.default_rng(seed).choice(len(sites), holdout, replace=False)] = True
        return mask
    mask[match_sites(list(holdout), list(sites), what="the sites in use", where=where)] = True
    if mask.all():
        raise ConfigError("every site is held out, none is left to train on", where=where)
    return mask


def mark_fold(sites: Sequence[str], table: str | Path, *, extent: str, group: Sequence[int]) -> np.ndarray:
    """Return which sites one fold of a spatial test holds out, bool [N], from a table of gauges and regions.

    Parameters
    ----------
    sites
        Ids of the sites in use.
    table
        CSV with the columns ``gage`` and ``huc`` (PUR) or ``PUB_ID`` (PUB).
    extent
        ``PUB``: hold out the gauges of one group; ``PUR``: those of a region, which is one or several ``huc``.
    group
        The groups, or the hydrologic units of the region.

    Raises
    ------
    DataError
        If a site is not in the table.
    ConfigError
        If the fold holds out no site or every site, or there is no such extent.
    """
    if extent not in COLUMN:
        raise ConfigError(f"unknown extent '{extent}' of a spatial test", where="test.extent", hint="PUB or PUR")
    column = COLUMN[extent]
    content = read_table(table, ["gage", column])
    rows = match_sites(list(sites), content["gage"], what="the table of regions", where=str(table))
    groups = np.array([int(float(content[column][row])) for row in rows])
    mask = np.isin(groups, list(group))
    if not mask.any() or mask.all():
        raise ConfigError(
            f"{column} {', '.join(map(str, group))} holds out {'every' if mask.any() else 'no'} site",
            where=str(table),
            hint=f"the sites have {column} {', '.join(map(str, sorted(set(groups.tolist()))))}",
        )
    return mask
