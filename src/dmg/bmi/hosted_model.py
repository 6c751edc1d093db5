"""A trained model under a host: gathers what is supplied, goes on when a model step is complete, shows results."""

from __future__ import annotations

import logging

import numpy as np

from dmg.bmi.catchments import attribute_store, input_units, model_step, nodes_of, sites_dataset, spin_up_dataset
from dmg.bmi.config import BmiConfig
from dmg.bmi.derived_inputs import DerivedInputs, known_attributes
from dmg.bmi.exchange import input_links, output_links
from dmg.bmi.shared_run import shared_run
from dmg.bmi.stream import Stream, output_units
from dmg.bmi.time_step import Aggregation, Disaggregation, host_steps
from dmg.bmi.variable import Variable
from dmg.core.data.vocabulary import is_nonnegative
from dmg.errors import DataError

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
    steps
        Host steps since the clock was 0.
    """

    def __init__(self, config: BmiConfig) -> None:
        self.config = config
        self.run = run = shared_run(config.model, epoch=config.epoch, device=config.device, dtype=config.dtype)
        step = model_step(run, config)
        seconds = float(step / np.timedelta64(1, "s"))
        self.host_step = float(config.time_step_seconds or seconds)
        self.count = host_steps(self.host_step, seconds)
        self.nodes = len(config.catchments) * config.members
        areas = [c.area_km2 for c in config.catchments]
        self.area = None if None in areas else np.tile(np.array(areas, dtype=float), config.members)
        attributes = known_attributes(config.catchments, attribute_store(config), config.members)
        self.forcings = DerivedInputs(
            config.derive, input_units(run), attributes, config.inputs, count=self.count, step=step
        )
        self.inputs = input_links(config.inputs, self.forcings.supplied, seconds)
        units = output_units(run)
        self.outputs = output_links(config.outputs, units, self.host_step, self.area is not None)
        self.variables: dict[str, Variable] = {}
        for role, links in (("input", self.inputs), ("output", self.outputs)):
            for link in links:
                values = np.full(self.nodes, np.nan if role == "input" else 0.0)
                self.variables[link.name] = Variable(link.name, link.units, values, role=role)
        shown = list(dict.fromkeys(link.variable for link in self.outputs))
        states = {
            s.name for m in run.model.models.values() for s in getattr(getattr(m, "phy_model", None), "states", ())
        }
        self.gathering = Aggregation(self.forcings.rules(self.inputs), self.count, self.nodes)
        self.showing = Disaggregation(
            [n for n in shown if n not in states], self.count, self.nodes, stores=[n for n in shown if n in states]
        )
        self.steps = 0
        self._start(shown)

    def update(self) -> None:
        """Go on by one step of the host.

        Raises
        ------
        DataError
            If an input is missing or impossible; nothing is changed then.
        """
        supplied = {link.name: self.variables[link.name].values for link in self.inputs}
        self._check(supplied)
        before = self.gathering.state()
        try:
            if self.gathering.add(supplied):
                gathered = self.gathering.take()
                forcing = self.forcings(gathered, self.inputs, self.area, self._step_begin())
                self.showing.put(self.stream.step(forcing))
        except BaseException:
            self.gathering.restore(before)
            raise
        self._show(self.showing.next())
        self.steps += 1

    def _step_begin(self) -> np.datetime64:
        """Return when the model step began that the next step of the host completes."""
        start = np.datetime64(self.config.start_time.replace("/", "-").replace(" ", "T"), "s")
        return start + np.timedelta64(round((self.steps + 1 - self.count) * self.host_step), "s")

    def _start(self, outputs: list[str]) -> None:
        config, run = self.config, self.run
        series = spin_up_dataset(run, config)
        batch = run.inputs(sites_dataset(run, config) if series is None else series)
        self.stream = Stream(run, nodes_of(batch.select(times=slice(0, 1)), config.members), outputs)
        if series is None:
            logger.warning("the component starts cold: stores, rivers and the memory of the network are empty")
            return
        last = self.stream.spin_up(nodes_of(batch, config.members), run.config.model.warmup)
        self.showing.put(last, shown=1)
        self._show({name: last[name] for name in outputs})

    def _check(self, supplied: dict[str, np.ndarray]) -> None:
        for link in self.inputs:
            values = supplied[link.name]
            bad, what = ~np.isfinite(values), "missing (NaN)"
            if not bad.any() and is_nonnegative(link.variable):
                bad, what = values < 0, "negative"
            if bad.any():
                ids = [self.config.catchments[i % len(self.config.catchments)].id for i in np.flatnonzero(bad)[:10]]
                raise DataError(
                    f"the input '{link.name}' is {what} at {int(bad.sum())} of {self.nodes} nodes "
                    f"({', '.join(ids)}), in step {self.steps + 1}, {self.steps * self.host_step:g} s",
                    hint="set every input before update; nothing was changed, the step can be repeated",
                )

    def _show(self, values: dict[str, np.ndarray]) -> None:
        for link in self.outputs:
            self.variables[link.name].values[:] = link(values[link.variable], self.area)
