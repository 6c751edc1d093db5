"""A formula under a host: gathers what is supplied, answers when its step is complete, shows the result."""

from __future__ import annotations

from copy import deepcopy
from typing import Any, ClassVar, Literal

import numpy as np
from pydantic import Field, PositiveFloat

from dmg.bmi.config import Catchment, Derived, Exchanged
from dmg.bmi.derived_inputs import DerivedInputs, known_attributes
from dmg.bmi.exchange import input_links, output_links
from dmg.bmi.time_step import Aggregation, Disaggregation, host_steps
from dmg.bmi.variable import Variable
from dmg.conf.period import Date, parse_date
from dmg.conf.section import Section
from dmg.core.utils.tensor_tree import bytes_tree, tree_bytes
from dmg.errors import DataError, RunError
from dmg.registry import derivations

DAY = 86400.0
FORMAT = "dmg-derivation-1"
_WHAT = "the state of a component of a formula"
_WHERE = "ngen::serialization_state"
_HINT = "restore what a component of the same configuration saved; nothing was changed"


class DerivationConfig(Section):
    """Everything that decides a component of a formula."""

    members: ClassVar[int] = 1

    derive: Derived = Field(description="Formula, such as pet_hargreaves.")
    variable: str = Field("pet", description="What it makes; the vocabulary has its name and unit for the host.")
    catchments: list[Catchment] = Field(
        min_length=1, description="Catchments, with the attributes that the formula reads."
    )
    start_time: Date = Field("2000/01/01", description="What time 0 of the clock means.")
    time_step_seconds: PositiveFloat = Field(description="Time step of the host.")
    show: Literal["end", "repeat"] = Field(
        "end",
        description="Of a formula for days under a host of hours: `end` shows all of a day in the hour that completes "
        "it, so that a component which takes the mean of the hours has that of the day; `repeat` shows the newest day.",
    )
    clock: Literal["hot_start", "resume"] = Field(
        "hot_start", description="What restoring a state does with the clock: leaves it, or goes on with its time."
    )
    inputs: list[Exchanged] = Field([], description="Inputs whose name or unit for the host is another.")
    output: Exchanged | None = Field(None, description="Name and unit of the result for the host, if others.")


class HostedDerivation:
    """A formula at the catchments of a configuration, step by step of the host.

    Parameters
    ----------
    config
        The configuration.

    Attributes
    ----------
    variables
        Name for the host to `Variable`.
    steps
        Host steps since the clock was 0.
    """

    def __init__(self, config: DerivationConfig) -> None:
        self.config = config
        rule = derivations.get(config.derive.method)
        self.host_step = float(config.time_step_seconds)
        step = DAY if rule.step == "daily" else self.host_step
        self.count = host_steps(self.host_step, step)
        self.nodes = len(config.catchments)
        made = {config.variable: rule.unit}
        self._formula = DerivedInputs(
            {config.variable: config.derive},
            made,
            known_attributes(config.catchments, None),
            config.inputs,
            count=self.count,
            step=np.timedelta64(round(step), "s"),
        )
        self._inputs = input_links(config.inputs, self._formula.supplied, step)
        wanted = config.output or Exchanged(variable=config.variable)
        (self._output,) = output_links([wanted], made, self.host_step, False)[:1]
        self._gathering = Aggregation(self._formula.rules(self._inputs), self.count, self.nodes)
        self._showing = Disaggregation(made, self.count, self.nodes, method=config.show)
        found = [Variable(link.name, link.units, self.nodes, role="input", fill=np.nan) for link in self._inputs]
        found.append(Variable(self._output.name, self._output.units, self.nodes, role="output"))
        self.variables = {v.name: v for v in found}
        self.grids = [self.nodes]
        self.steps = 0

    def update(self) -> None:
        """Go on by one step of the host.

        Raises
        ------
        DataError
            If an input is missing; nothing is changed then.
        """
        supplied = {link.name: self.variables[link.name].values for link in self._inputs}
        for name, values in supplied.items():
            if not np.isfinite(values).all():
                ids = [self.config.catchments[i].id for i in np.flatnonzero(~np.isfinite(values))[:10]]
                raise DataError(
                    f"the input '{name}' is missing (NaN) at {', '.join(ids)}, in step {self.steps + 1}",
                    hint="set every input before update; nothing was changed, the step can be repeated",
                )
        if self._gathering.add(supplied):
            start = np.datetime64(parse_date(self.config.start_time), "s")
            begin = start + np.timedelta64(round((self.steps + 1 - self.count) * self.host_step), "s")
            self._showing.put(self._formula(self._gathering.take(), self._inputs, None, begin))
        shown = self._showing.next()[self._output.variable]
        self.variables[self._output.name].values[:] = self._output(shown, None)
        self.steps += 1

    def save(self) -> bytes:
        """Return the state as bytes; nothing is changed."""
        parts = {"gathering": self._gathering.state(), "showing": self._showing.state()}
        shown = self.variables[self._output.name].values
        return tree_bytes({**self._identity, **parts, "steps": self.steps, "shown": shown}, {"format": FORMAT})

    def restore(self, data: bytes) -> None:
        """Go on from bytes that `save` returned; the clock goes on as the configuration says.

        Raises
        ------
        RunError
            If they are those of another component, or damaged; nothing is changed then.
        """
        about, tree = bytes_tree(data, _WHAT, _WHERE, _HINT)
        if about.get("format") != FORMAT:
            raise RunError(f"not {_WHAT}", where=_WHERE, hint=_HINT)
        for key, value in self._identity.items():
            if tree.get(key) != value:
                raise RunError(f"{key} of the state is {tree.get(key)}, here {value}", where=_WHERE, hint=_HINT)
        gathering, showing = deepcopy(self._gathering), deepcopy(self._showing)
        gathering.restore({name: np.asarray(v) for name, v in tree["gathering"].items()})
        showing.restore({name: np.asarray(v) for name, v in tree["showing"].items()})
        self._gathering, self._showing = gathering, showing
        self.variables[self._output.name].values[:] = np.asarray(tree["shown"])
        if self.config.clock == "resume":
            self.steps = int(tree["steps"])

    @property
    def _identity(self) -> dict[str, Any]:
        """What a state must agree with."""
        return {
            "formula": self.config.derive.method,
            "time step": self.host_step,
            "catchments": [c.id for c in self.config.catchments],
        }
