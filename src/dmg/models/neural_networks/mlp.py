"""Multi-layer perceptron: four linear layers, logistic outputs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dmg.engine.site_share import dropout_by_site
from dmg.errors import ConfigError, did_you_mean
from dmg.models.neural_networks.base import BaseNetwork, check_dropout, check_width
from dmg.models.neural_networks.monte_carlo import drops
from dmg.registry import networks

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": F.relu,
    "elu": F.elu,
    "gelu": F.gelu,
    "silu": F.silu,
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
}


@networks.register("MlpModel")
class MlpModel(BaseNetwork):
    """Perceptron with three hidden layers: [..., nx] → [..., ny] in (0, 1).

    Parameters
    ----------
    config
        Block ``model.nn``: ``hidden_size`` (or ``mlp_hidden_size``), ``activation`` (of the hidden layers,
        default ``relu``), ``dropout`` (or ``mlp_dropout``, after every hidden layer, default 0).
    nx, ny
        Numbers of inputs and outputs.
    """

    bounded = True
    options: ClassVar[tuple[str, ...]] = ("activation",)

    def __init__(self, config: Mapping[str, Any], nx: int, ny: int) -> None:
        super().__init__()
        hidden = config.get("hidden_size") or config.get("mlp_hidden_size")
        if hidden is None:
            raise ConfigError("MlpModel needs model.nn.hidden_size", hint="set model.nn.hidden_size=64, say")
        activation = config.get("activation") or "relu"
        if activation not in ACTIVATIONS:
            raise ConfigError(
                f"unknown activation '{activation}'",
                where="model.nn.activation",
                hint=did_you_mean(activation, ACTIVATIONS),
            )
        dropout = config.get("dropout")
        dropout = config.get("mlp_dropout") if dropout is None else dropout
        self.nx, self.ny, self.activation = nx, ny, activation
        self.dr = check_dropout(dropout or 0.0, "MlpModel")
        self.L1 = nn.Linear(nx, hidden)
        self.L2 = nn.Linear(hidden, hidden)
        self.L3 = nn.Linear(hidden, hidden)
        self.L4 = nn.Linear(hidden, ny)

    @classmethod
    def from_config(cls, config_nn: Mapping[str, Any], nx: int, ny: int, **context: Any) -> Self:
        """Build the network that a block ``model.nn`` describes."""
        return cls(config_nn, nx, ny)

    def forward(self, x: Tensor) -> Tensor:
        """Return the outputs [..., ny] in (0, 1) for the inputs [..., nx]."""
        check_width(x.shape[-1], self.nx, "MlpModel")
        for layer in (self.L1, self.L2, self.L3):
            x = dropout_by_site(ACTIVATIONS[self.activation](layer(x)), self.dr, drops(self), dim=-2)
        return torch.sigmoid(self.L4(x))
