"""What a split gives to an experiment."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from dmg.core.data.holdout import COLUMN
from dmg.core.utils.atomic import write_text
from dmg.errors import ConfigError


@dataclass(frozen=True)
class SplitResult:
    """What a split asks of every run.

    A split is a function ``split(data, folder, **options)``, registered with ``dmg.registry.splits``: it gets the
    selected sites (:class:`~dmg.core.data.loaders.site_data.SiteData`) and a folder for its tables.

    Attributes
    ----------
    settings
        Values by dotted key of the runs' configuration.
    events
        Table of events by site, with the columns ``site``, ``start``, ``end``, ``peak``, ``return_period`` and
        ``trained`` (1 where the training has the event's site and period); None without any.
    notes
        What a reader of the results has to know.
    """

    settings: dict[str, Any] = field(default_factory=dict)
    events: Path | None = None
    notes: tuple[str, ...] = ()


def spatial_folds(folder: Path, group_of: Mapping[str, int], extent: Literal["PUB", "PUR"]) -> SplitResult:
    """Write the table of a cross-validation in space and return the settings of its runs, one fold for each group.

    Parameters
    ----------
    folder
        Where ``folds.csv`` goes.
    group_of
        Group of every site, by its id.
    extent
        ``PUB`` or ``PUR``: what the groups are.

    Raises
    ------
    ConfigError
        If there is only one group, so that nothing would be left to train on.
    """
    groups = sorted(set(group_of.values()))
    if len(groups) < 2:
        raise ConfigError(
            f"all {len(group_of)} sites are in one group", where="experiment.splits", hint="ask for two or more"
        )
    path = folder / "folds.csv"
    rows = [f"{site},{group}" for site, group in sorted(group_of.items())]
    write_text(path, "\n".join([f"gage,{COLUMN[extent]}", *rows]) + "\n")
    key = "test.PUB_ids" if extent == "PUB" else "test.huc_regions"
    settings: dict[str, Any] = {
        "test.type": "spatial",
        "test.extent": extent,
        key: groups if extent == "PUB" else [[group] for group in groups],
        "observations.gage_split_file": str(path),
    }
    counts = [sum(g == group for g in group_of.values()) for group in groups]
    what = "groups of sites" if extent == "PUB" else "regions"
    note = f"{extent}: {len(groups)} {what} ({min(counts)} to {max(counts)} sites), each held out once"
    return SplitResult(settings, notes=(note,))


def require_folds(folds: int, sites: Sequence[str]) -> None:
    """Refuse a number of folds that the sites cannot be divided into."""
    if not 2 <= folds <= len(sites):
        raise ConfigError(
            f"{len(sites)} sites cannot be divided into {folds} folds",
            where="experiment.splits",
            hint=f"ask for 2 to {len(sites)}",
        )
