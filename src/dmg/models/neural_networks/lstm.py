"""LSTM with dropout on its weights, the network of the published δ-models."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dmg.errors import DataError
from dmg.models.neural_networks.base import BaseNetwork, check_dropout, check_width
from dmg.models.neural_networks.drop_connect import DropConnect
from dmg.models.neural_networks.monte_carlo import drops
from dmg.registry import networks

LstmState = tuple[Tensor, Tensor]


class DropConnectLstm(DropConnect):
    """Single-layer LSTM with dropped weights.

    Parameters
    ----------
    input_size, hidden_size
        Widths of input and state.
    dr
        Probability that a weight is dropped.
    """

    def __init__(self, input_size: int, hidden_size: int, dr: float = 0.5) -> None:
        super().__init__(4, input_size, hidden_size, dr)

    def forward(self, x: Tensor, state: LstmState, drop: bool) -> tuple[Tensor, LstmState]:
        """Run over [T, B, input_size] from a state of two tensors [1, B, hidden_size]."""
        weights = self.weights(drop, x.is_cuda)
        # cuDNN keeps what its backward needs only if told that this is training, whatever the module's mode.
        h, *last = torch.lstm(x, state, weights, True, 1, 0.0, torch.is_grad_enabled(), False, False)
        return h, (last[0], last[1])


@networks.register("LstmModel", "CudnnLstmModel")
class LstmModel(BaseNetwork):
    """Linear and ReLU, LSTM with weight dropout, linear head: [T, B, nx] → [T, B, ny].

    Parameters
    ----------
    nx, ny
        Numbers of inputs and outputs.
    hidden_size
        Width of the linear layer and of the LSTM.
    dr
        Probability that an LSTM weight is dropped.
    dpl
        Whether the outputs pass a logistic function. HBV 1.x applies its own and wants raw outputs.
    cache_states
        Whether a call in evaluation mode starts from the state that the call before it left. Training
        windows are random draws and never start from a cached state.

    Attributes
    ----------
    do_drop_mc
        Drop weights in evaluation mode too (Monte Carlo dropout).

    References
    ----------
    Feng, D., Liu, J., Lawson, K., Shen, C. (2022). Differentiable, learnable, regionalized process-based
    models with multiphysical outputs can approach state-of-the-art hydrologic prediction accuracy. Water
    Resources Research 58, e2022WR032404.
    """

    config_keys: ClassVar[dict[str, tuple[str, ...]]] = {
        "hidden_size": ("hidden_size",),
        "dr": ("dropout",),
        "dpl": ("dpl",),
        "cache_states": ("cache_states",),
    }
    options: ClassVar[tuple[str, ...]] = ("dpl",)

    def __init__(
        self,
        nx: int,
        ny: int,
        hidden_size: int,
        dr: float = 0.5,
        dpl: bool = False,
        cache_states: bool = False,
    ) -> None:
        super().__init__()
        self.nx, self.ny, self.hidden_size = nx, ny, hidden_size
        self.dpl, self.cache_states, self.do_drop_mc = dpl, cache_states, False
        self.bounded = dpl
        self.linear_in = nn.Linear(nx, hidden_size)
        self.lstm = DropConnectLstm(hidden_size, hidden_size, check_dropout(dr, "LstmModel"))
        self.linear_out = nn.Linear(hidden_size, ny)
        self._cached: LstmState | None = None

    def forward(self, x: Tensor, do_drop_mc: bool = False, dr_false: bool = False) -> Tensor:
        """Return the outputs [T, B, ny] for the inputs [T, B, nx].

        Parameters
        ----------
        x
            Normalised inputs.
        do_drop_mc
            Drop weights although the module is in evaluation mode.
        dr_false
            Drop none although the module is in training mode.
        """
        caching = self.cache_states and not self.training
        drop = (drops(self) or self.do_drop_mc or do_drop_mc) and not dr_false
        h, state = self.features(x, self._cached if caching else None, drop=drop)
        if caching:
            self._cached = (state[0].detach(), state[1].detach())
        return self.head(h)

    def features(
        self, x: Tensor, state: LstmState | None = None, *, drop: bool | None = None
    ) -> tuple[Tensor, LstmState]:
        """Return the hidden series [T, B, hidden_size] and the state (h, c) after its last step.

        Parameters
        ----------
        x
            Normalised inputs [T, B, nx].
        state
            The state to start from, two tensors [1, B, hidden_size]; zeros if None.
        drop
            Whether weights are dropped; by default in training mode and under ``do_drop_mc``.

        Raises
        ------
        DataError
            If the state belongs to another number of sites.
        """
        if x.dim() != 3:
            raise DataError(
                f"LstmModel takes a series [time, site, input], got {x.dim()} dimensions",
                hint="a single site is [T, 1, nx]",
            )
        check_width(x.shape[-1], self.nx, "LstmModel")
        drop = drops(self) or self.do_drop_mc if drop is None else drop
        start = self._start(x, state)
        return self.lstm(torch.relu(self.linear_in(x)), start, drop)

    def head(self, h: Tensor, columns: Sequence[int] | slice | Tensor | None = None) -> Tensor:
        """Return the outputs [..., ny] of hidden values [..., hidden_size].

        Parameters
        ----------
        h
            Hidden values; any part of the series will do.
        columns
            The outputs that are wanted, in order; all if None. Only these are computed.
        """
        weight, bias = self.linear_out.weight, self.linear_out.bias
        if columns is not None:
            chosen = columns if isinstance(columns, slice | Tensor) else list(columns)
            weight, bias = weight[chosen], bias[chosen]
        y = F.linear(h, weight, bias)
        return torch.sigmoid(y) if self.dpl else y

    def get_states(self) -> tuple[Tensor | None, Tensor | None]:
        """Return the cached state (h, c), two tensors [1, B, hidden_size], or (None, None)."""
        return self._cached or (None, None)

    def load_states(self, states: tuple[Tensor | None, Tensor | None] | None) -> None:
        """Take a state (h, c) for the next call; None or (None, None) goes back to a cold start.

        Raises
        ------
        DataError
            If the states are no pair of tensors [1, B, hidden_size].
        """
        if states is None or all(part is None for part in states):
            self._cached = None
            return
        if len(states) != 2 or any(
            part is None or part.dim() != 3 or part.shape[0] != 1 or part.shape[-1] != self.hidden_size
            for part in states
        ):
            raise DataError(
                f"LstmModel takes a state of two tensors [1, sites, {self.hidden_size}]",
                hint="load what get_states() of a network with the same hidden_size returned",
            )
        self._cached = (states[0].detach().clone(), states[1].detach().clone())

    def _start(self, x: Tensor, state: LstmState | None) -> LstmState:
        if state is None:
            zero = x.new_zeros(1, x.shape[1], self.hidden_size)
            return zero, zero
        if state[0].shape[1] != x.shape[1]:
            raise DataError(
                f"the LSTM state belongs to {state[0].shape[1]} sites, the batch has {x.shape[1]}",
                hint="hand every batch the state of its own sites, or load_states(None) for a cold start",
            )
        return state[0].to(x), state[1].to(x)


CudnnLstmModel = LstmModel
