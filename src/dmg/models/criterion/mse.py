"""Mean squared error."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from dmg.models.criterion.base import BaseCriterion, mean_over
from dmg.registry import losses


@losses.register("MseLoss", "MSELoss")
class MseLoss(BaseCriterion):
    """Mean of (p − t)² over all observed values."""

    def loss(self, pred: Tensor, obs: Tensor, valid: Tensor, ids: Any) -> Tensor:
        """Return the mean squared error."""
        return mean_over((pred - obs) ** 2, valid)


MSELoss = MseLoss
