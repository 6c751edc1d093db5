"""A river between unit catchments: where each drains to, and the reach that runs through it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from dmg.core.utils.river_network import RiverNetwork
from dmg.errors import StepError


@dataclass(frozen=True)
class River:
    """Unit catchments in the order of a batch, and the gauges at some of their lower ends.

    Parameters
    ----------
    network
        Where each unit drains to.
    outlets
        Position of the unit of each gauge [G].
    areas
        Area of each unit, km² [U].
    length, slope
        Of the reach that runs through each unit [m], [-]; None where nobody routes through reaches.
    """

    network: RiverNetwork
    outlets: Tensor
    areas: Tensor
    length: Tensor | None = None
    slope: Tensor | None = None

    @classmethod
    def read(cls, x_dict: Mapping[str, Any]) -> River | None:
        """Return the river of ``downstream``, ``outlets`` and ``areas``; None if there is none."""
        if "downstream" not in x_dict:
            return None
        if "areas" not in x_dict:
            raise StepError(
                "the flow at a gauge is the mean over its units by area, and there is no 'areas'",
                hint="name the attribute in observations.subbasin_area_name",
            )
        network = RiverNetwork(x_dict["downstream"].cpu().numpy(), getattr(x_dict, "sites", None))
        reaches = (x_dict.get("reach_length"), x_dict.get("reach_slope"))
        return cls(network, x_dict["outlets"], x_dict["areas"], *reaches)

    @property
    def gauge_areas(self) -> Tensor:
        """Area that drains to each gauge, km² [G]."""
        total = self.network.accumulate(self.areas.detach().cpu().numpy())
        return self.areas.new_tensor(total)[self.outlets]

    @property
    def shares(self) -> Tensor:
        """Share of each unit in the area of each gauge [G, U]; the rows sum to one."""
        inside = self.areas.new_tensor(self.network.draining_to(self.outlets.cpu().numpy()))
        weights = inside * self.areas
        return weights / weights.sum(1, keepdim=True)
