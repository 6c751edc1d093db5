"""Autoregressive perceptron: each step sees the output of the step before."""

from __future__ import annotations

from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dmg.errors import DataError
from dmg.models.neural_networks.base import BaseNetwork, check_width
from dmg.registry import networks


@networks.register("AnnCloseModel")
class AnnCloseModel(BaseNetwork):
    """Perceptron closed over its own output: y_t = f(x_t, y_{t−1}), [T, B, nx] → [T, B, ny].

    Parameters
    ----------
    nx, ny
        Numbers of inputs and outputs.
    hidden_size
        Width of the two hidden layers.
    fill_obs
        Whether an observed y_{t−1}, where there is one, takes the place of the network's own.
    """

    config_keys: ClassVar[dict[str, tuple[str, ...]]] = {
        "hidden_size": ("hidden_size",),
        "fill_obs": ("fill_obs",),
    }
    options: ClassVar[tuple[str, ...]] = ("fill_obs",)

    def __init__(self, nx: int, ny: int, hidden_size: int, fill_obs: bool = True) -> None:
        super().__init__()
        self.nx, self.ny, self.fill_obs = nx, ny, fill_obs
        self.i2h = nn.Linear(nx + ny, hidden_size)
        self.h2h = nn.Linear(hidden_size, hidden_size)
        self.h2o = nn.Linear(hidden_size, ny)

    def forward(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """Return the outputs [T, B, ny]; the output before the first step is 0.

        Parameters
        ----------
        x
            Inputs [T, B, nx].
        y
            Observations [T, B, ny], NaN where missing; they matter only with ``fill_obs``.

        Raises
        ------
        DataError
            If the observations have another shape than the outputs.
        """
        check_width(x.shape[-1], self.nx, "AnnCloseModel")
        observed = self._observed(x, y)
        # The part of the first layer that does not depend on the loop is one product for all steps.
        driven = F.linear(x, self.i2h.weight[:, : self.nx], self.i2h.bias)
        feedback = self.i2h.weight[:, self.nx :]
        last = x.new_zeros(x.shape[1], self.ny)
        out = []
        for t, step in enumerate(driven.unbind(0)):
            if observed is not None and t > 0:
                last = torch.where(observed[t - 1].isnan(), last, observed[t - 1].nan_to_num())
            hidden = torch.relu(step + F.linear(last, feedback))
            last = self.h2o(self.h2h(hidden))
            out.append(last)
        return torch.stack(out)

    def _observed(self, x: Tensor, y: Tensor | None) -> tuple[Tensor, ...] | None:
        if y is None or not self.fill_obs:
            return None
        if y.shape != (*x.shape[:2], self.ny):
            raise DataError(
                f"AnnCloseModel: observations {tuple(y.shape)} do not fit outputs {(*x.shape[:2], self.ny)}",
                hint="give [time, site, output] with NaN where nothing was observed",
            )
        return y.to(x).unbind(0)
