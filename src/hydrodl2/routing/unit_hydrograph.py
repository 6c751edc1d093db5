"""The gamma unit hydrograph."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from dmg.engine import Parameter, Router
from dmg.registry import routers


@routers.register("GammaUnitHydrograph")
class GammaUnitHydrograph(Router):
    """Gamma-shaped unit hydrograph, truncated at 15 steps and normalised.

    With shape α = a + 0.1 and scale θ = b + 0.5, the ordinate at the middle t of each step is proportional to
    t^(α-1) exp(-t/θ); the prefactor of the gamma density cancels in the normalisation, so the hydrograph is a softmax
    over lags of (α-1) ln t - t/θ.

    Source: Feng et al. (2022), https://doi.org/10.1029/2022WR032404, after Mizukami et al. (2016).
    """

    routing_parameters = (
        Parameter("route_a", 0.0, 2.9, "-", "shape of the unit hydrograph, less 0.1"),
        Parameter("route_b", 0.0, 6.5, "d", "scale of the unit hydrograph, less 0.5 d"),
    )
    length = 15

    def kernel(self, parameters: Mapping[str, Tensor], length: int) -> Tensor:
        """Return the ordinates [length, B]; they sum to one over time."""
        alpha = parameters["route_a"] + 0.1
        theta = parameters["route_b"] + 0.5
        t = torch.arange(length, dtype=alpha.dtype, device=alpha.device)[:, None] + 0.5
        return torch.softmax((alpha - 1.0) * torch.log(t) - t / theta, dim=0)


@routers.register("HourlyUnitHydrograph")
class HourlyUnitHydrograph(GammaUnitHydrograph):
    """The gamma unit hydrograph of hourly models, truncated at 72 hours."""

    routing_parameters = (
        Parameter("route_a", 0.0, 5.0, "-", "shape of the unit hydrograph, less 0.1"),
        Parameter("route_b", 0.0, 12.0, "h", "scale of the unit hydrograph, less 0.5 h"),
    )
    length = 72
