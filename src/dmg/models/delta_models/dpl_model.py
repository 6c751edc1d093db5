"""Differentiable parameter learning: a network supplies the parameters of a process model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from dmg.core.utils.evaluating import evaluating
from dmg.core.utils.precision import network_precision
from dmg.engine import Budget, ModelState, ProcessModel, RawParameters, account
from dmg.errors import ConfigError, StepError
from dmg.models.delta_models.delta_state import DeltaState
from dmg.registry import delta_models, process_models

STATIC_CONVENTIONS = ("last", "held")


@dataclass(frozen=True)
class Window:
    """What a process model runs over: the steps behind the warm-up, and the state after it.

    Parameters
    ----------
    forcing
        [T, B, F].
    attributes
        Name to values [B] of those that the model declares.
    raw
        Network output before link and bounds.
    start
        Full state before the first step.
    memory
        Hidden state of the network after the last step.
    weights
        Component weights of the total flow, if there are any.
    downstream
        Where the sites flow to, if the model gathers them.
    before
        Name to series [warmup, B] of what was computed in the warm-up.
    correction
        What a network that corrects the outputs sees, and its hidden state before the first step.
    """

    forcing: Tensor
    attributes: Mapping[str, Tensor]
    raw: RawParameters
    start: ModelState
    memory: Any = None
    weights: Tensor | None = None
    downstream: Any = None
    before: Mapping[str, Tensor] = field(default_factory=dict)
    correction: tuple[Any, Any] | None = None

    def part(self, begin: int, end: int | None = None, start: ModelState | None = None) -> Window:
        """Return the steps ``begin`` to ``end`` (exclusive), to be run from a state of their own if one is given."""
        end = len(self.forcing) if end is None else end
        return replace(
            self, forcing=self.forcing[begin:end], raw=self.raw.window(begin, end), start=start or self.start
        )


@delta_models.register("DplModel")
class DplModel(nn.Module):
    """A network that maps forcings and attributes to parameters, and the process model that takes them.

    Parameters
    ----------
    phy_model_name
        Name of the process model, if it is to be built from ``config``.
    phy_model
        A process model: a `ProcessModel`, or any module with ``learnable_param_count`` and
        ``forward(x_dict, parameters) -> dict``.
    nn_model
        A network [T, B, nx] -> [T, B, ny]. One that offers ``features`` and ``head`` computes only the channels that
        the process model reads; one that offers ``raw_parameters(data, layout)`` answers by itself.
    config
        The block ``model``, to build what is not given.
    device
        Where to build it.

    Attributes
    ----------
    precision
        ``float32`` or ``bf16``: arithmetic of the network in training; the process model's is float32 in any case.
    keeps_budget
        Whether the forcing that is given and the outputs that are returned are those of the process model.

    Examples
    --------
    Called with a data set alone, the model behaves as published: no state, warm-up at the start of the window. ``run``
    goes from a full state to a full state.
    """

    keeps_budget: ClassVar[bool] = True

    def __init__(
        self,
        *,
        phy_model_name: str | None = None,
        phy_model: nn.Module | None = None,
        nn_model: nn.Module | None = None,
        config: Mapping[str, Any] | None = None,
        device: torch.device | str = "cpu",
    ) -> None:
        super().__init__()
        if phy_model is None:
            if phy_model_name is None or config is None:
                raise ConfigError(
                    "DplModel got neither a process model nor a name and a configuration to build one",
                    hint="pass phy_model=, or phy_model_name= and config=",
                )
            phy_model = process_models.get(phy_model_name)(config["phy"], device)
        if nn_model is None:
            if config is None:
                raise ConfigError("DplModel got no network", hint="pass nn_model=, or config= to build one")
            from dmg.models.neural_networks import load_nn_model

            nn_model = load_nn_model(config, phy_model, device=device)
        self.phy_model = phy_model.to(device)
        self.nn_model = nn_model.to(device)
        self.precision = "float32"
        if isinstance(phy_model, ProcessModel):
            # One logistic between network and bounds: that of a network which ends in one, or else the model's.
            link = "identity" if getattr(nn_model, "bounded", False) else "logistic"
            phy_model.layout = replace(phy_model.layout, link=link)

    @property
    def has_constant_statics(self) -> bool:
        """Whether static parameters follow from attributes, so that ``last`` and ``held`` are the same."""
        return len(getattr(self.nn_model, "inputs", ())) > 1

    def forward(
        self,
        data_dict: Mapping[str, Any],
        eval: bool = False,
        batched: bool = False,
        outputs: Sequence[str] | None = None,
    ) -> dict[str, Tensor]:
        """Run as published, without a given state; see `ProcessModel.forward`.

        Parameters
        ----------
        data_dict
            ``xc_nn_norm`` [T, B, nx] and what the process model reads (``x_phy``, ``muwts`` …); or gauges with
            ``upstream`` (`Catchments`), the units above them, whose flow the process model gathers.
        eval
            Run in evaluation mode and without gradient.
        batched
            Accepted for compatibility.
        outputs
            Names of the outputs to compute, states among them if they are wanted as series; all fluxes if absent.

        Returns
        -------
        dict
            Name to series [T - warmup, B, 1].
        """
        if eval:
            with evaluating(self):
                return self.forward(data_dict, outputs=outputs)
        if not isinstance(self.phy_model, ProcessModel):
            return self.phy_model(data_dict, self.nn_model(data_dict["xc_nn_norm"]))
        if "upstream" in data_dict:
            return self.run(data_dict, outputs=outputs)[0]
        steps = data_dict["x_phy"].shape[0]
        raw, _ = self.raw_parameters(data_dict, self.phy_model.static_steps(steps))
        return self.phy_model(data_dict, raw, outputs=outputs)

    def run(
        self,
        data_dict: Mapping[str, Any],
        state: DeltaState | None = None,
        *,
        static: str = "last",
        outputs: Sequence[str] | None = None,
    ) -> tuple[dict[str, Tensor], DeltaState]:
        """Run from a full state to a full state.

        Without a state the run starts cold and the first ``warmup`` steps are an ordinary run without gradient, with
        the window's own parameters, whose full state is handed on; their outputs are not returned.

        Parameters
        ----------
        data_dict
            As for ``forward``.
        state
            Full state before the first step.
        static
            ``last``: static parameters are the network's output at the last step of the window, as in the published
            system. ``held``: its output at the end of the spin-up, never from the future; kept in the state.
        outputs
            Names of the outputs to compute, states among them if they are wanted as series; all fluxes if absent.

        Returns
        -------
        outputs
            Name to series [T - warmup, B, 1], or [T, B, 1] if a state was given.
        state
            Full state after the last step.

        Raises
        ------
        StepError
            If the window is not longer than the warm-up, or a state is given to a model that keeps none.
        """
        model = self.phy_model
        if not isinstance(model, ProcessModel):
            if state is not None:
                raise StepError(
                    f"{type(model).__name__} keeps no state that a run could start from",
                    hint="derive it from dmg.engine.ProcessModel",
                )
            return self.forward(data_dict), DeltaState()
        window = self.window(data_dict, state, static=static, outputs=outputs)
        return self.run_window(window, outputs)

    def window(
        self,
        data_dict: Mapping[str, Any],
        state: DeltaState | None = None,
        *,
        static: str = "last",
        outputs: Sequence[str] | None = None,
    ) -> Window:
        """Run the network and the warm-up: everything that the process model needs for the rest of the window.

        Parameters
        ----------
        data_dict, state, static, outputs
            As for ``run``.
        """
        model = self.phy_model
        if static not in STATIC_CONVENTIONS:
            raise ConfigError(f"static is '{static}'", hint=f"choose one of {', '.join(STATIC_CONVENTIONS)}")
        data_dict = of_units(data_dict)
        forcing, attributes = model.read_forcing(data_dict), model.read_attributes(data_dict)
        downstream = model.read_downstream(data_dict)
        steps, sites = forcing.shape[:2]
        warmup = model.warmup if state is None else 0
        if warmup >= steps:
            raise StepError(
                f"the window has {steps} steps, the warm-up takes {warmup} of them",
                hint="give a longer window or a shorter model.warmup",
            )
        step = steps - 1 if static == "last" else max(warmup - 1, 0)
        held = state.static if static == "held" and state is not None else None
        raw_at, memory = self.raw_parameters(data_dict, (step,), state.network if state else None, held)
        raw = model.drop_dynamics(raw_at[step])
        process = state.process if state else model.cold_state(sites, dtype=forcing.dtype, device=forcing.device)
        before: dict[str, Tensor] = {}
        if warmup:
            with torch.no_grad():
                wanted = self._in_warmup(outputs)
                if downstream is not None:
                    wanted += [name for name in model.gathered if outputs is None or name in outputs]
                before, process = model.run(
                    forcing[:warmup],
                    raw.window(0, warmup),
                    process,
                    attributes=attributes,
                    outputs=wanted,
                    downstream=downstream,
                )
        rest, weights = raw.window(warmup, steps), data_dict.get("muwts")
        return Window(forcing[warmup:], attributes, rest, process, memory, weights, downstream, before)

    def run_window(self, window: Window, outputs: Sequence[str] | None = None) -> tuple[dict[str, Tensor], DeltaState]:
        """Run the process model over a window; returns what ``run`` does."""
        model = self.phy_model
        series, process = model.run(
            window.forcing,
            window.raw,
            window.start,
            attributes=window.attributes,
            outputs=self._of_process(outputs),
            weights=window.weights,
            downstream=window.downstream,
        )
        result = {name: values if name in model.derived else values[..., None] for name, values in series.items()}
        result |= self._parameters_among(outputs, window.raw)
        return result, DeltaState(window.memory, window.raw.static, process)

    def _in_warmup(self, outputs: Sequence[str] | None) -> list[str]:
        """Return what the process model computes in the warm-up: what its river remembers."""
        model = self.phy_model
        return [name for name in model.routed if name in model.fluxes_of(self._of_process(outputs))]

    def _of_process(self, outputs: Sequence[str] | None) -> list[str] | None:
        """Return the outputs that the process model computes; the others are parameters."""
        learned = self.phy_model.parameter_bounds
        return None if outputs is None else [name for name in outputs if name not in learned]

    def _parameters_among(self, outputs: Sequence[str] | None, raw: RawParameters) -> dict[str, Tensor]:
        """Return the parameters that are asked for as outputs, [T, B, 1]: means over components, in their units."""
        asked = [name for name in outputs or () if name in self.phy_model.parameter_bounds]
        if not asked:
            return {}
        found = self.phy_model.physical_parameters(raw)
        means = {name: found[name].mean(-1) for name in asked}
        steps = raw.dynamic.shape[0]
        return {n: (v if v.ndim == 2 else v.expand(steps, -1))[..., None] for n, v in means.items()}

    def budget(self, window: Window) -> Budget:
        """Return the budget of the process model over a window, recomputed in float64, per site."""
        return account(self.phy_model, window.forcing, window.raw, window.start, attributes=window.attributes)

    def raw_parameters(
        self,
        data_dict: Mapping[str, Any],
        static_steps: Sequence[int],
        memory: Any = None,
        held: Tensor | None = None,
    ) -> tuple[dict[int, RawParameters], Any]:
        """Run the network.

        Parameters
        ----------
        data_dict
            ``xc_nn_norm``; ``x_nn_norm`` and ``c_nn_norm`` for a network with separate inputs.
        static_steps
            Steps at which static parameters are read.
        memory
            Hidden state before the first step.
        held
            Raw static parameters to use at every step instead of the network's, which are not computed then.

        Returns
        -------
        raw
            Step to parameters.
        memory
            Hidden state after the last step; None without one.
        """
        if not self.training or self.precision == "float32":
            return self._run_network(data_dict, static_steps, memory, held)
        with network_precision(self.precision, data_dict["x_phy"]):
            found, memory = self._run_network(data_dict, static_steps, memory, held)
        return {step: raw.map(Tensor.float) for step, raw in found.items()}, memory

    def _run_network(
        self, data_dict: Mapping[str, Any], static_steps: Sequence[int], memory: Any, held: Tensor | None
    ) -> tuple[dict[int, RawParameters], Any]:
        layout, network = self.phy_model.layout, self.nn_model
        two = len(getattr(network, "inputs", ())) > 1
        if hasattr(network, "raw_parameters"):
            found = dict.fromkeys(static_steps, network.raw_parameters(data_dict, layout))
        elif two and not hasattr(network, "static"):
            found = dict.fromkeys(static_steps, layout.join(network(*(data_dict[key] for key in network.inputs))))
        elif not hasattr(network, "features"):
            found = self.phy_model.split(network(data_dict["xc_nn_norm"]), static_steps)
        else:
            return self._run_memory(data_dict, static_steps, memory, held)
        return {step: raw if held is None else replace(raw, static=held) for step, raw in found.items()}, None

    def _run_memory(
        self, data_dict: Mapping[str, Any], static_steps: Sequence[int], memory: Any, held: Tensor | None
    ) -> tuple[dict[int, RawParameters], Any]:
        """Run a network that has a memory, and of its heads those whose outputs are wanted."""
        layout, network = self.phy_model.layout, self.nn_model
        if len(getattr(network, "inputs", ())) > 1:
            hidden, memory = network.features(data_dict[network.inputs[0]], memory)
            static = network.static(data_dict[network.inputs[1]]) if held is None else held
            return dict.fromkeys(static_steps, layout.join((network.head(hidden), static))), memory
        hidden, memory = network.features(data_dict["xc_nn_norm"], memory)
        dynamic = network.head(hidden, layout.dynamic_channels)
        if held is not None:
            return dict.fromkeys(static_steps, RawParameters(dynamic, held)), memory
        return {
            step: RawParameters(dynamic, network.head(hidden[step], layout.static_channels)) for step in static_steps
        }, memory

    def physical_parameters(self, data_dict: Mapping[str, Any], static: str = "last") -> dict[str, Tensor]:
        """Return the learned parameters in their units: static [B, M], dynamic [T, B, M], of the router [B]."""
        data_dict = of_units(data_dict)
        steps = data_dict["x_phy"].shape[0]
        step = steps - 1 if static == "last" else max(self.phy_model.warmup - 1, 0)
        with evaluating(self):
            return self.phy_model.physical_parameters(self.raw_parameters(data_dict, (step,))[0][step])


def of_units(data_dict: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the inputs of the sites that are run: of gauges, those of the units above them."""
    return data_dict["upstream"].inputs() if "upstream" in data_dict else data_dict
