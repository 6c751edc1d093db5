"""Kling-Gupta efficiency of a batch, bounded, as a loss."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from dmg.models.criterion.kge_batch import KgeBatchLoss
from dmg.registry import losses


@losses.register("KgeNormBatchLoss")
class KgeNormBatchLoss(KgeBatchLoss):
    """1 − KGE / (2 − KGE), which is below 2 however bad the prediction.

    Hyper-parameter: ``eps`` (ε), which keeps the ratios finite.
    """

    def loss(self, pred: Tensor, obs: Tensor, valid: Tensor, ids: Any) -> Tensor:
        """Return one minus the bounded Kling-Gupta efficiency."""
        distance = self.distance(pred, obs, valid)
        return 2.0 * distance / (1.0 + distance)
