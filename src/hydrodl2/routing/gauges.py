"""Gauges, and the unit catchments that drain to them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from dmg.errors import StepError


@dataclass(frozen=True)
class Gauges:
    """Which units drain to which gauge.

    Parameters
    ----------
    topology
        1 where a unit (column) drains to a gauge (row), else 0: [G, U].
    areas
        Area of each unit, or its share of the gauge's area: [U].
    """

    topology: Tensor
    areas: Tensor

    @classmethod
    def read(cls, x_dict: Mapping[str, Any], sites: int, *, by_unit: bool = False) -> Gauges | None:
        """Return the gauges of ``outlet_topo`` and ``areas``; None if there are none.

        Parameters
        ----------
        x_dict
            The inputs of a model.
        sites
            Number of units.
        by_unit
            Whether ``outlet_topo`` has a row for each unit instead of each gauge.

        Raises
        ------
        StepError
            If their shapes do not fit the units.
        """
        topology, areas = x_dict.get("outlet_topo"), x_dict.get("areas")
        if topology is None or areas is None:
            return None
        topology = topology.T if by_unit else topology
        areas = areas.reshape(-1)
        if topology.ndim != 2 or topology.shape[1] != sites or areas.shape[0] != sites:
            wanted = "[unit, gauge]" if by_unit else "[gauge, unit]"
            raise StepError(
                f"outlet_topo has shape {tuple(x_dict['outlet_topo'].shape)}, areas {tuple(areas.shape)}; "
                f"there are {sites} units",
                hint=f"give outlet_topo as {wanted} and one area per unit",
            )
        return cls(topology, areas)

    @property
    def pairs(self) -> tuple[Tensor, Tensor]:
        """Gauge [P] and unit [P] of every way to a gauge, gauge by gauge."""
        gauge, unit = torch.nonzero(self.topology == 1, as_tuple=True)
        return gauge, unit

    def total(self, values: Tensor) -> Tensor:
        """Return the sums over the units of each gauge, weighted with ``areas``: [..., U] to [..., G]."""
        return values @ (self.topology.to(values) * self.areas.to(values)).T

    def mean_of_pairs(self, values: Tensor) -> Tensor:
        """Return the mean over the area of each gauge of what arrives on the ways: [T, P] to [T, G]."""
        gauge, unit = self.pairs
        weighted = values * self.areas.to(values)[unit]
        arriving = values.new_zeros(len(values), len(self.topology)).index_add(1, gauge, weighted)
        return arriving / torch.clamp(self.total(values.new_ones(self.areas.shape[0])), min=1e-6)
