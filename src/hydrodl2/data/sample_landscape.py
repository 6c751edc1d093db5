"""The land of the embedded sample: independent properties of sites, from which attributes and parameters follow."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np


@dataclass(frozen=True)
class Landscape:
    """Properties of sites, each uniform in [0, 1] and independent of the others, [N].

    They are drawn by Latin hypercube, so that few sites cover every property evenly and sites that a training holds
    out are never far from those that it sees.

    Parameters
    ----------
    warmth
        0 for cold and high, 1 for warm and low.
    wetness
        0 for dry, 1 for wet.
    season
        0 for precipitation in winter, 1 for summer.
    storminess
        0 for frequent light rain, 1 for rare heavy rain.
    relief
        0 for flat, 1 for steep.
    sand
        0 for clay, 1 for sand.
    depth
        0 for shallow soil, 1 for deep.
    rock
        0 for tight rock, 1 for permeable.
    karst
        0 for no carbonate rock, 1 for nothing else.
    cover
        0 for bare land, 1 for forest.
    size
        0 for small basins, 1 for large.
    """

    warmth: np.ndarray
    wetness: np.ndarray
    season: np.ndarray
    storminess: np.ndarray
    relief: np.ndarray
    sand: np.ndarray
    depth: np.ndarray
    rock: np.ndarray
    karst: np.ndarray
    cover: np.ndarray
    size: np.ndarray

    @classmethod
    def draw(cls, sites: int, rng: np.random.Generator) -> Landscape:
        """Draw the properties of so many sites."""
        return cls(**{f.name: (rng.permutation(sites) + rng.random(sites)) / sites for f in fields(cls)})

    @property
    def sites(self) -> int:
        """Number of sites."""
        return len(self.warmth)

    @property
    def elevation(self) -> np.ndarray:
        """Mean elevation in m."""
        return 60.0 + 2200.0 * (1.0 - self.warmth) ** 1.4 + 500.0 * self.relief

    @property
    def latitude(self) -> np.ndarray:
        """Latitude in degrees north."""
        return 47.0 - 16.0 * self.warmth + 2.0 * (self.size - 0.5)
