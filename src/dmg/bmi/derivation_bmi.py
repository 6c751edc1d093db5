"""A formula as a BMI component of its own: potential evapotranspiration, say, for whatever component needs it."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import numpy as np
from pydantic import Field, PositiveFloat

from dmg.bmi.config import Catchment, Derived, Exchanged, read_bmi_config
from dmg.bmi.delta_model_bmi import DeltaModelBmi
from dmg.bmi.derived_inputs import DerivedInputs, known_attributes
from dmg.bmi.exchange import input_links, output_links
from dmg.bmi.time_step import Aggregation, Disaggregation, host_steps
from dmg.bmi.variable import Variable
from dmg.conf.period import Date
from dmg.conf.section import Section
from dmg.errors import DataError
from dmg.registry import derivations

DAY = 86400.0


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
        roles = [*((link, "input", np.nan) for link in self._inputs), (self._output, "output", 0.0)]
        self.variables = {
            link.name: Variable(link.name, link.units, np.full(self.nodes, value), role=role)
            for link, role, value in roles
        }
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
            start = np.datetime64(self.config.start_time.replace("/", "-").replace(" ", "T"), "s")
            begin = start + np.timedelta64(round((self.steps + 1 - self.count) * self.host_step), "s")
            self._showing.put(self._formula(self._gathering.take(), self._inputs, None, begin))
        shown = self._showing.next()[self._output.variable]
        self.variables[self._output.name].values[:] = self._output(shown, None)
        self.steps += 1


class DerivationBmi(DeltaModelBmi):
    """A formula of ``dmg.registry.derivations`` as a component: what it makes from what the host supplies.

    Examples
    --------
    >>> component = DerivationBmi()  # doctest: +SKIP
    >>> component.initialize("pet_cat-1.yaml")  # doctest: +SKIP
    >>> component.get_output_var_names()  # doctest: +SKIP
    ('land_surface_water__potential_evaporation_volume_flux',)
    """

    _model: Any

    def initialize(self, config_file: str) -> None:
        """Read a configuration of the keys of `DerivationConfig`."""
        self._model = HostedDerivation(read_bmi_config(config_file, DerivationConfig))

    def get_component_name(self) -> str:
        """Return the name of the formula."""
        return f"dMG {self._running.config.derive.method}"
