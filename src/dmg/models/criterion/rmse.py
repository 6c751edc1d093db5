"""Root mean squared error."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from dmg.models.criterion.base import BaseCriterion, mean_over, safe_sqrt
from dmg.registry import losses


@losses.register("RmseLoss")
class RmseLoss(BaseCriterion):
    """Root of the mean of (p − t)² over all observed values."""

    def loss(self, pred: Tensor, obs: Tensor, valid: Tensor, ids: Any) -> Tensor:
        """Return the root mean squared error."""
        return safe_sqrt(mean_over((pred - obs) ** 2, valid))
