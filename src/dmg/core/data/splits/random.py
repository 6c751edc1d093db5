"""Groups of sites drawn with a seed: prediction in ungauged basins."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from dmg.core.data.splits.base import SplitResult, require_folds, spatial_folds
from dmg.registry import splits

if TYPE_CHECKING:
    from dmg.core.data.loaders.site_data import SiteData


def draw_groups(sites: Sequence[str], folds: int, seed: int) -> dict[str, int]:
    """Return the group of every site: equal sizes (within one), the same whatever the order of the sites."""
    require_folds(folds, sites)
    order = np.random.default_rng(seed).permutation(len(sites))
    return {site: int(order[i] % folds) for i, site in enumerate(sorted(sites))}


@splits.register("random")
def random_groups(data: SiteData, folder: Path, *, folds: int = 10, seed: int = 0) -> SplitResult:
    """Hold out one of `folds` groups of sites after the other, drawn with the seed from the ids of the sites."""
    return spatial_folds(folder, draw_groups(data.sites, folds, seed), "PUB")
