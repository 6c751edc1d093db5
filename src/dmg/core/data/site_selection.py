"""Which sites take part, in which order, and which of them are kept out of training; matched by id, never by position."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from dmg.core.data.text_files import read_table
from dmg.errors import ConfigError, DataError, did_you_mean


def site_key(site: object) -> str:
    """Return what two spellings of one id have in common: ``01013500`` and ``1013500`` are the same gauge."""
    text = str(site).strip()
    return text.lstrip("0") or "0" if text.isdigit() else text


def match_sites(wanted: Sequence[object], known: Sequence[str], where: str | None = None) -> list[str]:
    """Return the wanted sites as the data spell them, in the order in which they are wanted.

    Raises
    ------
    DataError
        If the data lack some; lists them.
    """
    by_key = {site_key(site): site for site in known}
    unknown = [str(site) for site in wanted if site_key(site) not in by_key]
    if unknown:
        more = f" and {len(unknown) - 20} more" if len(unknown) > 20 else ""
        raise DataError(
            f"{len(unknown)} of {len(wanted)} sites are not in the data: {', '.join(unknown[:20])}{more}",
            where=where,
            hint=did_you_mean(unknown[0], known) if len(known) <= 2000 else None,
        )
    return [by_key[site_key(site)] for site in wanted]


def mark_holdout(sites: Sequence[str], holdout: int | Sequence[str], seed: int) -> np.ndarray:
    """Return which sites are held out, bool [N]: those named, or as many as asked for, drawn with the seed.

    Raises
    ------
    ConfigError
        If no site would be left to train on.
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
    position = {site: i for i, site in enumerate(sites)}
    mask[[position[site] for site in match_sites(holdout, sites, where)]] = True
    if mask.all():
        raise ConfigError("every site is held out, none is left to train on", where=where)
    return mask


def mark_fold(
    sites: Sequence[str],
    table: str | Path,
    *,
    extent: str,
    group: int | Sequence[int],
) -> np.ndarray:
    """Return which sites a spatial test holds out, bool [N], from a table of gauges and regions.

    Parameters
    ----------
    sites
        Ids of the sites in use.
    table
        CSV with the columns ``gage`` and ``huc`` (PUR) or ``PUB_ID`` (PUB).
    extent
        ``PUB``: hold out the gauges of one group; ``PUR``: those of a region, which is one or several ``huc``.
    group
        The group, or the hydrologic units of the region.

    Raises
    ------
    DataError
        If a site is not in the table.
    ConfigError
        If the fold holds out no site or every site, or the extent is another.
    """
    column = {"PUB": "PUB_ID", "PUR": "huc"}.get(extent)
    if column is None:
        raise ConfigError(f"unknown extent '{extent}' of a spatial test", where="test.extent", hint="PUB or PUR")
    content = read_table(table, ["gage", column])
    groups = dict(zip(map(site_key, content["gage"]), content[column], strict=True))
    missing = [site for site in sites if site_key(site) not in groups]
    if missing:
        raise DataError(
            f"{len(missing)} sites are not in the table of regions: {', '.join(missing[:20])}", where=str(table)
        )
    held = {int(group)} if isinstance(group, int) else {int(g) for g in group}
    mask = np.array([int(float(groups[site_key(site)])) in held for site in sites])
    if not mask.any() or mask.all():
        raise ConfigError(
            f"{column} {sorted(held)} holds out {'every' if mask.any() else 'no'} site",
            where=str(table),
            hint=f"{column} of these sites: {sorted({int(float(groups[site_key(s)])) for s in sites})}",
        )
    return mask
