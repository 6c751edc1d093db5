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
from dmg.models.heads import make_head
from dmg.models.neural_networks.monte_carlo import draws_noise
from dmg.registry import delta_models


@delta_models.register("NnModel")
class NnModel(nn.Module):
    """A network whose outputs are the targets themselves, or distributions of them (``model.head``).

    Parameters
    ----------
    target_names
        Names; the network has one output for each, or as many as the head needs.
    model
        A network [T, B, nx] -> [T, B, number of targets * width of the head].
    config
        The block ``model``: ``warmup`` steps are cut from every output, ``head`` says what the outputs mean; the
        network is built from it if none is given.
    device
        Where to build it.

    Attributes
    ----------
    head
        What the network says of a target.
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
        self.head = make_head(config.get("head"))
        self.precision = "float32"

    @property
    def target_of(self) -> dict[str, str]:
        """Name of a quantile to the target that it is one of."""
        return {name: target for target in self.target_names for name in self.head.reported(target)}

    def forward(
        self,
        data_dict: Mapping[str, Any],
        eval: bool = False,
        batched: bool = False,
        outputs: Sequence[str] | None = None,
    ) -> dict[str, Tensor]:
        """Return target name to prediction [T - warmup, B, 1]; with a head that tells distributions also quantiles."""
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
        width = self.head.width
        if prediction.shape[-1] != width * len(self.target_names):
            several = f", of which each needs {width}" if width > 1 else ""
            raise ConfigError(
                f"the network has {prediction.shape[-1]} outputs for {len(self.target_names)} targets "
                f"({', '.join(self.target_names)}){several}",
                where="model.nn.out_size",
                hint="set it to the number of train.target",
            )
        warmup = self.warmup if state is None else 0
        if warmup >= x.shape[0]:
            raise StepError(
                f"the window has {x.shape[0]} steps, the warm-up takes {warmup} of them",
                hint="give a longer window or a shorter model.warmup",
            )
        wanted = [*self.target_names, *self.target_of] if outputs is None else outputs
        series: dict[str, Tensor] = {}
        for target, raw in zip(self.target_names, prediction[warmup:].split(width, dim=-1), strict=True):
            series |= self.head.series(target, raw, draw=draws_noise())
        return {name: values for name, values in series.items() if name in wanted}, DeltaState(memory)
