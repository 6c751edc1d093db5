"""Likelihood of observations under normal distributions whose variance is learned."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from dmg.models.criterion.distribution import DistributionLoss
from dmg.registry import losses


@losses.register("NormalNllLoss")
class NormalNllLoss(DistributionLoss):
    """Mean of ((t − μ)² + c2/n) e^(−s) / 2 + (1/2 + c1/n) s, with s the logarithm of the variance.

    Hyper-parameters: ``c1``, ``c2``, the inverse-gamma prior of the variance, and ``n``, the observations that weigh
    against it; both are 0 unless given, which is the negative logarithm of the likelihood up to a constant.

    References
    ----------
    Fang, K., Kifer, D., Lawson, K., Shen, C. (2020): Evaluating the potential and challenges of an uncertainty
    quantification method for long short-term memory models for soil moisture predictions. Water Resources Research 56,
    e2020WR028095.
    """

    scores: ClassVar[str] = "normal"
    defaults: ClassVar[dict[str, float]] = {"c1": 0.0, "c2": 0.0, "n": 1.0}

    @property
    def count(self) -> int:
        """Mean and logarithm of the variance."""
        return 2

    def score(self, pred: Tensor, obs: Tensor) -> Tensor:
        """Return the score [T, B] of means and logarithms of variances [T, B, 2]."""
        mean, log_variance = pred.unbind(-1)
        squares = (obs - mean) ** 2 + self.c2 / self.n
        return 0.5 * squares * (-log_variance).exp() + (0.5 + self.c1 / self.n) * log_variance
