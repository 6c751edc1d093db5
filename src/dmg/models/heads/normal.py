"""A normal distribution whose variance follows from the inputs."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import NormalDist
from typing import ClassVar

import torch
from torch import Tensor

from dmg.models.heads.base import Head
from dmg.registry import heads

LEAST = -12.0
"""Least logarithm of the variance: a series that never changes would have none."""


@heads.register("normal")
class NormalHead(Head):
    """Mean and logarithm of the variance, on the scale on which the network is trained; see `NormalNllLoss`.

    With dropout kept in prediction it is the "MCD+N" of Fang et al. (2020): the spread of the means is what the network
    does not know, the variance what no network could.

    Parameters
    ----------
    levels
        Quantiles that are reported.

    References
    ----------
    Fang, K., Kifer, D., Lawson, K., Shen, C. (2020): Evaluating the potential and challenges of an uncertainty
    quantification method for long short-term memory models for soil moisture predictions. Water Resources Research 56,
    e2020WR028095.
    """

    options: ClassVar[tuple[str, ...]] = ("levels",)
    kind: ClassVar[str] = "normal"

    def __init__(self, levels: Sequence[float] = (0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95)) -> None:
        super().__init__(levels)
        self.width = 2

    def parameters(self, raw: Tensor) -> Tensor:
        """Return mean and logarithm of the variance [..., 2]."""
        return torch.cat([raw[..., :1], raw[..., 1:].clamp(min=LEAST)], dim=-1)

    def point(self, parameters: Tensor) -> Tensor:
        """Return the mean."""
        return parameters[..., :1]

    def quantiles(self, parameters: Tensor) -> Tensor:
        """Return the quantiles of the normal distribution."""
        z = parameters.new_tensor([NormalDist().inv_cdf(level) for level in self.levels])
        return parameters[..., :1] + (0.5 * parameters[..., 1:]).exp() * z

    def draw(self, parameters: Tensor) -> Tensor:
        """Return a draw."""
        mean, deviation = parameters[..., :1], (0.5 * parameters[..., 1:]).exp()
        return mean + deviation * torch.randn_like(mean)
