"""An ensemble of models: their mean, or a sum under weights that a network gives each site and step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from dmg.core.utils.precision import network_precision
from dmg.core.utils.processes import gather_sites
from dmg.errors import ConfigError, did_you_mean
from dmg.models.delta_models.delta_state import DeltaState
from dmg.models.multimodels.combine import combine, scale_weights
from dmg.models.neural_networks import load_nn_model
from dmg.registry import losses

if TYPE_CHECKING:
    from dmg.conf.config import Config

ENSEMBLE = "ensemble"
"""Name of the ensemble beside its members, for states, losses and weight files."""


class Ensemble(nn.Module):
    """What several models give together, under ``multimodel_type`` avg, nn_parallel or nn_sequential.

    Parameters
    ----------
    config
        The configuration; its block ``multimodel`` describes the network of the weights.
    names
        Names of the models, in the order of the weights.
    device
        Where the network lives.

    Attributes
    ----------
    nn_model
        Network that gives the weights; None for a plain mean.
    weights
        Weights [T, B, M] of the last call; None for a plain mean.
    """

    def __init__(self, config: Config, names: Sequence[str], device: torch.device | str = "cpu") -> None:
        super().__init__()
        self.member_names = list(names)
        self.settings = settings = config.multimodel
        self.warmup, self.precision = config.model.warmup, config.train.precision
        nn_block = config.model.nn
        self.inputs = (settings.forcings or nn_block.forcings) + (settings.attributes or nn_block.attributes)
        self.known = [*nn_block.forcings, *nn_block.attributes]
        self.nn_model: nn.Module | None = None
        self.range_bound: nn.Module | None = None
        self.weights: Tensor | None = None
        if config.multimodel_type == "avg":
            return
        block = settings.model_dump() | {"forcings": self.inputs, "attributes": []}
        self.nn_model = load_nn_model(block, ensemble_list=self.member_names, device=device)
        # Weights of a softmax add up to 1 whatever the network says.
        if settings.use_rb_loss and settings.scaling_function == "sigmoid":
            self.range_bound = losses.get(settings.loss_function)(
                {
                    "lb": settings.loss_lower_bound,
                    "ub": settings.loss_upper_bound,
                    "loss_factor": settings.loss_factor,
                },
                device,
            )

    def forward(
        self, batch: Mapping[str, Any], members: Mapping[str, Mapping[str, Tensor]], state: DeltaState | None = None
    ) -> tuple[dict[str, Tensor], DeltaState | None]:
        """Return what the models give together, and the state of the network; None for a plain mean.

        Parameters
        ----------
        batch
            ``xc_nn_norm`` [T, B, nx], whose columns are found by name.
        members
            Name of a model to its outputs [T - warmup, B, 1], or [T, B, 1] if a state was given.
        state
            Hidden state of the network before the first step.
        """
        outputs = [members[name] for name in self.member_names]
        if self.nn_model is None:
            return combine(outputs), None
        x = self._inputs(batch)
        with network_precision(self.precision if self.training else "float32", x):
            if hasattr(self.nn_model, "features"):
                hidden, memory = self.nn_model.features(x, state.network if state else None)
                raw = self.nn_model.head(hidden)
            else:
                raw, memory = self.nn_model(x), None
        raw = raw[self.warmup if state is None else 0 :].to(x.dtype)
        self.weights = scale_weights(raw, self.settings.scaling_function, self.settings.mosaic)
        return combine(outputs, self.weights), DeltaState(memory)

    def range_loss(self) -> Tensor | None:
        """Return the penalty on sums of the last weights that leave the range; None where there is nothing to bind.

        It belongs to the graph of the weights: its gradient reaches the network.
        """
        if self.range_bound is None or self.weights is None:
            return None
        return self.range_bound(gather_sites(self.weights.sum(-1)))

    def _inputs(self, batch: Mapping[str, Any]) -> Tensor:
        x, names = batch["xc_nn_norm"], list(getattr(batch, "names", {}).get("xc_nn_norm") or self.known)
        if names == self.inputs:
            return x
        for name in self.inputs:
            if name not in names:
                raise ConfigError(
                    f"the network of the ensemble has no input '{name}'",
                    where="multimodel.forcings, multimodel.attributes",
                    hint=did_you_mean(name, names),
                )
        return x[..., [names.index(name) for name in self.inputs]]
