"""Pinball loss: quantiles are what it is least for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

from dmg.models.criterion.base import ArrayLike
from dmg.models.criterion.distribution import DistributionLoss
from dmg.registry import losses


@losses.register("PinballLoss")
class PinballLoss(DistributionLoss):
    """Mean over levels τ and observations of max(τ e, (τ − 1) e), e = t − q_τ.

    Parameters
    ----------
    config, device, y_obs
        As of every loss.
    levels
        Levels of the quantiles, those of ``model.head``.

    References
    ----------
    Koenker, R., Bassett, G. (1978): Regression quantiles. Econometrica 46, 33-50.
    """

    scores: ClassVar[str] = "quantiles"

    def __init__(
        self,
        config: Any = None,
        device: str | torch.device | None = "cpu",
        *,
        levels: Sequence[float] = (0.05, 0.5, 0.95),
        y_obs: ArrayLike | None = None,
        **kwargs: float,
    ) -> None:
        super().__init__(config, device, y_obs=y_obs, **kwargs)
        self.levels = tuple(float(level) for level in levels)

    @property
    def count(self) -> int:
        """Number of quantiles."""
        return len(self.levels)

    def score(self, pred: Tensor, obs: Tensor) -> Tensor:
        """Return the mean over levels [T, B]."""
        error, levels = obs[..., None] - pred, pred.new_tensor(self.levels)
        return torch.maximum(levels * error, (levels - 1.0) * error).mean(-1)
