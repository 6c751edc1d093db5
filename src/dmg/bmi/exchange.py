"""What a component takes and gives, under the names and in the units of its host."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from dmg.bmi.config import Exchanged
from dmg.core.data.quantity import Conversion, conversion, parse_unit
from dmg.core.data.vocabulary import csdms_names
from dmg.errors import ConfigError, DataError, did_you_mean


@dataclass(frozen=True)
class Link:
    """A variable of the model and one of the host.

    Parameters
    ----------
    variable
        Name in the model.
    name, units
        Name and unit for the host.
    convert
        From the one unit to the other, in the direction in which the values go.
    """

    variable: str
    name: str
    units: str
    convert: Conversion

    def __call__(self, values: np.ndarray, area: np.ndarray | None) -> np.ndarray:
        """Return values of the source in the unit of the destination."""
        return self.convert(values, area)


def input_links(wanted: Sequence[Exchanged], model: Mapping[str, str], model_step: float) -> list[Link]:
    """Return how the forcings of a model follow from what the host supplies, gathered over a model step.

    Parameters
    ----------
    wanted
        Variables whose name or unit is not that of the vocabulary.
    model
        Forcings with the units of the model.
    model_step
        Seconds of a model step: a depth that the host gives is one of that time.

    Raises
    ------
    ConfigError
        For a variable that the model does not read, and a unit that measures something else.
    """
    own = {item.variable: item for item in wanted}
    for name in own:
        if name not in model:
            raise ConfigError(f"the model reads no '{name}'", where="inputs", hint=did_you_mean(name, model))
    found = []
    for variable, unit in model.items():
        name, units = _named(own.get(variable), variable, unit)
        found.append(Link(variable, name, units, _between(name, units, unit, model_step, "inputs")))
    return _unique(found, "inputs")


def output_links(wanted: Sequence[Exchanged], model: Mapping[str, str], host_step: float, has_area: bool) -> list[Link]:
    """Return what the host sees of the outputs of a model.

    Parameters
    ----------
    wanted
        Variables to publish; all that the vocabulary has a name for if there are none.
    model
        Outputs and states with the units of the model.
    host_step
        Seconds of a step of the host: a depth that it sees is one of that time.
    has_area
        Whether the areas of the catchments are known.

    Raises
    ------
    ConfigError
        For a variable that the model does not give, a unit that measures something else, or a missing area.
    """
    found: dict[str, Link] = {}
    for item in wanted or [Exchanged(variable=name) for name in model]:
        if item.variable not in model:
            raise ConfigError(
                f"the model gives no '{item.variable}'", where="outputs", hint=did_you_mean(item.variable, model)
            )
        unit = model[item.variable]
        known = csdms_names(item.variable)
        if item.name is None and item.units is None and known:
            pairs = list(known)
        elif not wanted:
            continue
        else:
            pairs = [_named(item, item.variable, unit)]
        for name, units in pairs:
            link = Link(item.variable, name, units, _between(name, unit, units, host_step, "outputs"))
            if link.convert.needs_area and not has_area:
                if len(pairs) > 1:
                    continue
                raise ConfigError(
                    f"'{name}' [{units}] needs the area of every catchment",
                    where="outputs",
                    hint="give catchments[].area_km2",
                )
            if wanted and name in found:
                raise ConfigError(f"'{name}' is published twice", where="outputs", hint="give one of them a name")
            found.setdefault(name, link)
    return list(found.values())


def _named(item: Exchanged | None, variable: str, unit: str) -> tuple[str, str]:
    """Return name and unit for the host: those given, those of the vocabulary, those of the model."""
    known = dict(csdms_names(variable))
    name = (item and item.name) or next(iter(known), variable)
    units = (item and item.units) or known.get(name) or ("1" if unit == "-" else unit)
    return name, units


def _between(name: str, source: str, target: str, step: float, where: str) -> Conversion:
    """Return a conversion; one between a rate and an amount per step where only that fits."""
    try:
        return conversion(source, target)
    except DataError as error:
        amounts = [_is_depth(source), _is_depth(target)]
        if amounts == [True, False]:
            made = _try(f"{source} s-1", target)
            if made is not None:
                return Conversion(made.scale / step, 0.0, made.area_power)
        if amounts == [False, True]:
            made = _try(source, f"{target} s-1")
            if made is not None:
                return Conversion(made.scale * step, 0.0, made.area_power)
        raise ConfigError(f"'{name}': {error.what}", where=where, hint="correct its units") from None


def _is_depth(unit: str) -> bool:
    return dict(parse_unit(unit).dimensionality) in ({"[length]": 1}, {"[mass]": 1, "[length]": -2})


def _try(source: str, target: str) -> Conversion | None:
    try:
        return conversion(source, target)
    except DataError:
        return None


def _unique(links: list[Link], where: str) -> list[Link]:
    names = [link.name for link in links]
    if repeated := {name for name in names if names.count(name) > 1}:
        raise ConfigError(
            f"{', '.join(sorted(repeated))} is the name of two variables", where=where, hint="give one of them a name"
        )
    return links
