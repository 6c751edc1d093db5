"""Deep perceptron with dropout, used for static parameters."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn

from dmg.engine.site_share import dropout_by_site
from dmg.models.neural_networks.base import BaseNetwork, check_dropout, check_width
from dmg.models.neural_networks.monte_carlo import drops
from dmg.registry import networks


@networks.register("AnnModel")
class AnnModel(BaseNetwork):
    """Perceptron with seven hidden layers, ReLU and dropout: [..., nx] → [..., ny] in (0, 1).

    Parameters
    ----------
    nx, ny
        Numbers of inputs and outputs.
    hidden_size
        Width of the hidden layers.
    dr
        Probability that a hidden value is dropped in training.
    """

    bounded = True
    config_keys: ClassVar[dict[str, tuple[str, ...]]] = {
        "hidden_size": ("hidden_size", "mlp_hidden_size"),
        "dr": ("dropout", "mlp_dropout"),
    }

    def __init__(self, nx: int, ny: int, hidden_size: int, dr: float = 0.5) -> None:
        super().__init__()
        self.nx, self.ny, self.dr = nx, ny, check_dropout(dr, "AnnModel")
        self.i2h = nn.Linear(nx, hidden_size)
        self.h2h1 = nn.Linear(hidden_size, hidden_size)
        self.h2h2 = nn.Linear(hidden_size, hidden_size)
        self.h2h3 = nn.Linear(hidden_size, hidden_size)
        self.h2h4 = nn.Linear(hidden_size, hidden_size)
        self.h2h5 = nn.Linear(hidden_size, hidden_size)
        self.h2h6 = nn.Linear(hidden_size, hidden_size)
        self.h2o = nn.Linear(hidden_size, ny)

    def forward(self, x: Tensor) -> Tensor:
        """Return the outputs [..., ny] in (0, 1) for the inputs [..., nx]."""
        check_width(x.shape[-1], self.nx, "AnnModel")
        layers = (self.i2h, self.h2h1, self.h2h2, self.h2h3, self.h2h4, self.h2h5, self.h2h6)
        for layer in layers:
            x = dropout_by_site(torch.relu(layer(x)), self.dr, drops(self), dim=-2)
        return torch.sigmoid(self.h2o(x))
