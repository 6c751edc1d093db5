"""A synthetic river network with the geometry of unit catchments: lengths, areas, slopes, places."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dmg.core.utils.river_network import RiverNetwork
from hydrodl2.data.tokunaga import grow_forest

#: Medians of MERIT Basins: length of a reach [km] and area that drains straight into it [km2].
LENGTH, AREA = 7.0, 37.0
#: Slope of a reach with that area and the concavity with which it falls downstream: Flint (1974),
#: https://doi.org/10.1029/WR010i005p00969.
SLOPE, CONCAVITY = 0.02, 0.45
#: Extent of the land [km], west to east and south to north.
EXTENT = (4500.0, 2700.0)
# Median of a gamma distribution of shape 2 and scale 1, to which the lengths between confluences are close.
_GAMMA_MEDIAN = 1.6783
# Standard deviation of the turn from a reach to the next, radians: rivers hold their course over some 250 km.
_TURN = 0.25
_SINUOSITY = 1.3


@dataclass(frozen=True)
class Rivers:
    """Reaches and the unit catchments around them, [N] each.

    Parameters
    ----------
    network
        Which reach drains into which.
    length
        Length of the reaches [km].
    area, upstream_area
        Of the unit catchment, and of all that drains through it [km2].
    slope
        Of the bed [-].
    east, north
        Place of the upper end [km], within `EXTENT` for the most part.
    """

    network: RiverNetwork
    length: NDArray[np.float64]
    area: NDArray[np.float64]
    upstream_area: NDArray[np.float64]
    slope: NDArray[np.float64]
    east: NDArray[np.float64]
    north: NDArray[np.float64]

    @classmethod
    def grow(cls, reaches: int, seed: int = 0) -> Rivers:
        """Return a network of so many reaches; the same seed gives the same network.

        Parameters
        ----------
        reaches
            Number of reaches.
        seed
            Seed of everything that is drawn.
        """
        streams = [np.random.default_rng(s) for s in np.random.SeedSequence(seed).spawn(4)]
        network = RiverNetwork(grow_forest(reaches, streams[0]))
        length = streams[1].gamma(2.0, LENGTH / _GAMMA_MEDIAN, reaches)
        area = AREA * length / LENGTH * np.exp(0.4 * streams[1].standard_normal(reaches))
        upstream_area = network.accumulate(area)
        scatter = np.exp(0.5 * streams[2].standard_normal(reaches))
        slope = np.clip(SLOPE * (upstream_area / AREA) ** -CONCAVITY * scatter, 1e-5, 0.3)
        east, north = _places(network, length, streams[3])
        return cls(network, length, area, upstream_area, slope, east, north)


def _places(
    network: RiverNetwork, length: NDArray[np.float64], rng: np.random.Generator
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return where reaches begin: rivers wander from mouths on the coast into the land."""
    outlets = network.outlets
    middle = np.array(EXTENT) / 2.0
    mouth = middle + middle * _on_border(rng.uniform(0.0, 4.0, len(outlets)))
    inland = np.arctan2(*(middle - mouth)[:, ::-1].T)
    turn = _TURN * rng.standard_normal(len(network))
    turn[outlets] = inland
    heading = network.to_outlet(turn)
    steps = length / _SINUOSITY * np.stack([np.cos(heading), np.sin(heading)])
    steps[:, outlets] += mouth.T
    return network.to_outlet(steps[0]), network.to_outlet(steps[1])


def _on_border(way: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return points on the border of the square [-1, 1]², a side for each unit of the way."""
    side, along = np.floor(way), 2.0 * (way % 1.0) - 1.0
    ones = np.ones_like(along)
    x = np.select([side == 0, side == 1, side == 2], [along, ones, -along], -ones)
    y = np.select([side == 0, side == 1, side == 2], [-ones, along, ones], -along)
    return np.stack([x, y], axis=1)
