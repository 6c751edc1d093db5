"""Linear time-invariant routers: the response of a reach to a unit of inflow, in time steps of the model.

Every kernel is sampled over the window of the router and normalised there, so that no water is lost. Times are counted
in steps, so that a router serves a daily and an hourly model; give an hourly one a longer window.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping

import torch
from torch import Tensor

from dmg.engine import Parameter, Router
from dmg.errors import ConfigError
from dmg.registry import routers


class LinearRouter(Router):
    """A router whose response to a unit pulse is given as weights of lags, normalised over the window.

    Parameters
    ----------
    length
        Window: the number of steps over which a pulse is spread.
    """

    def __init__(self, length: int = 15) -> None:
        super().__init__()
        self.length = length

    def kernel(self, parameters: Mapping[str, Tensor], length: int) -> Tensor:
        """Return the response [length, B]; it sums to one over time."""
        first = next(iter(parameters.values()))
        lag = torch.arange(length, dtype=first.dtype, device=first.device)[:, None]
        weights = self.weights(lag, *(parameters[p.name] for p in self.routing_parameters))
        return weights / weights.sum(0)

    @abstractmethod
    def weights(self, lag: Tensor, *parameters: Tensor) -> Tensor:
        """Return the weight of every lag [L, 1] for the parameters [B], in the order of ``routing_parameters``."""


@routers.register("PureLag")
class PureLag(LinearRouter):
    """A delay, split linearly between the two steps around it; the window is longer than the longest delay.

    Parameters
    ----------
    length
        As for `LinearRouter`.

    Raises
    ------
    ConfigError
        If a delay would reach out of the window, with all the water.
    """

    routing_parameters = (Parameter("route_lag", 0.0, 10.0, "step", "delay"),)

    def __init__(self, length: int = 15) -> None:
        super().__init__(length)
        longest = self.routing_parameters[0].high
        if length <= longest:
            raise ConfigError(
                f"a delay of {longest:g} steps does not fit into a window of {length}",
                hint=f"give a length above {longest:g}",
            )

    def weights(self, lag: Tensor, delay: Tensor) -> Tensor:
        """Return max(0, 1 - |t - τ|)."""
        return torch.relu(1.0 - (lag - delay).abs())


@routers.register("LinearReservoir")
class LinearReservoir(LinearRouter):
    """A reservoir whose outflow is its content over a residence time."""

    routing_parameters = (Parameter("route_residence", 0.0, 10.0, "step", "residence time"),)

    def weights(self, lag: Tensor, residence: Tensor) -> Tensor:
        """Return x (1 - x)^t with x = 1 / (1 + τ), the implicit Euler solution."""
        share = 1.0 / (1.0 + residence)
        return share * (1.0 - share) ** lag


@routers.register("NashCascade")
class NashCascade(LinearRouter):
    """Equal linear reservoirs in series; their number need not be whole.

    Source: Nash (1957), IAHS Publ. 45, 114-121.
    """

    routing_parameters = (
        Parameter("route_reservoirs", 0.5, 6.0, "-", "number of reservoirs"),
        Parameter("route_residence", 0.05, 5.0, "step", "residence time of each"),
    )

    def weights(self, lag: Tensor, reservoirs: Tensor, residence: Tensor) -> Tensor:
        """Return C(t + n - 1, t) x^n (1 - x)^t; the binomial is a running product over the lags."""
        share = 1.0 / (1.0 + residence)
        steps = lag[1:]
        growth = torch.log((steps + reservoirs - 1.0) / steps).cumsum(0)
        growth = torch.cat([torch.zeros_like(growth[:1]), growth]) if len(growth) else lag * reservoirs
        return torch.exp(growth + reservoirs * torch.log(share) + lag * torch.log1p(-share))


@routers.register("LinearMuskingum")
class LinearMuskingum(LinearRouter):
    """Muskingum routing with constant travel time and weight.

    Below a travel time of 1 / (2 (1 - x)) steps, the pulse would come back with alternating sign: the travel time is
    bounded there.

    Source: McCarthy (1938); Cunge (1969), https://doi.org/10.1080/00221686909500264.
    """

    routing_parameters = (
        Parameter("route_k", 0.5, 10.0, "step", "travel time"),
        Parameter("route_x", 0.0, 0.5, "-", "weight of the inflow"),
    )

    def weights(self, lag: Tensor, travel: Tensor, weight: Tensor) -> Tensor:
        """Return C0, then (C1 + C2 C0) C2^(t-1)."""
        travel = torch.maximum(travel, 0.5 / (1.0 - weight))
        denominator = travel * (1.0 - weight) + 0.5
        c0 = (0.5 - travel * weight) / denominator
        c1 = (0.5 + travel * weight) / denominator
        c2 = (travel * (1.0 - weight) - 0.5) / denominator
        later = (c1 + c2 * c0) * c2 ** (lag - 1.0).clamp(min=0.0)
        return torch.where(lag == 0, c0, later)


@routers.register("Hayami")
class Hayami(LinearRouter):
    """The diffusive wave of constant celerity and diffusivity.

    A reach of length L with celerity c and diffusivity D is described by its travel time τ = L/c and by its spread
    β = D/c², the time over which diffusion acts as fast as advection.

    Source: Hayami (1951), Kyoto University Disaster Prevention Research Institute Bulletin 1, 1-16.
    """

    routing_parameters = (
        Parameter("route_travel", 0.1, 10.0, "step", "travel time"),
        Parameter("route_spread", 0.01, 2.0, "step", "diffusivity over squared celerity"),
    )

    def weights(self, lag: Tensor, travel: Tensor, spread: Tensor) -> Tensor:
        """Return t^(-3/2) exp(-(τ - t)² / (4 β t)) at the middle of every step, relative to its greatest value."""
        t = lag + 0.5
        return torch.softmax(-1.5 * torch.log(t) - (travel - t) ** 2 / (4.0 * spread * t), dim=0)
