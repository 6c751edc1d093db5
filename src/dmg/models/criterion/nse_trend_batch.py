"""Squared error that counts more where the observations change."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor

from dmg.models.criterion.base import BaseCriterion, mean_over
from dmg.registry import losses


@losses.register("NseTrendBatchLoss")
class NseTrendBatchLoss(BaseCriterion):
    """Mean of w (p − t)² / (σ_b + ε)² with w = |Δt| / max|Δt| + w₀ per site of the batch.

    Δt is the change from the step before (a missing observation counts as 0 in it, the first step takes the
    change of the second), its maximum is over the window.

    Hyper-parameters: ``base_weight`` (w₀), the weight of a step without change; ``eps`` (ε), which tames
    sites with little variation.
    """

    defaults: ClassVar[dict[str, float]] = {"base_weight": 0.1, "eps": 0.1}
    needs_y_obs: ClassVar[bool] = True

    def loss(self, pred: Tensor, obs: Tensor, valid: Tensor, ids: Any) -> Tensor:
        """Return the mean weighted scaled squared error."""
        weight = self._change(obs) + self.base_weight
        return mean_over(weight * ((pred - obs) / (self.scale(ids, pred) + self.eps)) ** 2, valid)

    @staticmethod
    def _change(obs: Tensor) -> Tensor:
        if obs.shape[0] < 2:
            return torch.zeros_like(obs)
        change = obs.diff(dim=0).abs()
        change = torch.cat([change[:1], change])
        largest = change.amax(dim=0)
        return change / torch.where(largest > 0, largest, 1.0)
