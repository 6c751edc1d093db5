"""Unit hydrographs that set in late: the way from a unit catchment to a gauge."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from dmg.engine import Parameter
from dmg.registry import routers
from hydrodl2.routing.unit_hydrograph import HourlyUnitHydrograph

LAG = Parameter("route_tau", 0.0, 48.0, "h", "time before the unit hydrograph sets in")


@routers.register("LaggedUnitHydrograph")
class LaggedUnitHydrograph(HourlyUnitHydrograph):
    """The hourly gamma unit hydrograph, moved by τ hours; between whole hours it is interpolated.

    Parameters
    ----------
    conserving
        Whether the hydrograph is as long as its lag needs, so that it sums to one. The published one ends after 72
        hours (or after the window, if that is shorter) and loses what comes later: 94 % of the water with the greatest
        shape, scale and lag. The gradient of τ goes through the interpolation.

    Source: Song et al. (2025), https://doi.org/10.1029/2024WR038928.
    """

    routing_parameters = (*HourlyUnitHydrograph.routing_parameters, LAG)

    def __init__(self, conserving: bool = True) -> None:
        super().__init__()
        self.conserving = conserving
        self.length = HourlyUnitHydrograph.length + (math.ceil(LAG.high) if conserving else 0)

    def kernel(self, parameters: Mapping[str, Tensor], length: int) -> Tensor:
        """Return the ordinates [length, P]; a conserving one is cut at ``length`` after it was normalised."""
        base = super().kernel(parameters, HourlyUnitHydrograph.length if self.conserving else length)
        whole = torch.floor(parameters["route_tau"]).detach()
        part = parameters["route_tau"] - whole
        lag = torch.arange(length, device=base.device)[:, None] - whole.long()
        return (1.0 - part) * _at(base, lag) + part * _at(base, lag - 1)


def _at(ordinates: Tensor, lag: Tensor) -> Tensor:
    """Return the ordinates [L, P] at whole lags [n, P], zero where there is none."""
    known = (lag >= 0) & (lag < ordinates.shape[0])
    found = ordinates.gather(0, lag.clamp(0, ordinates.shape[0] - 1))
    return torch.where(known, found, torch.zeros_like(found))
