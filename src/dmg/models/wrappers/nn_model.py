"""A network alone, in the place of a coupled model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from dmg.core.utils.evaluating import evaluating
from dmg.core.utils.precision import network_precision
from dmg.errors import ConfigError, StepError
from dmg.models.delta_models.delta_state import DeltaState
from dmg.registry import delta_models


@delta_models.register("NnModel")
class NnModel(nn.Module):
    """A network whose outputs are the targets themselves.

    Parameters
    ----------
    target_names
        One name per output of the network.
    model
        A network [T, B, nx] -> [T, B, number of targets].
    config
        The block ``model``: ``warmup`` steps are cut from every output; the network is built from it if none is given.
    device
        Where to build it.

    Attributes
    ----------
    precision
        ``float32`` or ``bf16``: arithmetic of the network in training.
    """

    def __init__(
        self,
        *,
        target_names: Sequence[str],
        model: nn.Module | None = None,
        config: Mapping[str, Any] | None = None,
        device: torch.device | str = "cpu",
    ) -> None:
        super().__init__()
        config = config or {}
        self.target_names = list(target_names)
        self.warmup = int(config.get("warmup", config.get("warm_up")) or 0)
        if model is None:
            from dmg.models.neural_networks import load_nn_model

            model = load_nn_model(config, device=device)
        self.nn_model = model.to(device)
        self.precision = "float32"

    def forward(
        self,
        data_dict: Mapping[str, Any],
        eval: bool = False,
        batched: bool = False,
        outputs: Sequence[str] | None = None,
    ) -> dict[str, Tensor]:
        """Return target name to prediction [T - warmup, B, 1]."""
        with evaluating(self) if eval else nullcontext():
            return self.run(data_dict, outputs=outputs)[0]

    def run(
        self,
        data_dict: Mapping[str, Any],
        state: DeltaState | None = None,
        *,
        static: str = "last",
        outputs: Sequence[str] | None = None,
    ) -> tuple[dict[str, Tensor], DeltaState]:
        """Run from a hidden state to a hidden state; without one, ``warmup`` steps are cut from the outputs.

        ``static`` has no meaning for a network alone and is accepted so that callers need not ask.
        """
        x = data_dict["xc_nn_norm"]
        memory = None
        with network_precision(self.precision if self.training else "float32", x):
            if hasattr(self.nn_model, "features"):
                hidden, memory = self.nn_model.features(x, state.network if state else None)
                prediction = self.nn_model.head(hidden)
            else:
                prediction = self.nn_model(x)
        if prediction.dtype is torch.bfloat16:
            prediction = prediction.float()
        if prediction.shape[-1] != len(self.target_names):
            raise ConfigError(
                f"the network has {prediction.shape[-1]} outputs for {len(self.target_names)} targets "
                f"({', '.join(self.target_names)})",
                where="model.nn.out_size",
                hint="set it to the number of train.target",
            )
        warmup = self.warmup if state is None else 0
        if warmup >= x.shape[0]:
            raise StepError(
                f"the window has {x.shape[0]} steps, the warm-up takes {warmup} of them",
                hint="give a longer window or a shorter model.warmup",
            )
        wanted = self.target_names if outputs is None else outputs
        series = {name: prediction[warmup:, :, i : i + 1] for i, name in enumerate(self.target_names) if name in wanted}
        return series, DeltaState(memory)
