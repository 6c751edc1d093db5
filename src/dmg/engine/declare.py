"""What a process model declares: its forcings, parameters, states, fluxes and budget."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from dmg.errors import StepError, did_you_mean


@dataclass(frozen=True)
class Forcing:
    """A time series that drives the model, one value per site and step.

    Parameters
    ----------
    name
        Name in the data and in ``x.<name>`` of the step.
    unit
        Unit of the values that the step expects.
    description
        What it is, for tables and file attributes.
    low, high
        Usual range, from which the contract tests draw.
    """

    name: str
    unit: str = ""
    description: str = ""
    low: float = 0.0
    high: float = 10.0


@dataclass(frozen=True)
class Attribute:
    """A known property of a site that does not change in time.

    Parameters
    ----------
    name
        Name in the data and in ``x.<name>`` of the step, [B, 1].
    unit
        Unit of the value that the step expects.
    description
        What it is.
    low, high
        Usual range, from which the contract tests draw.
    """

    name: str
    unit: str = ""
    description: str = ""
    low: float = 0.0
    high: float = 1.0


@dataclass(frozen=True)
class Parameter:
    """A quantity that a network, a calibration or the user supplies.

    Parameters
    ----------
    name
        Name in ``p.<name>`` of the step.
    low, high
        Bounds; a network output u in [0, 1] means ``low + u * (high - low)``.
    unit
        Unit of the value.
    description
        What it is.
    default
        If given, the parameter is optional: it keeps this value unless the configuration lists it as dynamic.
    """

    name: str
    low: float
    high: float
    unit: str = ""
    description: str = ""
    default: float | None = None

    def __post_init__(self) -> None:
        if not self.low < self.high:
            raise StepError(
                f"parameter '{self.name}': bounds [{self.low}, {self.high}] are empty",
                hint="give low < high",
            )


@dataclass(frozen=True)
class State:
    """A store that the model carries from step to step.

    Parameters
    ----------
    name
        Name in ``s.<name>`` of the step.
    unit
        Unit of the values.
    initial
        Value of a cold start; or the name of a parameter, whose value (that of the first step, if it is dynamic) is
        the first of this state. The gradient goes through it.
    size
        Length of a vector state, 1 for a scalar.
    description
        What it is.
    algebraic
        The state has no memory: at every step it is what makes its own entry of the ``tendency`` zero, and the search
        for it starts from ``initial``.
    bounds
        Of an algebraic state that is the only state: where to look for it. Its entry of the tendency is positive at
        the lower bound and negative at the upper one, so that bisection finds what Newton's method does not.
    """

    name: str
    unit: str = ""
    initial: float | str = 0.0
    size: int = 1
    description: str = ""
    algebraic: bool = False
    bounds: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        if self.algebraic and isinstance(self.initial, str):
            raise StepError(
                f"the algebraic state '{self.name}' starts from a parameter",
                hint="give a number; scale the unknown by what its first guess depends on",
            )
        if self.bounds and not (self.algebraic and self.size == 1 and self.bounds[0] < self.bounds[1]):
            raise StepError(
                f"the state '{self.name}' cannot have the bounds {self.bounds}",
                hint="bounds are those of an algebraic state of size 1, the lower one first",
            )


@dataclass(frozen=True)
class Flux:
    """A quantity that the step returns for every time step.

    Parameters
    ----------
    name
        Key of the flux dictionary that the step returns.
    unit
        Unit of the values.
    description
        What it is.
    diagnostic
        A diagnostic flux is computed only on request.
    """

    name: str
    unit: str = ""
    description: str = ""
    diagnostic: bool = False


@dataclass(frozen=True)
class Ledger:
    """The budget that closes: sources - sinks = change of the stores, step by step.

    Parameters
    ----------
    sources, sinks
        Names of forcings or fluxes (as rates, per unit of dt).
    stores
        Names of states.
    """

    sources: tuple[str, ...]
    sinks: tuple[str, ...]
    stores: tuple[str, ...]


class Values:
    """Named values, read as attributes: the ``s``, ``x`` and ``p`` of a step."""

    __slots__ = ("__dict__", "_kind")

    def __init__(self, kind: str, values: Mapping[str, Any]) -> None:
        self._kind = kind
        self.__dict__.update(values)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        raise StepError(
            f"the step reads the {self._kind} '{name}', which the model does not declare",
            hint=did_you_mean(name, self.__dict__),
        )
