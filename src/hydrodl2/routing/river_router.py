"""Muskingum-Cunge routing behind a model of unit catchments."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor

from dmg.engine import Router
from dmg.errors import StepError
from dmg.registry import routers
from hydrodl2.routing.muskingum_cunge_reach import MuskingumCungeReach
from hydrodl2.routing.river import River

MM_KM2_PER_DAY = 86.4
"""mm d-1 over a km², in m3 s-1: one part in so many."""


@routers.register("MuskingumCunge")
class RiverRouter(Router):
    """Daily runoff of unit catchments through the reaches of their river, hour by hour, to the gauges.

    Roughness and the geometry of the channel are parameters of every unit, whose reach they describe; its length and
    slope are known. All coefficients are kept at or above zero. Without a river (units alone, whatever they drain to)
    nothing is routed.

    See `hydrodl2.routing.MuskingumCunge` for the method.
    """

    routing_parameters = MuskingumCungeReach.parameter_table
    length = 2  # the state is one row: the discharge of the step before
    needs_network: ClassVar = True
    reads: ClassVar = ("reach_length", "reach_slope")

    def kernel(self, parameters: Mapping[str, Tensor], length: int) -> Tensor:
        """Refuse: the response of a reach depends on its discharge."""
        raise StepError("Muskingum-Cunge has no unit response: it depends on the discharge")

    def settled(self, row: Tensor, river: River) -> Tensor:
        """Return the discharge [1, U] of a river into which the runoff of one step [1, U] has long been flowing."""
        return river.reaches.hot_start(_inflow(row, river)[0])[None]

    def through(
        self, runoff: Tensor, parameters: Mapping[str, Tensor], river: River, before: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """Route.

        Parameters
        ----------
        runoff
            Of units [T, U], mm d-1.
        parameters
            Name to values [U], in their units.
        river
            Where the units drain to.
        before
            Discharge before the first step [1, U], m3 s-1; none is a river without water.

        Returns
        -------
        flow
            At gauges, as a depth over their catchments [T, G], mm d-1.
        state
            Discharge after the last step [1, U].

        Raises
        ------
        StepError
            If length and slope of the reaches are not known.
        """
        start = runoff.new_zeros(runoff.shape[1]) if before is None else before[-1]
        discharge, state = river.reaches(_inflow(runoff, river), parameters, start)
        depth = (MM_KM2_PER_DAY / river.gauge_areas).to(runoff)
        return torch.index_select(discharge, 1, river.outlets) * depth, state[None]


def _inflow(runoff: Tensor, river: River) -> Tensor:
    """Return runoff, mm d-1, as lateral inflow of the reaches, m3 s-1."""
    return runoff * (river.areas / MM_KM2_PER_DAY).to(runoff)
