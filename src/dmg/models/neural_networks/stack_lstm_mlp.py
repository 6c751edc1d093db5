"""A daily and an hourly network, one on top of the other."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Self

import torch
from torch import Tensor, nn

from dmg.errors import ConfigError
from dmg.models.neural_networks.base import BaseNetwork
from dmg.models.neural_networks.lstm import LstmState
from dmg.models.neural_networks.lstm_mlp import LstmMlpModel
from dmg.models.neural_networks.lstm_mlp2 import LstmMlp2Model
from dmg.registry import networks


@networks.register("StackLstmMlpModel")
class StackLstmMlpModel(BaseNetwork):
    """A low-frequency `LstmMlpModel` whose memory a high-frequency `LstmMlp2Model` starts from.

    The state (h, c) of the low-frequency LSTM passes two linear maps that begin as zero: at first the high-frequency
    LSTM starts cold, and it learns what the past is worth.

    Parameters
    ----------
    lof_model, hif_model
        The two networks.
    use_transfer
        Whether the memory is handed over at all.
    sub_batch_size
        In evaluation mode, units that pass the networks at once; None for all of them. Bounds the memory, not the
        result.
    """

    bounded = True
    two_time_steps: ClassVar = True
    inputs: ClassVar[tuple[str, ...]] = ("xc_nn_norm_lof", "xc_nn_norm_hif", "c_nn_norm", "c_path_norm")

    def __init__(
        self,
        lof_model: LstmMlpModel,
        hif_model: LstmMlp2Model,
        use_transfer: bool = True,
        sub_batch_size: int | None = None,
    ) -> None:
        super().__init__()
        self.lof_model, self.hif_model = lof_model, hif_model
        self.sub_batch_size = sub_batch_size
        low, high = lof_model.lstminv.hidden_size, hif_model.lstminv.hidden_size
        self.h_transfer = _from_nothing(low, high) if use_transfer else None
        self.c_transfer = _from_nothing(low, high) if use_transfer else None

    @classmethod
    def from_config(cls, config_nn: Mapping[str, Any], nx: int, ny: int, **context: Any) -> Self:
        """Build the stack that a block ``model.nn`` describes.

        Sizes and dropout stand in the block and apply to both networks; ``lof_model`` and ``hif_model`` may give
        others. The numbers of outputs come from the two process models.

        Raises
        ------
        ConfigError
            If the process model has not two time steps, or there are no attributes.
        """
        process, n_attributes = context.get("phy_model"), context.get("n_attributes") or 0
        if not hasattr(process, "lof_model") or not hasattr(process, "hif_model"):
            raise ConfigError(
                "StackLstmMlpModel needs a process model with a low and a high frequency",
                where="model.phy.name",
                hint="name one such as Hbv_2_mts, or take LstmMlpModel for a single time step",
            )
        if not n_attributes:
            raise ConfigError("StackLstmMlpModel needs attributes", where="model.nn.attributes")
        parts = {key: {**config_nn, **_given(config_nn.get(key))} for key in ("lof_model", "hif_model")}
        low, high = process.lof_model, process.hif_model
        lof = LstmMlpModel(
            nx1=nx,
            ny1=low.learnable_param_count1,
            nx2=n_attributes,
            ny2=low.learnable_param_count2,
            **LstmMlpModel.arguments(parts["lof_model"]),
        )
        hif = LstmMlp2Model(
            nx1=nx,
            ny1=high.learnable_param_count1,
            nx2=n_attributes,
            ny2=high.learnable_param_count2,
            nx3=n_attributes,
            ny3=high.learnable_param_count3,
            **LstmMlp2Model.arguments(parts["hif_model"]),
        )
        transfer = config_nn.get("use_transfer")
        return cls(lof, hif, True if transfer is None else bool(transfer), config_nn.get("sub_batch_size"))

    def forward(
        self, x_lof: Tensor, x_hif: Tensor, c_norm: Tensor, path_norm: Tensor
    ) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor, Tensor]]:
        """Return the outputs of both networks.

        Parameters
        ----------
        x_lof, x_hif
            Series [Td, U, nx] and [Th, U, nx]; the second begins where the first ends.
        c_norm
            Attributes of the units [U, n].
        path_norm
            Attributes of the paths from units to gauges [P, n].

        Returns
        -------
        low
            Dynamic [Td, U, ·] and static [U, ·] outputs.
        high
            Dynamic [Th, U, ·], static [U, ·] and routing [P, ·] outputs.
        """
        dynamic, memory = self.run_low(x_lof)
        low = dynamic, self.lof_model.ann(c_norm)
        dynamic, _ = self.run_high(x_hif, memory)
        return low, (dynamic, self.hif_model.ann1(c_norm), self.hif_model.ann2(path_norm))

    def run_low(self, x: Tensor) -> tuple[Tensor, LstmState | None]:
        """Return the dynamic outputs of the low frequency and the state in which the other LSTM starts after them."""
        dynamic, (h, c) = self._by_parts(self.lof_model.lstminv, x, None)
        return dynamic, None if self.h_transfer is None else (self.h_transfer(h), self.c_transfer(c))

    def run_high(self, x: Tensor, memory: LstmState | None = None) -> tuple[Tensor, LstmState]:
        """Return the dynamic outputs of the high frequency from a state, and the state after them."""
        return self._by_parts(self.hif_model.lstminv, x, memory)

    def _by_parts(self, lstm: nn.Module, x: Tensor, memory: LstmState | None) -> tuple[Tensor, LstmState]:
        size = x.shape[1] if self.training or not self.sub_batch_size else self.sub_batch_size
        outputs, states = [], []
        for begin in range(0, x.shape[1], size):
            part = slice(begin, begin + size)
            start = None if memory is None else (memory[0][:, part].contiguous(), memory[1][:, part].contiguous())
            hidden, state = lstm.features(x[:, part], start)
            outputs.append(lstm.head(hidden))
            states.append(state)
        if len(outputs) == 1:
            return outputs[0], states[0]
        h, c = (torch.cat(parts, dim=1) for parts in zip(*states, strict=True))
        return torch.cat(outputs, dim=1), (h, c)


def _from_nothing(low: int, high: int) -> nn.Linear:
    """Return a linear map that begins as zero."""
    layer = nn.Linear(low, high)
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer


def _given(block: Mapping[str, Any] | None) -> dict[str, Any]:
    return {key: value for key, value in (block or {}).items() if value is not None}
