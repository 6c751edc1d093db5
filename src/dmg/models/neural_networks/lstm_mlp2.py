"""LSTM for dynamic, one perceptron for static and one for routing parameters."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from dmg.models.neural_networks.ann import AnnModel
from dmg.models.neural_networks.base import BaseNetwork
from dmg.models.neural_networks.lstm import LstmModel
from dmg.registry import networks


@networks.register("LstmMlp2Model")
class LstmMlp2Model(BaseNetwork):
    """Three networks: series → (0, 1) [T, U, ny1], attributes → (0, 1) [U, ny2], paths → (0, 1) [P, ny3].

    Parameters
    ----------
    nx1, ny1, hiddeninv1
        Inputs, outputs and width of the LSTM (``lstminv``).
    nx2, ny2, hiddeninv2
        Inputs, outputs and width of the perceptron of the units' attributes (``ann1``).
    nx3, ny3, hiddeninv3
        Inputs, outputs and width of the perceptron of the attributes of paths from a unit to a gauge (``ann2``).
    dr1, dr2
        Dropout of the LSTM and of the perceptrons.
    """

    bounded = True
    inputs: ClassVar[tuple[str, ...]] = ("xc_nn_norm", "c_nn_norm", "c_path_norm")
    config_keys: ClassVar[dict[str, tuple[str, ...]]] = {
        "hiddeninv1": ("lstm_hidden_size", "hidden_size"),
        "hiddeninv2": ("mlp_hidden_size", "hidden_size"),
        "hiddeninv3": ("mlp_hidden_size", "hidden_size"),
        "dr1": ("lstm_dropout", "dropout"),
        "dr2": ("mlp_dropout", "dropout"),
    }

    def __init__(
        self,
        nx1: int,
        ny1: int,
        hiddeninv1: int,
        nx2: int,
        ny2: int,
        hiddeninv2: int,
        nx3: int,
        ny3: int,
        hiddeninv3: int,
        dr1: float = 0.5,
        dr2: float = 0.5,
    ) -> None:
        super().__init__()
        self.lstminv = LstmModel(nx1, ny1, hiddeninv1, dr=dr1, dpl=True)
        self.ann1 = AnnModel(nx2, ny2, hiddeninv2, dr=dr2)
        self.ann2 = AnnModel(nx3, ny3, hiddeninv3, dr=dr2)

    def forward(self, x_norm: Tensor, c_norm: Tensor, path_norm: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the outputs for series [T, U, nx1], attributes [U, nx2] and paths [P, nx3]."""
        return self.lstminv(x_norm), self.ann1(c_norm), self.ann2(path_norm)
