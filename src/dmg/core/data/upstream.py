"""The units that drain to the gauges of a batch, at two time steps."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from dmg.core.data.batch import Batch

HOURS = 24


@dataclass(frozen=True)
class Upstream:
    """What the models see of the units above some gauges: hours, the days before them, and the ways to the gauges.

    Parameters
    ----------
    hourly
        Inputs [Th, U, ·] of the units, their attributes and, where known, areas and elevations.
    daily
        Inputs [Td, U, ·] of the same units; the first ``days`` of them end where the hours begin, more may follow.
    days
        Number of days before the first hour.
    outlet_topo
        1 where a unit (column) drains to a gauge (row), else 0: [G, U].
    paths
        Normalised attributes of the way from a unit to a gauge [P, A], a row for every 1 of ``outlet_topo`` in
        row-major order.
    """

    hourly: Batch
    daily: Batch
    days: int
    outlet_topo: Tensor
    paths: Tensor

    @property
    def sites(self) -> list[str]:
        """Ids of the units."""
        return list(self.hourly.sites)

    def at_gauges(self, values: np.ndarray) -> np.ndarray:
        """Return the means by area, over the units above each gauge, of what is known of units: [U] to [G]."""
        weights = self.outlet_topo.double().cpu().numpy()
        if "areas" in self.hourly:
            weights = weights * self.hourly["areas"].double().cpu().numpy()
        return (weights @ values / weights.sum(axis=1)).astype(np.float32)

    def select_sites(self, columns: slice | Sequence[int] | np.ndarray) -> Upstream:
        """Return the units above some of the gauges (positions); a unit above several is there once."""
        rows = np.arange(len(self.outlet_topo))[columns]
        topo = self.outlet_topo[torch.from_numpy(rows)]
        units = torch.nonzero((topo > 0).any(dim=0))[:, 0].cpu().numpy()
        return Upstream(
            self.hourly.select(sites=units),
            self.daily.select(sites=units),
            self.days,
            topo[:, torch.from_numpy(units)],
            self.paths[torch.from_numpy(self._path_rows(rows)[0])],
        )

    def select_times(self, rows: slice | np.ndarray) -> Upstream:
        """Return some of the hours, with the days before them where they begin at midnight."""
        hours = np.arange(self.hourly.n_times)[rows]
        whole = len(hours) > 0 and hours[0] % HOURS == 0
        daily = self.daily.select(times=slice(int(hours[0]) // HOURS if whole else self.daily.n_times, None))
        return replace(self, hourly=self.hourly.select(times=rows), daily=daily)

    def above(self, gauges: np.ndarray) -> tuple[np.ndarray, np.ndarray, Tensor, Tensor]:
        """Return what a batch of independent gauges (positions, repeats allowed) is made of.

        Returns
        -------
        units
            Positions of the units above the first gauge, then those above the second, …: [U'].
        owner
            Which of the gauges each of them belongs to [U'].
        outlet_topo
            [len(gauges), U'], block by block.
        paths
            [U', A].
        """
        rows, owner = self._path_rows(gauges)
        units = torch.nonzero(self.outlet_topo > 0)[:, 1].cpu().numpy()[rows]
        topo = self.outlet_topo.new_zeros(len(gauges), len(units))
        topo[torch.from_numpy(owner), torch.arange(len(units))] = 1.0
        return units, owner, topo, self.paths[torch.from_numpy(rows)]

    def to(self, device: str | torch.device, non_blocking: bool = False) -> Upstream:
        """Return it with its tensors on a device."""
        return Upstream(
            self.hourly.to(device, non_blocking),
            self.daily.to(device, non_blocking),
            self.days,
            self.outlet_topo.to(device, non_blocking=non_blocking),
            self.paths.to(device, non_blocking=non_blocking),
        )

    def fingerprint(self) -> str:
        """Return a hash of everything: equal data, equal hash."""
        digest = hashlib.sha256(f"{self.hourly.fingerprint()}{self.daily.fingerprint()}{self.days}".encode())
        for tensor in (self.outlet_topo, self.paths):
            digest.update(np.ascontiguousarray(tensor.cpu().numpy()).data)
        return digest.hexdigest()

    def _path_rows(self, gauges: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the rows of the paths to these gauges, gauge after gauge, and whose they are."""
        count = (self.outlet_topo > 0).sum(dim=1).cpu().numpy()
        begin = np.cumsum(count) - count
        owner = np.repeat(np.arange(len(gauges)), count[gauges])
        first = np.cumsum(count[gauges]) - count[gauges]
        return begin[gauges][owner] + np.arange(len(owner)) - first[owner], owner
