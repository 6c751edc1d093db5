"""Variables computed from others, such as a mean from two extremes: for a store that is made, or step by step.

Formulas belong to domain packages, which register a :class:`Derivation` in ``dmg.registry.derivations`` under the
name of the variable it makes. Two formulas for one quantity have two names (``pet_hargreaves``,
``pet_priestley_taylor``).
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from dmg.core.data.dataset import site_ids
from dmg.core.data.quantity import convert, resolve_unit
from dmg.errors import DataError
from dmg.registry import derivations

if TYPE_CHECKING:
    import xarray as xr

_LONGEST = {"daily": np.timedelta64(1, "D"), "hourly": np.timedelta64(1, "h")}


@dataclass(frozen=True)
class Derivation:
    """How one variable follows from others.

    Attributes
    ----------
    inputs
        Needed variables and the units `compute` wants them in; series arrive as ``[T, N]``, attributes as ``[N]``.
    unit
        Unit of the result.
    compute
        ``compute(doy=..., **inputs) -> [T, N]`` in float64; `doy` is the day of the year ``[T]``.
    long_name
        For readers of the file; names the method.
    step
        Time steps the formula is for: ``daily``, ``hourly`` (an hour or less) or ``any``.
    optional
        Variables that `compute` takes if they are there, like `inputs`; they are not derived for it.
    """

    inputs: Mapping[str, str]
    unit: str
    compute: Callable[..., np.ndarray]
    long_name: str
    step: str = "daily"
    optional: Mapping[str, str] = field(default_factory=dict)

    def check_step(self, name: str, step: np.timedelta64) -> None:
        """Refuse a time step that the formula is not for.

        Raises
        ------
        DataError
            Names the variable and both steps.
        """
        fits = {"daily": step == _LONGEST["daily"], "hourly": step <= _LONGEST["hourly"], "any": True}
        if not fits[self.step]:
            hours = step / np.timedelta64(1, "h")
            raise DataError(f"'{name}' is derived by a formula for {self.step} steps, and the step here is {hours:g} h")


@dataclass(frozen=True)
class Chain:
    """The formulas that lead from given variables to a wanted one, in order; made by `find_chain`.

    Attributes
    ----------
    rules
        Name of a variable to its formula; the last one is the wanted variable.
    given
        Names of the variables it starts from, of those that were given.

    Examples
    --------
    >>> chain = find_chain("pet", {"tmin", "tmax", "gauge_lat"})
    >>> list(chain.rules), chain.unit
    (['tmean', 'pet'], 'mm d-1')
    >>> day = {"tmin": np.array([[14.8]]), "tmax": np.array([[26.6]]), "gauge_lat": np.array([45.72])}
    >>> chain(np.array([196]), day).round(1)
    array([[5.]])
    """

    rules: Mapping[str, Derivation]
    given: tuple[str, ...]

    @property
    def unit(self) -> str:
        """Unit of the result."""
        return list(self.rules.values())[-1].unit

    @cached_property
    def inputs(self) -> dict[str, str]:
        """Variable to the unit in which a call wants it."""
        found: dict[str, str] = {}
        for rule in self.rules.values():
            for name, unit in {**rule.inputs, **rule.optional}.items():
                if name in self.given:
                    found.setdefault(name, unit)
        return found

    def check_step(self, step: np.timedelta64) -> None:
        """Refuse a time step that one of the formulas is not for."""
        for name, rule in self.rules.items():
            rule.check_step(name, step)

    def steps(self, doy: np.ndarray, values: Mapping[str, np.ndarray]) -> Iterator[tuple[str, np.ndarray]]:
        """Yield name and values of every variable on the way, the wanted one last."""
        known = {name: (values[name], unit) for name, unit in self.inputs.items()}
        for name, rule in self.rules.items():
            wanted = {n: unit for n, unit in {**rule.inputs, **rule.optional}.items() if n in known}
            result = rule.compute(doy=doy, **{n: convert(*known[n], unit) for n, unit in wanted.items()})
            known[name] = result, rule.unit
            yield name, result

    def __call__(self, doy: np.ndarray, values: Mapping[str, np.ndarray]) -> np.ndarray:
        """Return the wanted variable ``[T, N]`` in ``unit``.

        Parameters
        ----------
        doy
            Day of the year, ``[T]``.
        values
            The inputs in their units, float64: series ``[T, N]``, attributes ``[N]``.
        """
        return dict(self.steps(doy, values))[list(self.rules)[-1]]


def find_chain(name: str, given: Container[str]) -> Chain:
    """Return how a variable follows from given ones; inputs that are not given are derived, if they can be.

    Raises
    ------
    UnknownNameError
        If nobody registered a derivation of that name.
    DataError
        If an input is missing.
    """
    rules: dict[str, Derivation] = {}
    starts: dict[str, None] = {}
    _follow(name, given, rules, starts, ())
    return Chain(rules, tuple(starts))


def _follow(
    name: str, given: Container[str], rules: dict[str, Derivation], starts: dict[str, None], above: tuple[str, ...]
) -> None:
    rule: Derivation = derivations.get(name)
    for needed in rule.inputs:
        if needed in given:
            starts[needed] = None
        elif needed in derivations and needed not in (*above, name):
            if needed not in rules:
                _follow(needed, given, rules, starts, (*above, name))
        else:
            takes = ", ".join(f"{n} ({unit})" for n, unit in rule.inputs.items())
            ways = [f"or give '{n}' itself for '{m}'" for n, m in pairwise((name, *reversed(above)))]
            raise DataError(
                f"'{needed}' is needed to derive '{name}' and is not there",
                hint="; ".join([f"'{name}' takes {takes}", *ways]),
            )
    starts |= dict.fromkeys(n for n in rule.optional if n in given)
    rules[name] = rule


def derive(ds: xr.Dataset, name: str) -> xr.Dataset:
    """Return the dataset with the variable added, and those on the way to it.

    Raises
    ------
    UnknownNameError
        If nobody registered a derivation of that name.
    DataError
        If an input is missing, or the time step is another than that of a formula.
    """
    times = ds["time"].values
    doy, shape = ds["time"].dt.dayofyear.values, (len(times), len(site_ids(ds)))
    try:
        chain = find_chain(name, ds.data_vars)
    except DataError as error:
        known = ", ".join(map(str, ds.data_vars))
        raise DataError(error.what, hint=f"{error.hint}; the data have {known}: rename with --rename OLD=NEW") from None
    if len(times) > 1:
        chain.check_step(times[1] - times[0])
    inputs = {n: _values(ds, n, unit) for n, unit in chain.inputs.items()}
    for made, values in chain.steps(doy, inputs):
        about = {"units": chain.rules[made].unit, "long_name": chain.rules[made].long_name}
        ds = ds.assign({made: (("time", "site"), np.broadcast_to(values.astype(np.float32), shape), about)})
    return ds


def _values(ds: xr.Dataset, name: str, unit: str) -> np.ndarray:
    stored = resolve_unit(name, ds[name].attrs.get("units"))
    return convert(ds[name].values.astype(np.float64), stored, unit)
