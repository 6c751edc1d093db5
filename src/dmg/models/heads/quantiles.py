"""Several quantiles of every target, which never cross."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import NormalDist
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn.functional import softplus

from dmg.errors import ConfigError
from dmg.models.heads.base import Head
from dmg.registry import heads


@heads.register("quantiles")
class QuantileHead(Head):
    """The median, and from it outwards steps that are never negative; trained with `PinballLoss`.

    Outputs of zero are the quantiles of the standard normal distribution, the climatology of a normalised target.

    Parameters
    ----------
    levels
        Shares between 0 and 1, rising, 0.5 among them.
    """

    options: ClassVar[tuple[str, ...]] = ("levels",)
    kind: ClassVar[str] = "quantiles"

    def __init__(self, levels: Sequence[float] = (0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95)) -> None:
        super().__init__(levels)
        if 0.5 not in self.levels or len(self.levels) < 2:
            raise ConfigError(
                f"the median is the prediction, and {list(self.levels)} have no level beside 0.5 or not 0.5 itself",
                where="model.head.levels",
                hint="such as [0.05, 0.5, 0.95]",
            )
        self.width, self._middle = len(self.levels), self.levels.index(0.5)

    @property
    def loss_arguments(self) -> dict[str, Any]:
        """The levels."""
        return {"levels": self.levels}

    def parameters(self, raw: Tensor) -> Tensor:
        """Return the quantiles [..., number of levels]."""
        z = raw.new_tensor([NormalDist().inv_cdf(level) for level in self.levels])
        m = self._middle
        median, sizes = raw[..., m : m + 1], softplus(raw) / math.log(2.0)
        up = torch.cumsum(sizes[..., m + 1 :] * (z[m + 1 :] - z[m:-1]), dim=-1)
        down = torch.cumsum((sizes[..., :m] * (z[1 : m + 1] - z[:m])).flip(-1), dim=-1).flip(-1)
        return torch.cat([median - down, median, median + up], dim=-1)

    def point(self, parameters: Tensor) -> Tensor:
        """Return the median."""
        return parameters[..., self._middle : self._middle + 1]

    def quantiles(self, parameters: Tensor) -> Tensor:
        """Return them all."""
        return parameters

    def draw(self, parameters: Tensor) -> Tensor:
        """Return a draw between the quantiles; what would lie beyond the outermost is one of them."""
        levels = parameters.new_tensor(self.levels)
        share = torch.rand_like(parameters[..., :1])
        above = torch.searchsorted(levels, share).clamp(1, self.width - 1)
        low, high = levels[above - 1], levels[above]
        weight = ((share - low) / (high - low)).clamp(0.0, 1.0)
        return torch.lerp(parameters.gather(-1, above - 1), parameters.gather(-1, above), weight)
