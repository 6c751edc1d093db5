"""Base class of the losses that score a distribution: several numbers for every observation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

from dmg.errors import DataError
from dmg.models.criterion.base import ArrayLike, BaseCriterion, as_matrix, mean_over


class DistributionLoss(BaseCriterion):
    """A loss between the parameters of distributions [T, B, P] and observations [T, B].

    A subclass says in ``scores`` which kind of head it trains, and computes `score`.
    """

    scores: ClassVar[str] = ""

    def forward(
        self,
        y_pred: ArrayLike,
        y_obs: ArrayLike,
        sample_ids: Sequence[int] | ArrayLike | None = None,
        n_samples: Sequence[int] | ArrayLike | None = None,
    ) -> Tensor:
        """Return the mean score of all observed values, a scalar; 0, with a graph, if there is none.

        Parameters
        ----------
        y_pred
            Parameters [T, B, P].
        y_obs
            Observations [T, B] or [T, B, 1]; NaN where there is none.
        sample_ids, n_samples
            Accepted like those of any loss; sites do not matter.

        Raises
        ------
        DataError
            If the shapes do not fit.
        """
        pred = y_pred if isinstance(y_pred, Tensor) else torch.as_tensor(y_pred)
        obs = as_matrix(y_obs, "observations", self.name)
        if pred.dim() != 3 or pred.shape[:2] != obs.shape or pred.shape[2] != self.count:
            raise DataError(
                f"{self.name}: parameters {tuple(pred.shape)} do not fit observations {tuple(obs.shape)}",
                hint=f"give [time, site, {self.count}] and [time, site]",
            )
        valid = ~torch.isnan(obs)
        pred, obs = torch.where(valid[..., None], pred, 0.0), torch.where(valid, obs, 0.0).to(pred)
        return mean_over(self.score(pred, obs), valid)

    @property
    def count(self) -> int:
        """Number of parameters of a distribution."""
        raise TypeError(f"{self.name} does not define count")

    def score(self, pred: Tensor, obs: Tensor) -> Tensor:
        """Return the score [T, B] of parameters [T, B, P]."""
        raise TypeError(f"{self.name} does not define score()")

    def loss(self, pred: Tensor, obs: Tensor, valid: Tensor, ids: Any) -> Tensor:
        """Return the mean score of what is valid."""
        return mean_over(self.score(pred, obs), valid)
