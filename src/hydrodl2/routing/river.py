"""A river between unit catchments: where each drains to, and the reach that runs through it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from dmg.core.utils.river_network import RiverNetwork
from dmg.errors import StepError
from hydrodl2.routing.muskingum_cunge import MuskingumCunge


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

    @cached_property
    def gauge_areas(self) -> Tensor:
        """Area that drains to each gauge, km² [G], float64."""
        return self._sums(self.areas)

    @cached_property
    def reaches(self) -> MuskingumCunge:
        """The reaches, which are routed hour by hour and with coefficients at or above zero.

        Raises
        ------
        StepError
            If their length and slope are not known.
        """
        if self.length is None or self.slope is None:
            raise StepError(
                "Muskingum-Cunge needs length and slope of the reach of every unit",
                hint="name the attributes in observations.reach_length_name and reach_slope_name",
            )
        length, slope = self.length.cpu().numpy(), self.slope.cpu().numpy()
        return MuskingumCunge(self.network, length, slope, substeps=24, nonnegative=True).to(self.areas.device)

    def total(self, values: Tensor) -> Tensor:
        """Return the means by area over the units above each gauge: [..., U] to [..., G]."""
        return (self._sums(values * self.areas.to(values)) / self.gauge_areas).to(values)

    def _sums(self, values: Tensor) -> Tensor:
        """Return the sums over the units above each gauge, in float64: differences of one running sum."""
        order, begin, end = self._catchments
        running = torch.nn.functional.pad(values[..., order].double().cumsum(-1), (1, 0))
        return running[..., end] - running[..., begin]

    @cached_property
    def _catchments(self) -> tuple[Tensor, Tensor, Tensor]:
        """Units in an order in which those of a catchment follow each other; begin and end of that of each gauge."""
        place, size = (torch.from_numpy(found).to(self.areas.device) for found in self.network.nested)
        begin = place[self.outlets]
        return torch.argsort(place), begin, begin + size[self.outlets]
