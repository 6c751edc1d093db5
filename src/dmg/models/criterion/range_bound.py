"""Penalty on values outside a range."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

from dmg.errors import ConfigError
from dmg.models.criterion.base import ArrayLike, BaseCriterion, as_matrix
from dmg.registry import losses


@losses.register("RangeBoundLoss")
class RangeBoundLoss(BaseCriterion):
    """factor · Σ_t mean_b [relu(x − ub) + relu(lb − x)], for the sum of the weights of an ensemble.

    Hyper-parameters: ``lb`` and ``ub``, the range; ``loss_factor``, the weight.
    """

    defaults: ClassVar[dict[str, float]] = {"lb": 0.9, "ub": 1.1, "loss_factor": 1.0}

    def __init__(self, config: Any = None, device: Any = "cpu", **kwargs: Any) -> None:
        super().__init__(config, device, **kwargs)
        if self.lb > self.ub:
            raise ConfigError(f"RangeBoundLoss: lb {self.lb} is above ub {self.ub}", where="train.loss_function")

    def forward(
        self,
        y_pred: ArrayLike,
        y_obs: ArrayLike | None = None,
        sample_ids: Sequence[int] | ArrayLike | None = None,
        n_samples: Sequence[int] | ArrayLike | None = None,
    ) -> Tensor:
        """Return the penalty of the values; observations and sites do not matter to it."""
        x = as_matrix(y_pred, "values", self.name)
        outside = torch.relu(x - self.ub) + torch.relu(self.lb - x)
        return self.loss_factor * outside.sum() / max(x.shape[1], 1)
