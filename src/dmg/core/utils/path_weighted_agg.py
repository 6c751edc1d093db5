"""Attributes of the paths that water takes from units to outlets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from dmg.core.utils.river_network import RiverNetwork, positions

SUMMED = ("lengthkm", "catchsize")
"""Attributes that add up along a path, as published; all others are averaged."""


class PathWeightedAgg:
    """Attributes along the path from a unit down to an outlet, both included: their area-weighted mean, or their sum.

    There is a path for every entry 1 of the `reachability_matrix`, in row-major order: outlet by outlet, and unit by
    unit within it. That is the order of the published routing parameters.

    Parameters
    ----------
    edges, units, outlets
        The river network, as `reachability_matrix` takes it.
    weights
        Area of each unit [U].
    summed
        Attributes that are added up.

    Attributes
    ----------
    outlet, unit
        The two ends of each path, positions [P] among outlets and units.
    """

    def __init__(
        self,
        edges: Sequence[tuple[str, str]],
        units: Sequence[str],
        outlets: Sequence[str] | None = None,
        weights: np.ndarray | Sequence[float] | None = None,
        summed: Sequence[str] = SUMMED,
    ) -> None:
        self._network = RiverNetwork.of_edges(edges, units)
        ends = positions(units if outlets is None else outlets, units)
        self.outlet, self.unit = np.nonzero(self._network.draining_to(ends))
        self._below = self._network.downstream[ends[self.outlet]]
        self._weights = np.ones(len(units)) if weights is None else np.asarray(weights, dtype=np.float64)
        self._area = self._along(self._weights)
        self._summed = frozenset(summed)

    def __call__(self, attributes: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Return every attribute [U] along the paths, float64 [P]."""
        found = {}
        for name, values in attributes.items():
            values = np.asarray(values, dtype=np.float64)
            added = name in self._summed
            found[name] = self._along(values) if added else self._along(values * self._weights) / self._area
        return found

    def _along(self, values: np.ndarray) -> np.ndarray:
        # One sum per unit, down to the sea; a path's is that of its unit less that of what lies below its outlet.
        to_sea = self._network.to_outlet(values)
        return to_sea[self.unit] - np.where(self._below >= 0, to_sea[self._below], 0.0)
