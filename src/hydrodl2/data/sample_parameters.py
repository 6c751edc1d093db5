"""The hidden parameters of the embedded sample: what HBV needs, as a function of the land.

Each parameter follows one property of the land, with a second one beside it, through a smooth monotone curve, and a
scatter of two hundredths of its range that no attribute explains:

========== ======================= =========================================================================
parameter  range                   follows
========== ======================= =========================================================================
parBETA    1.0 … 6.0               clay, steeper ground
parFC      70 … 900 mm             soil depth, some plant cover
parK0      0.15 … 0.85 1/d         relief, some sand
parK1      0.02 … 0.48 1/d         relief, less in large basins
parK2      0.003 … 0.16 1/d        carbonate rock
parLP      0.25 … 0.98             plant cover
parPERC    0.1 … 2.5 mm/d          permeability of the rock, some sand
parUZL     5 … 85 mm               sand, flatter ground
parTT      −1.8 … 1.8 °C           dry climate (Jennings et al., 2018, doi:10.1038/s41467-018-03629-7)
parCFMAX   1.2 … 8 mm/°C/d         open land, height
parCFR     0.01 … 0.09             cold
parCWH     0.02 … 0.18             relief
parBETAET  0.5 … 3.5               open land, shallow soil
route_a    0.2 … 1.4               size of the basin
route_b    0.2 … 1.6 d             size of the basin, flatter ground
========== ======================= =========================================================================
"""

from __future__ import annotations

import numpy as np

from hydrodl2.data.sample_landscape import Landscape

SCATTER = 0.02
"""Standard deviation, in parts of the range, of what the land does not explain."""

_RANGES = {
    "parBETA": (1.0, 6.0),
    "parFC": (70.0, 900.0),
    "parK0": (0.15, 0.85),
    "parK1": (0.02, 0.48),
    "parK2": (0.003, 0.16),
    "parLP": (0.25, 0.98),
    "parPERC": (0.1, 2.5),
    "parUZL": (5.0, 85.0),
    "parTT": (-1.8, 1.8),
    "parCFMAX": (1.2, 8.0),
    "parCFR": (0.01, 0.09),
    "parCWH": (0.02, 0.18),
    "parBETAET": (0.5, 3.5),
    "route_a": (0.2, 1.4),
    "route_b": (0.2, 1.6),
}


def draw_parameters(land: Landscape, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Return the true parameters of all sites in their units, name to [N], constant in time."""
    position = {
        "parBETA": 0.85 * (1.0 - land.sand) + 0.15 * land.relief,
        "parFC": _curve(0.9 * land.depth + 0.1 * land.cover, 1.3),
        "parK0": 0.75 * land.relief + 0.25 * land.sand,
        "parK1": _curve(0.85 * land.relief + 0.15 * (1.0 - land.size), 1.3),
        "parK2": _curve(land.karst, 1.5),
        "parLP": _curve(land.cover, 0.9),
        "parPERC": _curve(0.85 * land.rock + 0.15 * land.sand, 1.4),
        "parUZL": 0.8 * land.sand + 0.2 * (1.0 - land.relief),
        "parTT": 1.0 - land.wetness,
        "parCFMAX": 0.8 * (1.0 - land.cover) + 0.2 * (1.0 - land.warmth),
        "parCFR": 1.0 - land.warmth,
        "parCWH": land.relief,
        "parBETAET": 0.6 * (1.0 - land.cover) + 0.4 * (1.0 - land.depth),
        "route_a": land.size,
        "route_b": 0.8 * land.size + 0.2 * (1.0 - land.relief),
    }
    parameters = {}
    for name, where in position.items():
        low, high = _RANGES[name]
        scattered = np.clip(where + SCATTER * rng.standard_normal(land.sites), 0.0, 1.0)
        parameters[name] = low + (high - low) * scattered
    return parameters


def _curve(x: np.ndarray, bend: float) -> np.ndarray:
    return x**bend
