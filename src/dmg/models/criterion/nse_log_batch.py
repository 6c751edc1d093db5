"""Squared error of logarithms, scaled by their variance at each site."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from dmg.errors import ConfigError
from dmg.models.criterion.base import BaseCriterion, mean_over
from dmg.registry import losses


@losses.register("NseLogBatchLoss")
class NseLogBatchLoss(BaseCriterion):
    """Mean of (ln max(p, ε_log) − ln max(t, ε_log))² / (σ′_b + ε)², σ′_b the spread of the logarithms.

    Hyper-parameters: ``eps_log`` (ε_log > 0), the floor under the logarithm; ``eps`` (ε), which tames sites
    with little variation.
    """

    defaults: ClassVar[dict[str, float]] = {"eps_log": 0.01, "eps": 0.1}
    needs_y_obs: ClassVar[bool] = True

    def loss(self, pred: Tensor, obs: Tensor, valid: Tensor, ids: Any) -> Tensor:
        """Return the mean scaled squared error of the logarithms."""
        error = torch.log(pred.clamp(min=self.eps_log)) - torch.log(obs.clamp(min=self.eps_log))
        return mean_over((error / (self.scale(ids, pred) + self.eps)) ** 2, valid)

    def transform_obs(self, y_obs: np.ndarray) -> np.ndarray:
        """Return the logarithms of the observations."""
        if self.eps_log <= 0:
            raise ConfigError("eps_log of NseLogBatchLoss is not positive", where="train.loss_function.eps_log")
        return np.log(np.maximum(y_obs, self.eps_log))
