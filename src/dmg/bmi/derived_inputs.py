"""Forcings that the host does not supply, and that follow from what it does: potential evapotranspiration above all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from dmg.bmi.exchange import Link
from dmg.bmi.time_step import Gathered, default_method
from dmg.core.data.derive import Chain, derive, find_chain
from dmg.core.data.quantity import convert
from dmg.core.data.vocabulary import cf_standard_name, csdms_names, extreme_of
from dmg.errors import ConfigError, DataError, did_you_mean

if TYPE_CHECKING:
    import xarray as xr

    from dmg.bmi.config import Catchment, Derived, Exchanged


class DerivedInputs:
    """What the host must supply, and how the forcings of a model follow from it.

    Parameters
    ----------
    wanted
        Forcing to the formula for it, by name in ``dmg.registry.derivations``.
    forcings
        All forcings of the model with their units.
    attributes
        Known attributes of the nodes, name to values [N] and unit.
    named
        Variables that the configuration gives names of the host.
    count
        Host steps in a model step: only of several there are extremes.
    step
        Model step.

    Attributes
    ----------
    supplied
        What the host supplies, with the unit in which it is needed.

    Raises
    ------
    ConfigError
        If a name is no forcing, or a formula lacks something that neither host nor catchments have, or is not for
        this step.
    """

    def __init__(
        self,
        wanted: Mapping[str, Derived],
        forcings: Mapping[str, str],
        attributes: Mapping[str, tuple[np.ndarray, str]],
        named: Sequence[Exchanged],
        *,
        count: int,
        step: np.timedelta64,
    ) -> None:
        for name in wanted:
            if name not in forcings:
                raise ConfigError(f"the model reads no '{name}'", where="derive", hint=did_you_mean(name, forcings))
        self.forcings = dict(forcings)
        self.supplied = {name: unit for name, unit in forcings.items() if name not in wanted}
        self._attributes = attributes
        self._chains: dict[str, Chain] = {}
        # Inputs of formulas that are no links of their own: name to the linked variable and how it is gathered.
        self._borrowed: dict[str, tuple[str, str | None]] = {}
        own = {item.variable for item in named}
        for name, how in wanted.items():
            available = _Available({*own, *attributes} - set(how.without), {*wanted, *how.without}, count)
            try:
                chain = find_chain(how.method, available)
                chain.check_step(step)
            except DataError as error:
                raise ConfigError(error.what, where=f"derive.{name}", hint=error.hint) from None
            self._chains[name] = chain
            for needed, unit in chain.inputs.items():
                if needed not in attributes:
                    self._supply(needed, unit, own)

    def rules(self, links: Sequence[Link]) -> dict[str, Gathered]:
        """Return how each variable is gathered over the host steps of a model step."""
        found = {link.variable: Gathered(link.name, default_method(link.units)) for link in links}
        for name, (variable, method) in self._borrowed.items():
            source = found[variable]
            found[name] = Gathered(source.source, method or source.method)
        return found

    def __call__(
        self, gathered: Mapping[str, np.ndarray], links: Sequence[Link], area: np.ndarray | None, begin: np.datetime64
    ) -> dict[str, np.ndarray]:
        """Return the forcings [N] of a model step in the units of the model.

        Parameters
        ----------
        gathered
            What was gathered by `rules`, in the units of the host.
        links
            The inputs.
        area
            km² of the nodes, if they are known.
        begin
            Begin of the model step.
        """
        by_variable = {link.variable: link for link in links}
        values = {name: link(gathered[name], area) for name, link in by_variable.items()}
        for name, (variable, _) in self._borrowed.items():
            values[name] = by_variable[variable](gathered[name], area)
        doy = np.array([(begin.astype("datetime64[D]") - begin.astype("datetime64[Y]")).astype(int) + 1])
        for name, chain in self._chains.items():
            inputs = {}
            for needed, unit in chain.inputs.items():
                if needed in self._attributes:
                    given, stored = self._attributes[needed]
                    inputs[needed] = convert(given, stored, unit)
                else:
                    source = self._borrowed.get(needed, (needed, None))[0]
                    inputs[needed] = convert(values[needed], self.supplied[source], unit)[None]
            made = np.broadcast_to(chain(doy, inputs), (1, *next(iter(values.values())).shape))[0]
            values[name] = convert(made, chain.unit, self.forcings[name])
        return {name: values[name] for name in self.forcings}

    def _supply(self, name: str, unit: str, own: set[str]) -> None:
        """Note that the host supplies a variable: by itself, or as another one that it knows by the same name."""
        extreme = extreme_of(name) if name not in own else None
        if extreme is not None:
            source, method = extreme
            self._supply(source, unit, own)
            self._borrowed[name] = self._borrowed.get(source, (source, None))[0], method
            return
        host = csdms_names(name)[:1]
        same = next((v for v in self.supplied if v != name and host and csdms_names(v)[:1] == host), None)
        if same is not None and name not in self.supplied:
            self._borrowed[name] = same, None
        else:
            self.supplied.setdefault(name, unit)


class _Available:
    """The variables that a formula may begin with."""

    def __init__(self, known: set[str], without: set[str], count: int) -> None:
        self._known, self._without, self._count = known, without, count

    def __contains__(self, name: object) -> bool:
        name = str(name)
        if name in self._known:
            return True
        if name in self._without:
            return False
        extreme = extreme_of(name)
        return bool(csdms_names(name)) or (extreme is not None and self._count > 1 and extreme[0] in self)


def known_attributes(
    catchments: Sequence[Catchment], store: xr.Dataset | None, members: int = 1
) -> dict[str, tuple[np.ndarray, str]]:
    """Return the attributes that all catchments have, name to values [N] and unit, once for each member.

    Those under ``attributes`` are in the units that formulas declare; ``lat`` and ``lon`` stand under every name that
    a vocabulary knows for a latitude or longitude.
    """
    from dmg.registry import derivations

    units = {n: u for name in derivations for n, u in derivations.get(name).inputs.items()}
    found: dict[str, tuple[np.ndarray, str]] = {}
    for name, unit in units.items():
        place = {"latitude": "lat", "longitude": "lon"}.get(cf_standard_name(name, unit) or "")
        values = [c.attributes.get(name, getattr(c, place) if place else None) for c in catchments]
        if None not in values:
            found[name] = np.array(values, dtype=np.float64), unit
        elif store is not None and name in store and store[name].dims == ("site",):
            found[name] = store[name].values.astype(np.float64), store[name].attrs.get("units", unit)
    return {name: (np.tile(values, members), unit) for name, (values, unit) in found.items()}


def derive_series(
    series: xr.Dataset, wanted: Mapping[str, Derived], attributes: Mapping[str, tuple[np.ndarray, str]]
) -> xr.Dataset:
    """Return the series before the start with the forcings that they lack and that can be derived."""
    missing = {name: how for name, how in wanted.items() if name not in series}
    if not missing:
        return series
    known = series.assign({n: ("site", v, {"units": unit}) for n, (v, unit) in attributes.items() if n not in series})
    for name, how in missing.items():
        series = series.assign({name: derive(known, how.method)[how.method]})
    return series
