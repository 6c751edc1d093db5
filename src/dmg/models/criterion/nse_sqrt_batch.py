"""Absolute error scaled by the spread of each site's observations."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor

from dmg.models.criterion.base import BaseCriterion, mean_over
from dmg.registry import losses


@losses.register("NseSqrtBatchLoss")
class NseSqrtBatchLoss(BaseCriterion):
    """Mean of √((p − t)² + β) / (σ_b + ε), less sensitive to peaks than :class:`NseBatchLoss`.

    Hyper-parameters: ``eps`` (ε), which tames sites with little variation; ``beta`` (β), which keeps the root
    differentiable at 0.
    """

    defaults: ClassVar[dict[str, float]] = {"eps": 0.1, "beta": 1e-6}
    needs_y_obs: ClassVar[bool] = True

    def loss(self, pred: Tensor, obs: Tensor, valid: Tensor, ids: Any) -> Tensor:
        """Return the mean scaled absolute error."""
        error = torch.sqrt((pred - obs) ** 2 + self.beta)
        return mean_over(error / (self.scale(ids, pred) + self.eps), valid)
