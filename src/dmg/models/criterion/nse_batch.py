"""Squared error scaled by the variance of each site's observations."""

from __future__ import annotations

from typing import Any, ClassVar

from torch import Tensor

from dmg.models.criterion.base import BaseCriterion, mean_over
from dmg.registry import losses


@losses.register("NseBatchLoss")
class NseBatchLoss(BaseCriterion):
    """Mean of (p − t)² / (σ_b + ε)², σ_b the spread of the observations of site b.

    Minimising it maximises the mean Nash-Sutcliffe efficiency without letting wet sites dominate.

    Hyper-parameter: ``eps`` (ε), which tames sites with little variation.

    References
    ----------
    Kratzert, F. et al. (2019). Hydrology and Earth System Sciences 23, 5089-5110, eq. 13.
    """

    defaults: ClassVar[dict[str, float]] = {"eps": 0.1}
    needs_y_obs: ClassVar[bool] = True

    def loss(self, pred: Tensor, obs: Tensor, valid: Tensor, ids: Any) -> Tensor:
        """Return the mean scaled squared error."""
        return mean_over(((pred - obs) / (self.scale(ids, pred) + self.eps)) ** 2, valid)
