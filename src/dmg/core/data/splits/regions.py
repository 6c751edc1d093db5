"""Contiguous regions: prediction in ungauged regions."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from dmg.core.data.splits.base import SplitResult, require_folds, spatial_folds
from dmg.errors import DataError
from dmg.registry import splits

if TYPE_CHECKING:
    from dmg.core.data.loaders.site_data import SiteData

LATITUDE, LONGITUDE = "gauge_lat", "gauge_lon"
_ROUNDS = 100


@splits.register("regions")
def regions(
    data: SiteData,
    folder: Path,
    *,
    folds: int = 7,
    seed: int = 0,
    latitude: str = LATITUDE,
    longitude: str = LONGITUDE,
) -> SplitResult:
    """Hold out one of `folds` regions after the other: clusters of the places of the sites, found from the seed."""
    places = [data.attribute(name, np.ones(len(data.sites), dtype=bool)) for name in (latitude, longitude)]
    return spatial_folds(folder, cluster(data.sites, places[0], places[1], folds, seed), "PUR")


def cluster(
    sites: Sequence[str], latitude: NDArray[np.floating], longitude: NDArray[np.floating], folds: int, seed: int
) -> dict[str, int]:
    """Return the region of every site, k-means of the places on the globe with far-apart starts (k-means++).

    Regions are numbered from west to east; the order of the sites does not matter.

    Raises
    ------
    DataError
        If the places are too few to tell so many regions apart.
    """
    require_folds(folds, sites)
    order = np.argsort(sites)
    phi, lam = (np.deg2rad(np.asarray(values, dtype=np.float64)[order]) for values in (latitude, longitude))
    points = np.stack([np.cos(phi) * np.cos(lam), np.cos(phi) * np.sin(lam), np.sin(phi)], axis=1)
    if len(np.unique(points, axis=0)) < folds:
        raise DataError(f"there are fewer than {folds} places", where="experiment.splits", hint="ask for fewer regions")
    generator = np.random.default_rng(seed)
    centres = points[[generator.integers(len(points))]]
    while len(centres) < folds:
        distance = _distances(points, centres).min(axis=1)
        centres = np.concatenate([centres, points[[generator.choice(len(points), p=distance / distance.sum())]]])
    nearest = _distances(points, centres).argmin(axis=1)
    for _ in range(_ROUNDS):
        # A region that lost its last site keeps its centre.
        centres = np.stack(
            [points[nearest == k].mean(axis=0) if (nearest == k).any() else centres[k] for k in range(folds)]
        )
        before, nearest = nearest, _distances(points, centres).argmin(axis=1)
        if np.array_equal(before, nearest):
            break
    kept = np.unique(nearest)
    west_to_east = kept[np.argsort([lam[nearest == k].mean() for k in kept])]
    number = {int(k): i for i, k in enumerate(west_to_east)}
    return {sites[i]: number[int(k)] for i, k in zip(order, nearest, strict=True)}


def _distances(points: NDArray[np.float64], centres: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return squared distances [N, k]."""
    return ((points[:, None] - centres[None]) ** 2).sum(axis=-1)
