"""Weights of a recurrent layer that are dropped out (drop-connect)."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class DropConnect(nn.Module):
    """Weights of a single recurrent layer; its weight matrices are dropped out, its biases are not.

    One Bernoulli(1 − dr)/(1 − dr) mask per matrix and call, the same for every step and site
    (Wan et al. 2013; Gal and Ghahramani 2016). A subclass runs torch's fused recurrence (cuDNN on a GPU) with them.

    Parameters
    ----------
    gates
        Number of gates, candidate included.
    input_size, hidden_size
        Widths of input and state.
    dr
        Probability that a weight is dropped.
    """

    def __init__(self, gates: int, input_size: int, hidden_size: int, dr: float) -> None:
        super().__init__()
        self.input_size, self.hidden_size, self.dr = input_size, hidden_size, dr
        self.w_ih = nn.Parameter(torch.empty(gates * hidden_size, input_size))
        self.w_hh = nn.Parameter(torch.empty(gates * hidden_size, hidden_size))
        self.b_ih = nn.Parameter(torch.empty(gates * hidden_size))
        self.b_hh = nn.Parameter(torch.empty(gates * hidden_size))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw weights and biases from U(−1/√h, 1/√h)."""
        bound = 1.0 / math.sqrt(self.hidden_size)
        for weight in self.parameters():
            nn.init.uniform_(weight, -bound, bound)

    def weights(self, drop: bool, cuda: bool) -> list[Tensor]:
        """Return matrices, dropped or whole, and biases, as torch's recurrences take them."""
        found = [
            F.dropout(self.w_ih, self.dr, training=drop),
            F.dropout(self.w_hh, self.dr, training=drop),
            self.b_ih,
            self.b_hh,
        ]
        return _in_one_chunk(found) if cuda else found


def _in_one_chunk(weights: list[Tensor]) -> list[Tensor]:
    """Return the weights as views of one buffer, as cuDNN wants them (it copies and warns otherwise)."""
    buffer = torch.cat([w.reshape(-1) for w in weights])
    parts = buffer.split([w.numel() for w in weights])
    return [part.view_as(w) for part, w in zip(parts, weights, strict=True)]
