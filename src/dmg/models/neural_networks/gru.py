"""GRU with dropout on its weights: three gates where the LSTM has four, one state where it has two."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dmg.models.neural_networks.base import BaseNetwork, check_dropout, check_width
from dmg.models.neural_networks.drop_connect import DropConnect
from dmg.models.neural_networks.monte_carlo import drops
from dmg.registry import networks


class DropConnectGru(DropConnect):
    """Single-layer GRU with dropped weights.

    Parameters
    ----------
    input_size, hidden_size
        Widths of input and state.
    dr
        Probability that a weight is dropped.
    """

    def __init__(self, input_size: int, hidden_size: int, dr: float = 0.5) -> None:
        super().__init__(3, input_size, hidden_size, dr)

    def forward(self, x: Tensor, state: Tensor, drop: bool) -> tuple[Tensor, Tensor]:
        """Run over [T, B, input_size] from a state [1, B, hidden_size]."""
        weights = self.weights(drop, x.is_cuda)
        return torch.gru(x, state, weights, True, 1, 0.0, torch.is_grad_enabled(), False, False)


@networks.register("GruModel")
class GruModel(BaseNetwork):
    """Linear and ReLU, GRU with weight dropout, linear head: [T, B, nx] → [T, B, ny].

    Parameters
    ----------
    nx, ny
        Numbers of inputs and outputs.
    hidden_size
        Width of the linear layer and of the GRU.
    dr
        Probability that a GRU weight is dropped.

    References
    ----------
    Cho, K. et al. (2014). Learning phrase representations using RNN encoder-decoder for statistical machine
    translation. EMNLP 2014.
    """

    config_keys: ClassVar[dict[str, tuple[str, ...]]] = {"hidden_size": ("hidden_size",), "dr": ("dropout",)}

    def __init__(self, nx: int, ny: int, hidden_size: int, dr: float = 0.5) -> None:
        super().__init__()
        self.nx, self.hidden_size = nx, hidden_size
        self.linear_in = nn.Linear(nx, hidden_size)
        self.gru = DropConnectGru(hidden_size, hidden_size, check_dropout(dr, "GruModel"))
        self.linear_out = nn.Linear(hidden_size, ny)

    def forward(self, x: Tensor) -> Tensor:
        """Return the outputs [T, B, ny] of a series [T, B, nx]."""
        return self.head(self.features(x)[0])

    def features(self, x: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return the hidden series [T, B, hidden_size] and the state [1, B, hidden_size] after its last step."""
        check_width(x.shape[-1], self.nx, "GruModel")
        start = x.new_zeros(1, x.shape[1], self.hidden_size) if state is None else state.to(x)
        return self.gru(torch.relu(self.linear_in(x)), start, drops(self))

    def head(self, h: Tensor, columns: Sequence[int] | slice | Tensor | None = None) -> Tensor:
        """Return all outputs of hidden values, or those of some columns."""
        if columns is None:
            return self.linear_out(h)
        return F.linear(h, self.linear_out.weight[columns], self.linear_out.bias[columns])
