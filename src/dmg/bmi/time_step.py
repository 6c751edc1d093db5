"""A host that steps finer than the model: inputs are gathered up to a model step, outputs handed out over the next.

A daily model under an hourly host runs once in 24 host steps. What the host supplies in between is gathered by
:class:`Aggregation`: rates and temperatures as means, depths as sums, the extremes of temperature as minimum and
maximum. What the model then says of the day is handed out by :class:`Disaggregation`.

The value of a model step is known when its last host step ends. It is what the component shows from that host step
on, until the next model step is complete: ``count`` host steps for each model step, so that nothing is lost or made,
``count - 1`` host steps late. Where host and model have the same step there is no delay.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from dmg.core.data.quantity import parse_unit
from dmg.errors import ConfigError, DataError, RunError, did_you_mean

AGGREGATIONS = ("mean", "sum", "min", "max")
DISAGGREGATIONS = ("repeat", "end")
_START = {"mean": 0.0, "sum": 0.0, "min": np.inf, "max": -np.inf}


def host_steps(host: float, model: float) -> int:
    """Return the number of host steps in a model step, both in seconds.

    Raises
    ------
    ConfigError
        If they do not divide, or the host's step is the longer one: what happens within it is not known.
    """
    if not (host > 0 and np.isfinite(host)):
        raise ConfigError(f"the host's time step is {host:g} s", where="time_step_seconds", hint="give a positive one")
    count = model / host
    if count < 1:
        raise ConfigError(
            f"the host steps by {host:g} s, longer than the model's {model:g} s",
            where="time_step_seconds",
            hint=f"let the host step by {model:g} s or a fraction of it, or take a model of a longer step",
        )
    if count != round(count):
        raise ConfigError(
            f"a model step of {model:g} s is no multiple of the host's {host:g} s",
            where="time_step_seconds",
            hint=f"choose a step that divides {model:g}, such as {model / np.ceil(count):g} s",
        )
    return round(count)


def default_method(unit: str) -> str:
    """Return how values of a unit are gathered: ``sum`` of depths (``mm``, ``kg m-2``), ``mean`` of all else."""
    dimensions = dict(parse_unit(unit).dimensionality)
    return "sum" if dimensions in ({"[length]": 1}, {"[mass]": 1, "[length]": -2}) else "mean"


@dataclass(frozen=True)
class Gathered:
    """One variable of the model, as it follows from what the host supplies.

    Parameters
    ----------
    source
        Name of the host's variable.
    method
        ``mean``, ``sum``, ``min`` or ``max`` over the model step.
    """

    source: str
    method: str

    def __post_init__(self) -> None:
        if self.method not in AGGREGATIONS:
            raise ConfigError(
                f"'{self.source}' cannot be gathered by '{self.method}'", hint=did_you_mean(self.method, AGGREGATIONS)
            )


class Aggregation:
    """Gathers the values of host steps until a model step is complete.

    Parameters
    ----------
    rules
        Name of a variable of the model to how it is gathered; several may come from one source, as the mean and the
        extremes of temperature do.
    count
        Host steps in a model step.
    sites
        Number of sites.

    Examples
    --------
    >>> day = Aggregation({"tmax": Gathered("temperature", "max")}, count=24, sites=1)
    >>> [day.add({"temperature": np.array([float(hour)])}) for hour in range(24)][-1]
    True
    >>> day.take()["tmax"]
    array([23.])
    """

    def __init__(self, rules: Mapping[str, Gathered], count: int, sites: int) -> None:
        self.rules, self.count = dict(rules), count
        self.gathered = 0
        self._values = {name: np.full(sites, _START[rule.method]) for name, rule in self.rules.items()}

    @property
    def complete(self) -> bool:
        """Whether a model step is complete and waits to be taken."""
        return self.gathered == self.count

    def add(self, supplied: Mapping[str, np.ndarray]) -> bool:
        """Gather one host step, host variable to values [N]; return whether the model step is complete.

        NaN stays: the value of a model step with a gap is NaN, whatever the method.

        Raises
        ------
        DataError
            If a variable is missing; nothing is gathered then.
        RunError
            If the model step before was not taken.
        """
        if self.complete:
            raise RunError("a model step is complete and was not taken", hint="call take() first")
        for rule in self.rules.values():
            if rule.source not in supplied:
                raise DataError(f"the host supplied no '{rule.source}'", hint=did_you_mean(rule.source, supplied))
        for name, rule in self.rules.items():
            held, new = self._values[name], supplied[rule.source]
            if rule.method in ("mean", "sum"):
                held += new
            else:
                (np.minimum if rule.method == "min" else np.maximum)(held, new, out=held)
        self.gathered += 1
        return self.complete

    def take(self) -> dict[str, np.ndarray]:
        """Return the values of the complete model step, name to [N], and begin the next.

        Raises
        ------
        RunError
            If it is not complete.
        """
        if not self.complete:
            raise RunError(f"the model step has {self.gathered} of {self.count} host steps")
        found = self.so_far()
        for name, rule in self.rules.items():
            self._values[name].fill(_START[rule.method])
        self.gathered = 0
        return found

    def so_far(self) -> dict[str, np.ndarray]:
        """Return what was gathered; of means the share in that of the model step, which an account of water needs."""
        return {
            name: values / self.count if self.rules[name].method == "mean" else values.copy()
            for name, values in self._values.items()
        }

    def state(self) -> dict[str, np.ndarray]:
        """Return what a run needs to go on within a model step."""
        values = {name: values.copy() for name, values in self._values.items()}
        return {"gathered": np.array(self.gathered), **{f"value:{name}": v for name, v in values.items()}}

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        """Go on from what `state` returned.

        Raises
        ------
        RunError
            If it is that of other variables, sites or steps; nothing is changed then.
        """
        self.gathered = _restored(self._values, state, "gathered", self.count)


class Disaggregation:
    """Hands the values of a model step out over host steps.

    Parameters
    ----------
    fluxes
        Names of rates, means over the model step.
    count
        Host steps in a model step.
    sites
        Number of sites.
    stores
        Names of what is a value at one moment, such as the content of a store: the newest is shown.
    method
        ``repeat`` shows the rate of the model step in each of ``count`` host steps. ``end`` shows all of it, the rate
        times ``count``, in the host step that completes the model step, and nothing until the next: totals are exact
        at the end of every model step.

    Examples
    --------
    >>> flow = Disaggregation(["streamflow"], count=3, sites=1)
    >>> flow.put({"streamflow": np.array([6.0])})
    >>> [float(flow.next()["streamflow"][0]) for _ in range(3)]
    [6.0, 6.0, 6.0]
    """

    def __init__(
        self, fluxes: Iterable[str], count: int, sites: int, *, stores: Iterable[str] = (), method: str = "repeat"
    ) -> None:
        if method not in DISAGGREGATIONS:
            raise ConfigError(f"outputs cannot be handed out by '{method}'", hint=did_you_mean(method, DISAGGREGATIONS))
        self.fluxes, self.stores = tuple(fluxes), tuple(stores)
        self.count, self.method = count, method
        self.shown = count  # nothing waits
        self._values = {name: np.zeros(sites) for name in (*self.fluxes, *self.stores)}

    def put(self, outputs: Mapping[str, np.ndarray], *, shown: int = 0) -> None:
        """Take the outputs of a model step, name to [N].

        Parameters
        ----------
        outputs
            All of the names.
        shown
            Host steps in which they were shown already; 1 for those of a spin-up that ends where the host begins.

        Raises
        ------
        RunError
            If those before are still to be shown; nothing is changed then.
        """
        if self.shown < self.count:
            raise RunError(f"{self.count - self.shown} host steps of the model step before were not shown")
        for name, values in self._values.items():
            values[:] = outputs[name]
        self.shown = shown

    def next(self) -> dict[str, np.ndarray]:
        """Return what the next host step shows, name to [N]; zero fluxes before the first model step is complete."""
        if self.shown >= self.count:
            factor = 0.0
        elif self.method == "repeat":
            factor = 1.0
        else:
            factor = float(self.count) if self.shown == 0 else 0.0
        self.shown = min(self.shown + 1, self.count)
        return {
            name: values * factor if name in self.fluxes else values.copy() for name, values in self._values.items()
        }

    def waiting(self) -> dict[str, np.ndarray]:
        """Return the share of the fluxes of the model step that was not shown yet, which an account of water needs."""
        share = (self.count - self.shown) / self.count if self.method == "repeat" else float(self.shown == 0)
        return {name: self._values[name] * share for name in self.fluxes}

    def state(self) -> dict[str, np.ndarray]:
        """Return what a run needs to go on within a model step."""
        values = {name: values.copy() for name, values in self._values.items()}
        return {"shown": np.array(self.shown), **{f"value:{name}": v for name, v in values.items()}}

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        """Go on from what `state` returned.

        Raises
        ------
        RunError
            If it is that of other variables, sites or steps; nothing is changed then.
        """
        self.shown = _restored(self._values, state, "shown", self.count)


def _restored(values: dict[str, np.ndarray], state: Mapping[str, np.ndarray], counter: str, count: int) -> int:
    """Copy the values of a state if it fits, and return its counter."""
    expected = {counter: (), **{f"value:{name}": v.shape for name, v in values.items()}}
    found = {name: np.shape(v) for name, v in state.items()}
    if found != expected or not 0 <= int(state[counter]) <= count:
        raise RunError(
            f"the state within the model step is that of another component: {sorted(found.items())}",
            hint=f"expected {sorted(expected.items())}, at most {count} host steps",
        )
    for name, v in values.items():
        v[:] = state[f"value:{name}"]
    return int(state[counter])
