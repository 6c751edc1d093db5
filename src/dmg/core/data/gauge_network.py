"""Units, the gauges at their outlets, and which way the water goes."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from dmg.core.data.holdout import mark_holdout
from dmg.core.data.topology import FORM, Topology, read_topology
from dmg.core.utils.river_network import RiverNetwork, positions
from dmg.errors import DataError

logger = logging.getLogger(__name__)


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
        """Read a network over some sites from a file; see `read_topology` for the formats.

        A JSON file speaks of these sites alone. Other files may cover more: a gauge above which a unit is missing among
        the sites is left out, with a warning.

        Raises
        ------
        DataError
            If it cannot be read, a JSON file names a unit that is not among the sites, or no gauge is left.
        """
        path = Path(path).expanduser()
        try:
            found = read_topology(path)
            found = _among(found, sites, path) if path.suffix.lower() != ".json" else found
            network = cls(list(sites), found.edges, found.gauges)
            _ = network.rivers, network.outlets
        except DataError as error:
            raise DataError(error.what, where=error.where or str(path), hint=error.hint) from error
        if not network.gauges:
            raise DataError(
                "the river network has no gauge",
                where=str(path),
                hint=f"it is {FORM}" if path.suffix.lower() == ".json" else "its gauges are at none of the sites",
            )
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

    def of_gauges(self, gauges: Sequence[str]) -> GaugeNetwork:
        """Return the network with some of the gauges only, in this order."""
        return GaugeNetwork(self.units, self.edges, {gauge: self.gauges[gauge] for gauge in gauges})

    def hold_out(self, gauges: int | Sequence[str] | None, seed: int) -> tuple[np.ndarray, list[str]]:
        """Return which gauges are held out, bool [G], and the units that drain to none of the others.

        Parameters
        ----------
        gauges
            Their ids, or how many of them are drawn with the seed; None for none.
        seed
            Of the draw.
        """
        held = mark_holdout(list(self.gauges), gauges, seed) if gauges else np.zeros(len(self.gauges), dtype=bool)
        unseen = np.ones(len(self.units), dtype=bool)
        unseen[self.rivers.upstream_of(self.outlets[~held])] = False
        return held, [self.units[i] for i in np.flatnonzero(unseen)]


def _among(found: Topology, sites: Sequence[str], path: Path) -> Topology:
    """Return the part of a network that the sites are, under their names."""
    known = dict.fromkeys(map(str, sites))  # in their order: what is said of a circle must not depend on hashes

    def name(unit: str) -> str:
        return next((n for n in (unit, *found.aliases.get(unit, ())) if n in known), unit)

    edges = [(name(above), name(below)) for above, below in found.edges]
    gauges = {gauge: name(unit) for gauge, unit in found.gauges.items()}
    ids = list(dict.fromkeys([*known, *(end for edge in edges for end in edge), *gauges.values()]))
    at = {unit: i for i, unit in enumerate(ids)}
    everywhere = RiverNetwork.of_edges(edges, ids)
    missing = everywhere.accumulate([unit not in known for unit in ids])
    whole = {gauge: unit for gauge, unit in gauges.items() if missing[at[unit]] == 0} if gauges else {}
    if gauges and len(whole) < len(gauges):
        logger.warning(
            "%s: %d of %d gauges are left out, above which units are missing among the sites",
            path,
            len(gauges) - len(whole),
            len(gauges),
        )
    return Topology([(above, below) for above, below in edges if above in known and below in known], whole, {})
