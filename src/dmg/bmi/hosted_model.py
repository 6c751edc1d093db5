"""A trained model under a host: gathers what is supplied, goes on when a model step is complete, shows results."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import torch

from dmg.bmi.catchments import (
    attribute_store,
    input_units,
    model_step,
    nodes_of,
    sites_dataset,
    spin_up_dataset,
    two_time_steps,
)
from dmg.bmi.config import BmiConfig
from dmg.bmi.derived_inputs import DerivedInputs, known_attributes
from dmg.bmi.exchange import input_links, output_links
from dmg.bmi.mass_balance import TERMS, UNIT, MassBalance
from dmg.bmi.own_variables import own_variables
from dmg.bmi.payload import Payload, is_payload
from dmg.bmi.shared_run import shared_run
from dmg.bmi.stream import Stream, output_units
from dmg.bmi.time_step import Aggregation, Disaggregation, host_steps
from dmg.bmi.variable import NODES, Computed, Variable
from dmg.conf.period import parse_date
from dmg.core.data.members import member_ids
from dmg.core.data.upstream import HOURS
from dmg.core.data.vocabulary import is_nonnegative
from dmg.engine.state import content
from dmg.errors import DataError, RunError
from dmg.models.full_state import FullState

logger = logging.getLogger(__name__)


class HostedModel:
    """A trained model at the catchments of a configuration, step by step of the host.

    Parameters
    ----------
    config
        The configuration, its paths absolute.

    Attributes
    ----------
    variables
        Name for the host to `Variable`.
    grids
        Size of every grid; the first is that of the nodes.
    steps
        Host steps since the clock was 0.
    """

    def __init__(self, config: BmiConfig) -> None:
        if config.threads:
            torch.set_num_threads(config.threads)
        self.config = config
        self.run = run = shared_run(config.model, epoch=config.epoch, device=config.device, dtype=config.dtype)
        self.model_step = step = model_step(run, config)
        seconds = float(step / np.timedelta64(1, "s"))
        self.host_step = float(config.time_step_seconds or seconds)
        self.count = host_steps(self.host_step, seconds)
        ids = [c.id for c in config.catchments]
        self.labels = ids if config.members == 1 else member_ids(ids, config.members)
        self.nodes = len(self.labels)
        areas = [c.area_km2 for c in config.catchments]
        self.area = None if None in areas else np.tile(np.array(areas, dtype=float), config.members)
        attributes = known_attributes(config.catchments, attribute_store(config), config.members)
        self.forcings = DerivedInputs(
            config.derive, input_units(run), attributes, config.inputs, count=self.count, step=step
        )
        self.inputs = input_links(config.inputs, self.forcings.supplied, seconds)
        self.outputs = output_links(config.outputs, output_units(run), self.host_step, self.area is not None)
        self.gathering = Aggregation(self.forcings.rules(self.inputs), self.count, self.nodes)
        self.steps = 0
        self._terms: dict[str, np.ndarray] | None = None
        first, payload = self._start(seconds)
        self.grids = [self.nodes]
        self.variables = {v.name: v for v in self._variables()}
        self._show(first)
        if payload is not None:
            self.restore(payload, f"state: {config.state}")

    def update(self) -> None:
        """Go on by one step of the host.

        Raises
        ------
        DataError
            If an input is missing or impossible; nothing is changed then.
        RunError
            If the model gives something that is no number; nothing is changed then.
        """
        supplied = {link.name: self.variables[link.name].values for link in self.inputs}
        self._check(supplied)
        gathered, state = self.gathering.state(), self.stream.state
        try:
            if self.gathering.add(supplied):
                self._go_on(self.gathering.take())
        except BaseException:
            self.gathering.restore(gathered)
            self.stream.state = state
            raise
        self.steps += 1
        self._show(self.showing.next())

    def save(self) -> bytes:
        """Return the state as bytes; nothing is changed."""
        component = {
            "time_step": self.host_step,
            "show": self.config.show,
            "steps": self.steps,
            "gathering": self.gathering.state(),
            "showing": self.showing.state(),
            "account": {"entered": self.account.entered, "left": self.account.left} if self.account else {},
            "attributes": self.stream.changed_attributes,
            "inputs": {link.name: self.variables[link.name].values for link in self.inputs},
            "outputs": {link.name: self.variables[link.name].values for link in self.outputs},
        }
        now = self._start_time + np.timedelta64(round(self.steps * self.host_step), "s")
        state = FullState.join(
            [self.stream.state],
            self.labels,
            time=now - self.model_step,
            step=self.model_step,
            fingerprint=self.run.model.fingerprint,
            weights=self.run.digest,
        )
        return Payload(state, component).pack()

    def restore(self, data: bytes, where: str = "ngen::serialization_state") -> None:
        """Go on from bytes that `save` returned, of the same catchments or more of them, in any order.

        The state of catchments without members becomes that of every member. The clock goes on where it was or not, as
        the configuration says.

        Raises
        ------
        RunError, DataError
            If they do not fit; nothing is changed then.
        """
        payload = Payload.unpack(data, where)
        saved, there = payload.component, payload.state
        there.require(self.run.model.fingerprint, self.run.digest, where)
        self._require_same(saved, where)
        sites = self._places(there.sites)
        states = there.of(sites, self.run.model.device)
        if any(t.dtype != self.stream.dtype for s in states.values() if s.process for t in s.process.stores.values()):
            raise RunError(
                f"the state has another precision than the component ({self.config.dtype})",
                where=where,
                hint="set dtype as it was; nothing was changed",
            )
        position = {site: i for i, site in enumerate(there.sites)}
        rows = [position[site] for site in sites]

        def pick(values: Mapping[str, Any]) -> dict[str, np.ndarray]:
            arrays = {name: np.asarray(v) for name, v in values.items()}
            return {name: v[rows] if v.ndim else v for name, v in arrays.items()}

        gathering, showing = deepcopy(self.gathering), deepcopy(self.showing)
        gathering.restore(pick(saved["gathering"]))
        showing.restore(pick(saved["showing"]))
        self.gathering, self.showing, self.stream.state = gathering, showing, states
        if self.account:
            account = pick(saved["account"])
            self.account.entered, self.account.left = account["entered"], account["left"]
        self.stream.replace_attributes(pick(saved["attributes"]))
        for name, values in (pick(saved["inputs"]) | pick(saved["outputs"])).items():
            self.variables[name].values[:] = values
        if self.config.clock == "resume":
            self.steps = int(saved["steps"])
        self._refresh()

    def _go_on(self, gathered: dict[str, np.ndarray]) -> None:
        """Run a model step."""
        forcing = self.forcings(gathered, self.inputs, self.area, self._step_begin())
        before = self.account.content() if self.account and not self.stream.is_settled else None
        self.stream.settle(forcing)
        gained = None if before is None else self.account.content() - before
        outputs = self.stream.step(forcing)
        for name, values in outputs.items():
            if not np.isfinite(values).all():
                bad = [self.labels[i] for i in np.flatnonzero(~np.isfinite(values))[:10]]
                raise RunError(
                    f"the model gives a '{name}' that is no number at {', '.join(bad)}",
                    hint="check inputs and attributes; nothing was changed",
                )
        self.showing.put(outputs)
        if self.account:
            self.account.add(forcing, outputs)
            if gained is not None:
                self.account.entered = self.account.entered + gained

    def _start(self, seconds: float) -> tuple[dict[str, np.ndarray], bytes | None]:
        """Bring the model to its start, after a spin-up, in a state of a run, or cold.

        Returns what is shown there, and a saved component that is to be restored.
        """
        config, run = self.config, self.run
        series = spin_up_dataset(run, config)
        if series is not None:
            self._check_before(series["time"].values)
        spin_up = None if series is None else run.inputs(series)
        if series is None or two_time_steps(run):
            some = sites_dataset(run, config) if series is None else series.isel(time=slice(0, 2 * HOURS))
            batch = run.inputs(some, days=False)
        else:
            batch = spin_up
        shown = list(dict.fromkeys(link.variable for link in self.outputs))
        self.stream = Stream(run, nodes_of(batch.select(times=slice(0, 1)), config.members), shown)
        self.account = MassBalance.of(self.stream, seconds)
        sinks = self.account.sinks if self.account else ()
        self.stream.ask_for([*shown, *(self.account.outputs if self.account else ())])
        stores = {s.name for s in (self.stream.process.states if self.stream.process else ())}
        self.showing = Disaggregation(
            [n for n in dict.fromkeys([*shown, *sinks]) if n not in stores],
            self.count,
            self.nodes,
            stores=[n for n in shown if n in stores],
            method=config.show,
        )
        saved = Path(config.state).read_bytes() if config.state and Path(config.state).is_file() else b""
        payload = saved if is_payload(saved) else None
        if spin_up is not None:
            last = self.stream.spin_up(nodes_of(spin_up, config.members), run.config.model.warmup)
            self.showing.put(last)
            first = self.showing.next()
        else:
            if config.state and payload is None:
                self.stream.state = self._state_of_run(config.state)
            elif not config.state:
                logger.warning("the component starts cold: stores, rivers and the memory of the network are empty")
            self.stream.settle()
            nothing = dict.fromkeys([*self.showing.fluxes, *shown], np.zeros(self.nodes))
            first = nothing | self._held(self.showing.stores)
            self.showing.put(first, shown=self.count)
        if self.account:
            self.account.begin(self.showing.waiting())
        return first, payload

    def _held(self, names: tuple[str, ...]) -> dict[str, np.ndarray]:
        """Return what stores hold per node; zero for one that is not known before the first step."""
        found = {}
        for name in names:
            (state,) = self.stream.state.values()
            store = state.process.stores.get(name)
            found[name] = np.zeros(self.nodes) if store is None else content(store).double().mean(-1).cpu().numpy()
        return found

    def _state_of_run(self, path: str) -> dict[str, Any]:
        """Return the state that a simulation saved."""
        state = FullState.load(path)
        state.require(self.run.model.fingerprint, self.run.digest, f"state: {path}")
        self._compare_start(state.next_time, "state")
        return self.stream.own(state.of(self._places(state.sites)))

    def _check_before(self, times: np.ndarray) -> None:
        """Refuse a spin-up of other steps than the model's; warn if it does not end where the component starts."""
        if len(times) > 1 and times[1] - times[0] != self.model_step:
            raise DataError(
                f"the spin-up has steps of {(times[1] - times[0]) / np.timedelta64(1, 's'):g} s, the model goes by "
                f"{self.model_step / np.timedelta64(1, 's'):g} s",
                where=f"spin_up: {self.config.spin_up}",
                hint="give a record of the model's own step",
            )
        self._compare_start(times[-1] + self.model_step, "spin-up")

    def _compare_start(self, end: np.datetime64, what: str) -> None:
        if end != self._start_time:
            logger.warning("the %s ends at %s, the component starts at %s", what, end, self._start_time)

    def _places(self, saved: list[str]) -> list[str]:
        """Return which of the saved sites each node goes on from: itself, or its catchment without members."""
        known, ids = set(saved), [c.id for c in self.config.catchments]
        return [
            label if label in known else ids[i % len(ids)] if ids[i % len(ids)] in known else label
            for i, label in enumerate(self.labels)
        ]

    def _require_same(self, saved: Mapping[str, Any], where: str) -> None:
        found = {
            "time step": (saved.get("time_step"), self.host_step),
            "way of showing": (saved.get("show"), self.config.show),
            "inputs": (sorted(saved.get("inputs", ())), sorted(link.name for link in self.inputs)),
            "outputs": (sorted(saved.get("outputs", ())), sorted(link.name for link in self.outputs)),
        }
        for what, (then, now) in found.items():
            if then != now:
                raise RunError(
                    f"the state is that of a component of other {what}: {then}, here {now}",
                    where=where,
                    hint="configure the component as the one that saved it; nothing was changed",
                )

    @property
    def _start_time(self) -> np.datetime64:
        return np.datetime64(parse_date(self.config.start_time), "s")

    def _step_begin(self) -> np.datetime64:
        """Return when the model step began that the next step of the host completes."""
        return self._start_time + np.timedelta64(round((self.steps + 1 - self.count) * self.host_step), "s")

    def _check(self, supplied: dict[str, np.ndarray]) -> None:
        for link in self.inputs:
            values = supplied[link.name]
            bad, what = ~np.isfinite(values), "missing (NaN)"
            if not bad.any() and is_nonnegative(link.variable):
                bad, what = values < 0, "negative"
            if bad.any():
                ids = [self.labels[i] for i in np.flatnonzero(bad)[:10]]
                raise DataError(
                    f"the input '{link.name}' is {what} at {int(bad.sum())} of {self.nodes} nodes "
                    f"({', '.join(ids)}), in step {self.steps + 1}, {self.steps * self.host_step:g} s",
                    hint="set every input before update; nothing was changed, the step can be repeated",
                )

    def _show(self, values: Mapping[str, np.ndarray]) -> None:
        for link in self.outputs:
            self.variables[link.name].values[:] = link(values[link.variable], self.area)
        self._refresh()

    def _refresh(self) -> None:
        self._terms = None
        for variable in self.variables.values():
            variable.refresh()

    # What the host knows by name.

    def _variables(self) -> list[Variable]:
        found = [Variable(link.name, link.units, self.nodes, role="input", fill=np.nan) for link in self.inputs]
        found += [Variable(link.name, link.units, self.nodes, role="output") for link in self.outputs]
        if self.account:
            found += [Computed(f"ngen::mass_{t}", UNIT, self.nodes, lambda t=t: self._water()[t]) for t in TERMS]
        taken = {variable.name for variable in found}
        own = own_variables(self.stream, self._accounted, self._grid_of)
        return found + [variable for variable in own if variable.name not in taken]

    def _water(self) -> dict[str, np.ndarray]:
        """Return the account; computed once after each change."""
        if self._terms is None:
            so_far = self.gathering.so_far()
            rates = {link.variable: link(so_far[link.variable], self.area) for link in self.inputs}
            self._terms = self.account.terms(rates, self.showing.waiting())
        return self._terms

    def _grid_of(self, size: int) -> int:
        if size not in self.grids:
            self.grids.append(size)
        return self.grids.index(size) if size != self.nodes else NODES

    def _accounted(self, write: Callable[[np.ndarray], None]) -> Callable[[np.ndarray], None]:
        """Return a way to set something, after which the account knows what it added to the stores."""

        def accounted(values: np.ndarray) -> None:
            before = self.account.content() if self.account else None
            write(values)
            if self.account:
                self.account.gain(before)
            self._refresh()

        return accounted
