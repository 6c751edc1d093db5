"""Root mean squared error of values and of log-root values, combined."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor

from dmg.models.criterion.base import BaseCriterion, mean_over, safe_sqrt
from dmg.registry import losses


@losses.register("RmseCombLoss")
class RmseCombLoss(BaseCriterion):
    """(1 − α) RMSE(p, t) + α RMSE(L(p), L(t)) with L(x) = log10(√(x + β) + 0.1).

    The second term gives low flows their weight. Values below 0 count as 0 in it.

    Hyper-parameters: ``alpha``, the weight of the log-root term; ``beta``, which keeps the root
    differentiable at 0.

    References
    ----------
    Feng, D. et al. (2022). Water Resources Research 58, e2022WR032404.
    """

    defaults: ClassVar[dict[str, float]] = {"alpha": 0.25, "beta": 1e-6}

    def loss(self, pred: Tensor, obs: Tensor, valid: Tensor, ids: Any) -> Tensor:
        """Return the weighted sum of the two errors."""
        plain = safe_sqrt(mean_over((pred - obs) ** 2, valid))
        low = safe_sqrt(mean_over((self._log_root(pred) - self._log_root(obs)) ** 2, valid))
        return (1.0 - self.alpha) * plain + self.alpha * low

    def _log_root(self, values: Tensor) -> Tensor:
        return torch.log10(torch.sqrt(values.clamp(min=0.0) + self.beta) + 0.1)
