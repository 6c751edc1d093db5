"""Units, the gauges at their outlets, and which way the water goes."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from dmg.core.utils.river_network import RiverNetwork, positions
from dmg.errors import DataError

FORM = "{nodes: [unit, …], edges: [[unit, next downstream], …], gage_hf: {gauge: unit}}"


@dataclass(frozen=True)
class GaugeNetwork:
    """A river network over the sites of a data set.

    Parameters
    ----------
    units
        Ids of the units.
    edges
        Pairs (unit, next unit downstream).
    gauges
        Gauge to the unit at whose lower end it stands.
    """

    units: list[str]
    edges: list[tuple[str, str]]
    gauges: dict[str, str]

    @classmethod
    def lumped(cls, sites: Sequence[str]) -> GaugeNetwork:
        """Return the network in which every site is a basin with a gauge of its own."""
        return cls(list(sites), [], {site: site for site in sites})

    @classmethod
    def read(cls, path: str | Path, sites: Sequence[str]) -> GaugeNetwork:
        """Read a network from JSON, in the published form.

        Raises
        ------
        DataError
            If the file has not that form, or names a unit that is not among the sites.
        """
        path = Path(path).expanduser()
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            edges = [(str(above), str(below)) for above, below in content["edges"]]
            gauges = {str(gauge): str(unit) for gauge, unit in content["gage_hf"].items()}
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise DataError(
                f"not a river network: {type(error).__name__}: {error}", where=str(path), hint=f"it is {FORM}"
            ) from error
        if not gauges:
            raise DataError("the river network has no gauge", where=str(path), hint=f"it is {FORM}")
        network = cls(list(sites), edges, gauges)
        _ = network.rivers, network.outlets  # raises for units that are not there
        return network

    @cached_property
    def rivers(self) -> RiverNetwork:
        """The units and where each of them drains to."""
        return RiverNetwork.of_edges(self.edges, self.units)

    @property
    def outlets(self) -> np.ndarray:
        """Position of the unit of every gauge, int64 [G]."""
        return positions(list(self.gauges.values()), self.units)

    def reach(self) -> np.ndarray:
        """Return 1 where a unit drains to a gauge, [G, U]."""
        return self.rivers.draining_to(self.outlets).astype(np.float32)
