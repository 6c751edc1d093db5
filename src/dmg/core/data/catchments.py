"""The units that drain to the gauges of a batch, and the river between them."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from dmg.core.data.batch import Batch
from dmg.core.utils.river_network import RiverNetwork


@dataclass(frozen=True)
class Catchments:
    """What the models see of the units above some gauges; a unit above several gauges is there once.

    Parameters
    ----------
    units
        Inputs [T, U, ·] of the units, their attributes and areas (``areas``, km²).
    rivers
        The units and where each drains to.
    outlets
        Position of the unit at whose lower end each gauge stands, int64 [G].
    """

    units: Batch
    rivers: RiverNetwork
    outlets: np.ndarray

    @property
    def sites(self) -> list[str]:
        """Ids of the units."""
        return list(self.units.sites)

    def inputs(self) -> Batch:
        """Return the inputs of the units with ``downstream`` [U] (-1 at an outlet) and ``outlets`` [G]."""
        river = {"downstream": self.rivers.downstream, "outlets": self.outlets}
        tensors = {key: torch.from_numpy(values).to(self.units["areas"].device) for key, values in river.items()}
        units = self.units
        return Batch(
            {**units.stored(), **tensors}, sites=units.sites, times=units.times, names=units.names, units=units.units
        )

    def at_gauges(self, values: np.ndarray) -> np.ndarray:
        """Return the means by area, over the units above each gauge, of what is known of units: [U] to [G]."""
        areas = self.units["areas"].double().cpu().numpy()
        total = self.rivers.accumulate(areas * values) / self.rivers.accumulate(areas)
        return total[self.outlets].astype(np.float32)

    def select_sites(self, columns: slice | Sequence[int] | np.ndarray) -> Catchments:
        """Return the catchments of some of the gauges, by position: the sub-network above them."""
        outlets = self.outlets[columns]
        inside = self.rivers.upstream_of(outlets)
        return Catchments(
            self.units.select(sites=inside), self.rivers.subnetwork(inside), np.searchsorted(inside, outlets)
        )

    def select_times(self, rows: slice | np.ndarray) -> Catchments:
        """Return some of the time steps."""
        return replace(self, units=self.units.select(times=rows))

    def fitting(self, gauges: np.ndarray, most_units: int) -> np.ndarray:
        """Return the first gauges whose sub-network has no more units than may be, at least one of them."""
        inside = np.zeros(len(self.rivers), dtype=bool)
        for count, gauge in enumerate(gauges):
            inside[self.rivers.upstream_of(self.outlets[[gauge]])] = True
            if inside.sum() > most_units and count:
                return gauges[:count]
        return gauges

    def to(self, device: str | torch.device, non_blocking: bool = False) -> Catchments:
        """Return it with its tensors on a device."""
        return replace(self, units=self.units.to(device, non_blocking))

    def fingerprint(self) -> str:
        """Return a hash of everything: equal data, equal hash."""
        digest = hashlib.sha256(self.units.fingerprint().encode())
        digest.update(self.rivers.downstream.tobytes())
        digest.update(np.asarray(self.outlets, dtype=np.int64).tobytes())
        return digest.hexdigest()
