"""Kling-Gupta efficiency of a batch, as a loss."""

from __future__ import annotations

from typing import Any, ClassVar

from torch import Tensor

from dmg.models.criterion.base import BaseCriterion, mean_over, safe_sqrt
from dmg.registry import losses


@losses.register("KgeBatchLoss")
class KgeBatchLoss(BaseCriterion):
    """1 − KGE of all observed values of the batch taken together.

    √((r − 1)² + (β − 1)² + (γ − 1)²) with r the correlation, β = p̄ / (t̄ + ε), γ = σ_p / (σ_t + ε) (population
    spread). Because of ε a perfect prediction has a small loss above 0.

    Hyper-parameter: ``eps`` (ε), which keeps the ratios finite.

    References
    ----------
    Gupta, H. V., Kling, H., Yilmaz, K. K., Martinez, G. F. (2009). Journal of Hydrology 377, 80-91.
    """

    defaults: ClassVar[dict[str, float]] = {"eps": 0.1}

    def loss(self, pred: Tensor, obs: Tensor, valid: Tensor, ids: Any) -> Tensor:
        """Return one minus the Kling-Gupta efficiency."""
        return self.distance(pred, obs, valid)

    def distance(self, pred: Tensor, obs: Tensor, valid: Tensor) -> Tensor:
        """Return the distance from the ideal point in the space of r, β and γ; 0 if nothing was observed."""
        mean_p, mean_t = mean_over(pred, valid), mean_over(obs, valid)
        dp, dt = (pred - mean_p) * valid, (obs - mean_t) * valid
        spp, stt = (dp * dp).sum(), (dt * dt).sum()
        n = valid.sum().clamp(min=1)
        r = (dp * dt).sum() / (safe_sqrt(spp) * safe_sqrt(stt) + self.eps)
        beta = mean_p / (mean_t + self.eps)
        gamma = safe_sqrt(spp / n) / (safe_sqrt(stt / n) + self.eps)
        return safe_sqrt((r - 1) ** 2 + (beta - 1) ** 2 + (gamma - 1) ** 2) * valid.any()
