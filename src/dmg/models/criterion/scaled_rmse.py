"""Root mean squared error as a share of the spread of all observations."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from dmg.models.criterion.base import ArrayLike, BaseCriterion, mean_over, observations, safe_sqrt
from dmg.registry import losses


@losses.register("ScaledRmseLoss")
class ScaledRmseLoss(BaseCriterion):
    """Root of the mean of (p − t)² over all observed values, divided by the standard deviation of the observations.

    Targets in different units then weigh the same. The deviation is that of the observations that the loss is built
    with, taken together; 1 without any.
    """

    def __init__(
        self,
        config: Mapping[str, Any] | Any | None = None,
        device: str | torch.device | None = "cpu",
        *,
        y_obs: ArrayLike | None = None,
        **kwargs: float,
    ) -> None:
        super().__init__(config, device, y_obs=y_obs, **kwargs)
        known = torch.zeros(0) if y_obs is None else torch.from_numpy(observations(y_obs, self.name))
        known = known[torch.isfinite(known)]
        spread = known.std(correction=0) if known.numel() > 1 else torch.zeros(())
        self.register_buffer("deviation", (spread if float(spread) > 0.0 else torch.ones(())).to(device))

    def loss(self, pred: Tensor, obs: Tensor, valid: Tensor, ids: Any) -> Tensor:
        """Return the scaled root mean squared error."""
        return safe_sqrt(mean_over((pred - obs) ** 2, valid)) / self.deviation.to(pred)
