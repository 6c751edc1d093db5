"""Explicit steps of a tendency: Euler, Heun, and the classical method of Runge and Kutta, with a fixed step.

What they compute is a step like any other, so that kernels, adjoints and laws are those of steps. Fluxes are the means
over the step with the weights of the method: what leaves the stores is what the fluxes say.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

from torch import Tensor

from dmg.engine.declare import Values

Rates = Callable[[Values, Values, Values], tuple[Mapping[str, Tensor], Mapping[str, Tensor]]]


class Tableau(NamedTuple):
    """A method whose stages each need the one before only.

    Parameters
    ----------
    nodes
        Share of the step after which each stage is evaluated, by the rates of the stage before; the first is 0.
    weights
        Weight of every stage in the whole step.
    """

    nodes: tuple[float, ...]
    weights: tuple[float, ...]


METHODS = {
    "euler": Tableau((0.0,), (1.0,)),
    "heun": Tableau((0.0, 1.0), (0.5, 0.5)),
    "rk4": Tableau((0.0, 0.5, 0.5, 1.0), (1.0 / 6.0, 1.0 / 3.0, 1.0 / 3.0, 1.0 / 6.0)),
}


def advance(
    tendency: Rates, method: str, substeps: int, s: Values, x: Values, p: Values, dt: float
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Return the states after a step, and the mean fluxes over it.

    Parameters
    ----------
    tendency
        Rates of the states, and fluxes.
    method
        One of ``METHODS``.
    substeps
        Equal parts into which the step is divided.
    s, x, p, dt
        What a step is given.
    """
    stores, length = dict(vars(s)), dt / substeps
    series: dict[str, Tensor] = {}
    for _ in range(substeps):
        change, fluxes = _stages(tendency, METHODS[method], stores, x, p, length)
        stores = {name: values + length * change[name] for name, values in stores.items()}
        series = {name: series[name] + values if series else values for name, values in fluxes.items()}
    return stores, {name: values / substeps if substeps > 1 else values for name, values in series.items()}


def _stages(
    tendency: Rates, method: Tableau, stores: Mapping[str, Tensor], x: Values, p: Values, length: float
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Return the mean rates and fluxes over one part of a step."""
    change: dict[str, Tensor] = {}
    fluxes: dict[str, Tensor] = {}
    rates: Mapping[str, Tensor] = {}
    for node, weight in zip(method.nodes, method.weights, strict=True):
        here = {n: v + node * length * rates[n] if node else v for n, v in stores.items()}
        rates, given = tendency(Values("state", here), x, p)
        change = _added(change, rates, weight)
        fluxes = _added(fluxes, given, weight)
    return change, fluxes


def _added(total: Mapping[str, Tensor], values: Mapping[str, Tensor], weight: float) -> dict[str, Tensor]:
    return {name: total[name] + weight * v if total else weight * v for name, v in values.items()}
