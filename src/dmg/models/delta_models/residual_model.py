"""Residual correction: a network corrects what the process model simulates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from dmg.engine import ProcessModel
from dmg.errors import ConfigError, StepError, did_you_mean
from dmg.models.delta_models.delta_state import DeltaState
from dmg.models.delta_models.dpl_model import DplModel, Window
from dmg.registry import delta_models, networks

HOW = ("add", "multiply")
#: Ending of the name of an output as the process model gives it.
UNCORRECTED = "_process"


@delta_models.register("ResidualModel")
class ResidualModel(DplModel):
    """A `DplModel` with a second network that corrects simulated series.

    The network sees what the first one sees, and the logarithm of one more than what it corrects. It may have a memory,
    which is part of the state and spun up with it. At first it corrects nothing. What the process model
    gave is the output ``<name>_process``; its budget is not that of the corrected series.

    Parameters
    ----------
    config
        The block ``model``; its block ``coupling`` has ``corrects`` (names of outputs, the total flow of the process
        model), ``how`` (add: what the network gives is added, and what is below zero is zero; multiply: its exponential
        is a factor) and ``network``, a block like ``model.nn`` ({name: LstmModel, hidden_size: 16}).
    options
        As for `DplModel`.

    Raises
    ------
    ConfigError
        For an output that the process model does not have.
    """

    options: ClassVar[tuple[str, ...]] = ("corrects", "how", "network")
    keeps_budget: ClassVar[bool] = False

    def __init__(self, *, config: Mapping[str, Any], **options: Any) -> None:
        super().__init__(config=config, **options)
        block, model = config["coupling"], self.phy_model
        if not isinstance(model, ProcessModel):
            raise ConfigError(
                f"the outputs of {type(model).__name__} are not declared", where="model.coupling", hint="name: DplModel"
            )
        known = [flux.name for flux in model.fluxes]
        corrects = block.get("corrects") or model.total or known[0]
        self.corrects = [corrects] if isinstance(corrects, str) else list(corrects)
        self.how = str(block.get("how") or "add")
        for value, names, key in ((self.how, HOW, "how"), *((name, known, "corrects") for name in self.corrects)):
            if value not in names:
                raise ConfigError(
                    f"nothing to correct by '{value}'" if key == "how" else f"there is no output '{value}'",
                    where=f"model.coupling.{key}",
                    hint=did_you_mean(value, names),
                )
        nn_block = config["nn"]
        self.sees = len(nn_block.get("forcings") or ()) + len(nn_block.get("attributes") or ())
        network = dict(block.get("network") or {"name": "LstmModel", "hidden_size": 16, "dropout": 0.0})
        count = len(self.corrects)
        made = networks.get(network.pop("name", "LstmModel")).from_config(network, self.sees + count, count)
        device = next(self.parameters(), torch.empty(0)).device
        self.residual_network = made.to(device)
        # Grows from zero: at first the process model stands alone.
        self.gain = nn.Parameter(torch.zeros(count, device=device))

    def window(
        self,
        data_dict: Mapping[str, Any],
        state: DeltaState | None = None,
        *,
        static: str = "last",
        outputs: Sequence[str] | None = None,
    ) -> Window:
        """Return what the process model runs over, and what the second network sees; see `DplModel.window`."""
        if "upstream" in data_dict:
            raise StepError(
                "a residual correction sees the inputs of sites, and these are gauges with units above them",
                where="model.coupling",
                hint="name: DplModel",
            )
        own, memory = state.network if state is not None and state.network is not None else (None, None)
        inner = None if state is None else replace(state, network=own)
        window = super().window(data_dict, inner, static=static, outputs=self._needed(outputs))
        seen, start = data_dict["xc_nn_norm"] if self.sees else None, 0
        if window.before:
            plain = torch.stack([window.before[name] for name in self.corrects], dim=-1)
            start = len(plain)
            with torch.no_grad():
                _, memory = self.correct(plain, None if seen is None else seen[:start])
        return replace(window, correction=(None if seen is None else seen[start:], memory))

    def run_window(self, window: Window, outputs: Sequence[str] | None = None) -> tuple[dict[str, Tensor], DeltaState]:
        """Run the process model over a window and correct it; a window without inputs for that is left as it is."""
        series, state = super().run_window(window, self._needed(outputs))
        if window.correction is None:
            return series, state
        plain = torch.cat([series[name] for name in self.corrects], dim=-1)
        corrected, memory = self.correct(plain, *window.correction)
        for name, values in zip(self.corrects, corrected.split(1, dim=-1), strict=True):
            series[f"{name}{UNCORRECTED}"], series[name] = series[name], values
        wanted = list(series) if outputs is None else outputs
        return {name: series[name] for name in wanted}, replace(state, network=(state.network, memory))

    def correct(self, plain: Tensor, seen: Tensor | None, memory: Any = None) -> tuple[Tensor, Any]:
        """Return corrected series [T, B, K], and the memory of the network after the last step.

        Parameters
        ----------
        plain
            Series [T, B, K] of the process model.
        seen
            Inputs of the first network [T, B, nx]; None if it has none.
        memory
            Of the second network before the first step.
        """
        logs = torch.log1p(torch.relu(plain))
        inputs = logs if seen is None else torch.cat([seen.to(plain), logs], dim=-1)
        network = self.residual_network
        if hasattr(network, "features"):
            hidden, memory = network.features(inputs, memory)
            raw = network.head(hidden)
        else:
            raw = network(inputs)
        # Around zero, also of a network whose outputs are in (0, 1).
        raw = self.gain * (2.0 * raw - 1.0 if getattr(network, "bounded", False) else raw)
        return torch.relu(plain + raw) if self.how == "add" else plain * torch.exp(raw), memory

    def forward(
        self,
        data_dict: Mapping[str, Any],
        eval: bool = False,
        batched: bool = False,
        outputs: Sequence[str] | None = None,
    ) -> dict[str, Tensor]:
        """Run as published and correct it; see `DplModel.forward`."""
        if eval:
            return super().forward(data_dict, eval=True, outputs=outputs)
        series = super().forward(data_dict, outputs=self._needed(outputs))
        plain = torch.cat([series[name] for name in self.corrects], dim=-1)
        seen = data_dict["xc_nn_norm"][-len(plain) :] if self.sees else None
        for name, values in zip(self.corrects, self.correct(plain, seen)[0].split(1, dim=-1), strict=True):
            series[f"{name}{UNCORRECTED}"], series[name] = series[name], values
        return {name: series[name] for name in (series if outputs is None else outputs)}

    def _in_warmup(self, outputs: Sequence[str] | None) -> list[str]:
        return list(dict.fromkeys([*super()._in_warmup(outputs), *self.corrects]))

    def _needed(self, outputs: Sequence[str] | None) -> list[str] | None:
        """Return the outputs that the process model has to give."""
        if outputs is None:
            return None
        ours = [f"{name}{UNCORRECTED}" for name in self.corrects]
        return list(dict.fromkeys([*(name for name in outputs if name not in ours), *self.corrects]))
