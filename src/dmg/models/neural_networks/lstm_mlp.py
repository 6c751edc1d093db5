"""LSTM for dynamic and perceptron for static parameters, side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Self

from torch import Tensor

from dmg.errors import ConfigError
from dmg.models.neural_networks.ann import AnnModel
from dmg.models.neural_networks.base import BaseNetwork
from dmg.models.neural_networks.lstm import LstmModel, LstmState
from dmg.registry import networks


@networks.register("LstmMlpModel")
class LstmMlpModel(BaseNetwork):
    """Two networks: series [T, B, nx1] → (0, 1) [T, B, ny1], attributes [B, nx2] → (0, 1) [B, ny2].

    Parameters
    ----------
    nx1, ny1, hiddeninv1
        Inputs, outputs and width of the LSTM (``lstminv``).
    nx2, ny2, hiddeninv2
        Inputs, outputs and width of the perceptron (``ann``).
    dr1, dr2
        Dropout of the two.
    cache_states
        As in :class:`~dmg.models.neural_networks.lstm.LstmModel`.

    References
    ----------
    Song, Y. et al. (2025). High-resolution national-scale water modeling is enhanced by multiscale
    differentiable physics-informed machine learning. Water Resources Research 61, e2024WR038928.
    """

    bounded = True
    inputs: ClassVar[tuple[str, ...]] = ("xc_nn_norm", "c_nn_norm")
    config_keys: ClassVar[dict[str, tuple[str, ...]]] = {
        "hiddeninv1": ("lstm_hidden_size", "hidden_size"),
        "hiddeninv2": ("mlp_hidden_size", "hidden_size"),
        "dr1": ("lstm_dropout", "dropout"),
        "dr2": ("mlp_dropout", "dropout"),
        "cache_states": ("cache_states",),
    }

    def __init__(
        self,
        nx1: int,
        ny1: int,
        hiddeninv1: int,
        nx2: int,
        ny2: int,
        hiddeninv2: int,
        dr1: float = 0.5,
        dr2: float = 0.5,
        cache_states: bool = False,
    ) -> None:
        super().__init__()
        self.lstminv = LstmModel(nx1, ny1, hiddeninv1, dr=dr1, dpl=True, cache_states=cache_states)
        self.ann = AnnModel(nx2, ny2, hiddeninv2, dr=dr2)

    @classmethod
    def from_config(cls, config_nn: Mapping[str, Any], nx: int, ny: int, **context: Any) -> Self:
        """Build the pair that a block ``model.nn`` describes.

        The numbers of outputs come from the process model (``learnable_param_count1`` dynamic,
        ``learnable_param_count2`` static) or from ``out_size1`` and ``out_size2``.

        Raises
        ------
        ConfigError
            If the process model does not tell dynamic from static outputs, or there are no attributes.
        """
        phy = context.get("phy_model")
        ny1 = getattr(phy, "learnable_param_count1", None) or config_nn.get("out_size1")
        ny2 = getattr(phy, "learnable_param_count2", None) or config_nn.get("out_size2")
        if not ny1 or not ny2:
            raise ConfigError(
                "LstmMlpModel has one output for dynamic and one for static parameters, "
                "but the model does not say how many of each",
                where="model.nn.name",
                hint="take LstmModel, or set model.nn.out_size1 and model.nn.out_size2",
            )
        n_attributes = context.get("n_attributes") or 0
        if not n_attributes:
            raise ConfigError("LstmMlpModel needs attributes", where="model.nn.attributes")
        return cls(nx1=nx, ny1=ny1, nx2=n_attributes, ny2=ny2, **cls.arguments(config_nn))

    def forward(self, x_norm: Tensor, c_norm: Tensor) -> tuple[Tensor, Tensor]:
        """Return dynamic [T, B, ny1] and static [B, ny2] outputs of series and attributes."""
        return self.lstminv(x_norm), self.ann(c_norm)

    def features(self, x_norm: Tensor, state: LstmState | None = None) -> tuple[Tensor, LstmState]:
        """Return the hidden series of the LSTM and its state after the last step."""
        return self.lstminv.features(x_norm, state)

    def head(self, h: Tensor, columns: Sequence[int] | slice | Tensor | None = None) -> Tensor:
        """Return the dynamic outputs of hidden values, all or those of some columns."""
        return self.lstminv.head(h, columns)

    def static(self, c_norm: Tensor) -> Tensor:
        """Return the static outputs [B, ny2] of attributes [B, nx2]."""
        return self.ann(c_norm)

    def get_states(self) -> tuple[Tensor | None, Tensor | None]:
        """Return the cached state of the LSTM, or (None, None)."""
        return self.lstminv.get_states()

    def load_states(self, states: tuple[Tensor | None, Tensor | None] | None) -> None:
        """Take a state of the LSTM for the next call; None goes back to a cold start."""
        self.lstminv.load_states(states)
