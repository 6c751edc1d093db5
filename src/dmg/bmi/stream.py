"""A trained model that goes on by one step at a time: network memory, stores and rivers advance, statics are held."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from dmg.core.data.batch import Batch
from dmg.core.data.loaders.site_data import FLOWS
from dmg.engine import ModelState, ProcessModel
from dmg.models.delta_models import DeltaState
from dmg.models.multimodels import ENSEMBLE

if TYPE_CHECKING:
    from dmg.trainers.run import Run

States = dict[str, DeltaState]


class Stream:
    """The models of a run over some nodes, one step at a time.

    Parameters
    ----------
    run
        The trained run; its weights are not touched.
    template
        A batch of one step: attributes of the nodes, and what everything is called.
    outputs
        Names of outputs and states to compute at every step.

    Attributes
    ----------
    state
        Full state after the last step, name of a model to state. A step replaces it and changes nothing in place.
    """

    def __init__(self, run: Run, template: Batch, outputs: Sequence[str]) -> None:
        self.run, self.outputs = run, tuple(outputs)
        handler = run.model
        self.dtype = next((p.dtype for p in handler.parameters()), torch.float32)
        inputs = {key: value for key, value in template.stored().items() if key != "target"}
        batch = Batch(inputs, sites=template.sites, times=template.times, names=template.names, units=template.units)
        self.batch = self._in_precision(batch)
        self.nodes = self.batch.n_sites
        several = handler.models.items() if len(handler.models) > 1 else ()
        self._plain = {f"{m}_{n}": n for m, model in several for n in _units_of(run, model)}
        self._original: dict[str, np.ndarray] = {}
        self.state: States = self.cold_state()

    def ask_for(self, outputs: Sequence[str]) -> None:
        """Compute other outputs from now on; ways to gauges only where something there is asked for."""
        self.outputs = tuple(dict.fromkeys(outputs))
        upstream = self.batch.get("upstream")
        if upstream is not None and not set(self.outputs) & set(self.process.gathered):
            self.batch["upstream"] = replace(upstream, outlet_topo=upstream.outlet_topo[:0], paths=upstream.paths[:0])

    @property
    def process(self) -> ProcessModel | None:
        """The process model, if there is one only."""
        models = [physics_of(m) for m in self.run.model.models.values()]
        return models[0] if len(models) == 1 else None

    @property
    def units(self) -> Batch:
        """What the models see of the nodes; of models of two time steps the hours."""
        upstream = self.batch.get("upstream")
        return self.batch if upstream is None else upstream.hourly

    def _in_precision(self, batch: Batch) -> Batch:
        """Return a copy of a batch on the device and in the precision of the models."""

        def copied(value: Tensor) -> Tensor:
            real = value.is_floating_point()
            return value.to(self.run.model.device, self.dtype if real else value.dtype, copy=True)

        made = batch.map_tensors(copied)
        upstream = batch.get("upstream")
        if upstream is not None:
            made["upstream"] = replace(
                upstream,
                hourly=upstream.hourly.map_tensors(copied),
                daily=upstream.daily.map_tensors(copied),
                outlet_topo=copied(upstream.outlet_topo),
                paths=copied(upstream.paths),
            )
        return made

    @property
    def is_settled(self) -> bool:
        """Whether static parameters and stores are known."""
        process, state = self.process, next(iter(self.state.values()))
        return process is None or (state.static is not None and len(state.process.stores) == len(process.states))

    def own(self, states: States) -> States:
        """Return states in the precision and on the device of the models."""

        def moved(value: Any) -> Any:
            if isinstance(value, Tensor):
                return value.to(self.run.model.device, self.dtype)
            return tuple(moved(v) for v in value) if isinstance(value, tuple | list) else value

        return {
            name: DeltaState(moved(s.network), moved(s.static), s.process.map(moved) if s.process else None)
            for name, s in states.items()
        }

    @property
    def has_constant_statics(self) -> bool:
        """Whether static parameters follow from the site alone."""
        (model, *_) = self.run.model.models.values()
        return bool(getattr(model, "has_constant_statics", False) or hasattr(model.nn_model, "raw_parameters"))

    def attribute(self, name: str) -> np.ndarray:
        """Return an attribute of the nodes."""
        batch = self.units
        key = next(key for key in ("c_nn", "c_phy") if name in batch.names[key])
        return batch[key][:, batch.names[key].index(name)].double().cpu().numpy()

    @torch.no_grad()
    def set_attribute(self, name: str, values: np.ndarray) -> None:
        """Replace an attribute of the nodes; static parameters that follow from attributes are computed again."""
        self._original.setdefault(name, self.attribute(name))
        self._write_attribute(name, values)
        if self.has_constant_statics:
            self.state = {label: replace(state, static=None) for label, state in self.state.items()}
            self.settle()

    @property
    def changed_attributes(self) -> dict[str, np.ndarray]:
        """The attributes that were set, with their values now."""
        return {name: self.attribute(name) for name in self._original}

    def replace_attributes(self, changed: Mapping[str, np.ndarray]) -> None:
        """Have these attributes changed and no others; the state is left as it is."""
        for name in [*changed, *self._original]:
            self._original.setdefault(name, self.attribute(name))
            self._write_attribute(name, changed.get(name, self._original[name]))

    def _write_attribute(self, name: str, values: np.ndarray) -> None:
        batch = self.units
        for key in ("c_phy", "c_nn", "c_nn_norm"):
            if name in batch.names.get(key, ()):
                new = self.run.normalisation.apply(name, values) if key == "c_nn_norm" else values
                batch[key][:, batch.names[key].index(name)].copy_(torch.from_numpy(new))

    def cold_state(self) -> States:
        """Return the state of a cold start: initial stores, an empty river, a network without memory."""
        found = {}
        for name, model in self.run.model.models.items():
            process, device = physics_of(model), self.run.model.device
            cold = None if process is None else process.cold_state(self.nodes, dtype=self.dtype, device=device)
            found[name] = DeltaState(process=cold)
        if self.run.model.ensemble is not None:
            found[ENSEMBLE] = DeltaState()
        return found

    @torch.no_grad()
    def settle(self, forcing: Mapping[str, np.ndarray] | None = None) -> bool:
        """Hold the static parameters that a first step gives, and fill the stores that start from a parameter.

        Returns whether there was something to do: after a cold start only.

        Parameters
        ----------
        forcing
            Of that step; without it only parameters that need none are settled.
        """
        if self.is_settled:
            return False
        name, state = next(iter(self.state.items()))
        process = self.process
        if forcing is None and not self.has_constant_statics:
            return False
        if forcing is not None:
            self._supply(forcing)
        raw = self.run.model.models[name].window(self.batch, state, static="held", outputs=self.outputs).raw
        stores = process.complete_stores(state.process.stores, raw, process.layout)
        settled = ModelState(stores, state.process.routing)
        self.state = {name: replace(state, static=raw.static, process=settled)}
        return True

    @torch.no_grad()
    def step(self, forcing: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Go on by one step.

        Parameters
        ----------
        forcing
            Name to values [N] in the units of the models.

        Returns
        -------
        dict
            Name of an output to values [N], float64, in the units of the models.
        """
        self._supply(forcing)
        return self._advance(self.batch)

    @torch.no_grad()
    def spin_up(self, batch: Batch, warmup: int) -> dict[str, np.ndarray]:
        """Run through the steps before the first, and return the outputs of the last of them.

        Parameters
        ----------
        batch
            All of these steps.
        warmup
            The step at whose end static parameters are read and held from then on; the last of the batch if that is
            shorter.
        """
        batch = self._in_precision(batch)
        if "upstream" in batch:
            self.state = {}
            return self._advance(batch)
        self.state = self.cold_state()
        first = min(max(warmup, 1), batch.n_times)
        found = self._advance(batch.select(times=slice(0, first)), static="last")
        return found if first == batch.n_times else self._advance(batch.select(times=slice(first, None)))

    def _supply(self, forcing: Mapping[str, np.ndarray]) -> None:
        """Write the forcing of a step into the batch."""
        batch, norm = self.units, self.run.normalisation
        for key in ("x_phy", "x_nn"):
            if key in batch:
                self._fill(batch[key], [forcing[name] for name in batch.names[key]])
        names = batch.names["x_nn_norm"]
        self._fill(batch["x_nn_norm"], [norm.apply(name, forcing[name]) for name in names])

    def _advance(self, batch: Batch, static: str = "held") -> dict[str, np.ndarray]:
        handler = self.run.model
        plain = dict.fromkeys(self._plain.get(name, name) for name in self.outputs)
        found = handler(batch, state=self.state, static=static, outputs=list(plain), whole_state=True)
        values: dict[str, np.ndarray] = {}
        scale = batch.get("denorm_fn")
        for label, series in found.items():
            for name in plain:
                shown = self._label(label, name)
                if shown not in self.outputs:
                    continue
                last: Tensor = series[name][-1, :, 0]
                if scale is not None and name in scale.names and self._is_network:
                    last = scale(last[None], name)[0]
                values[shown] = last.double().cpu().numpy()
        self.state = handler.get_states()
        return values

    @property
    def _is_network(self) -> bool:
        """Whether there is no process model, so that outputs are as the network was trained on them."""
        return all(getattr(m, "phy_model", None) is None for m in self.run.model.models.values())

    def _label(self, model: str, name: str) -> str:
        """Return the name of an output of one of the models, plain if there is one model or it is their ensemble's."""
        return name if model == ENSEMBLE or len(self.run.model.models) == 1 else f"{model}_{name}"

    @staticmethod
    def _fill(target: Tensor, columns: list[np.ndarray]) -> None:
        if columns:
            target.copy_(torch.from_numpy(np.stack(columns, axis=-1))[None])


def physics_of(model: Any) -> ProcessModel | None:
    """Return the process model by whose steps a coupled model goes: of two time steps that of the hours."""
    phy = getattr(model, "phy_model", None)
    found = getattr(phy, "hif_model", phy)
    return found if isinstance(found, ProcessModel) else None


def output_units(run: Run) -> dict[str, str]:
    """Return what the models of a run can give at every step, outputs and states, with their units.

    Of several models side by side that is what all of them have, as ``<model>_<output>``, and plain of their ensemble.
    """
    several = [_units_of(run, model) for model in run.model.models.values()]
    if len(several) == 1:
        return several[0]
    common = [name for name in several[0] if all(name in units for units in several)]
    labelled = {f"{m}_{n}": units[n] for m, units in zip(run.model.models, several, strict=True) for n in common}
    return labelled | ({n: several[0][n] for n in common} if run.model.ensemble is not None else {})


def _units_of(run: Run, model: Any) -> dict[str, str]:
    process = physics_of(model)
    if process is None:
        trained = run.normalisation.about.get("units", {})
        flow = run.config.model.output_unit
        return {n: flow if n in FLOWS else trained.get(n) or "1" for n in run.config.train.target}
    declared = {d.name: d.unit or "1" for d in (*process.fluxes, *process.states)}
    if process is not model.phy_model:  # of two time steps, which knows where the water goes
        declared |= {name: process.derived_units[name] for name in process.gathered}
    return declared | {f"{n}_no_rout": declared[n] for n in process.routed if n in declared}
