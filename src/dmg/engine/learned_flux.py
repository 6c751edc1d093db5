"""A network that replaces or multiplies a flux of a process model, put there by the configuration."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from dmg.engine.declare import Values
from dmg.engine.inner_network import InnerNetwork
from dmg.errors import StepError, did_you_mean

if TYPE_CHECKING:
    from dmg.engine.process_model import ProcessModel

#: What a network does to a flux, and what its output is for that.
ROLES = {"replace": "share", "multiply": "factor"}
KEYS = ("role", "inputs", "hidden", "activation", "monotone", "limit")

#: Takes the name of a flux, its value and the most that it can be; returns what the step goes on with.
Learned = Callable[[str, Tensor, Tensor], Tensor]


def as_it_is(name: str, value: Tensor, upto: Tensor) -> Tensor:
    """Return the flux that the equations give: there is no network."""
    return value


@dataclass(frozen=True)
class _Term:
    """What a network sees: a quantity of the step, or one over another, brought to a usual size."""

    over: str
    under: str | None
    shift: float
    size: float

    def read(self, known: Mapping[str, Tensor | float]) -> Tensor | float:
        value = known[self.over] if self.under is None else known[self.over] / known[self.under]
        return (value - self.shift) / self.size if self.shift else value / self.size


class LearnedFlux(nn.Module):
    """A network on one flux of a process model.

    ``replace``: the flux is a learned share of the most that it can be, which is what the process model says: what is
    in its store, or what arrives. ``multiply``: the flux of the equations times a learned factor, at most that. Both
    are never negative and take nothing that is not there, so that the budget closes as before. ``multiply`` starts from
    the equations as they are.

    Parameters
    ----------
    model
        The process model, for what it declares.
    flux
        One of its ``adjustable`` fluxes.
    block
        ``role`` (multiply), ``inputs``: names of states, forcings, attributes and parameters, or quotients of two such
        as ``SM/parFC``; or name to usual size, which a state needs. Without a size, inputs whose bounds are declared
        are seen as their place between them. ``hidden``, ``activation``, ``monotone``, ``limit``: see `InnerNetwork`.

    Raises
    ------
    StepError
        For what the model does not have.
    """

    def __init__(self, model: ProcessModel, flux: str, block: Mapping[str, Any]) -> None:
        super().__init__()
        given = {key: value for key, value in block.items() if value is not None}
        self.flux, self.role = flux, str(given.pop("role", "multiply"))
        where = f"model.phy.networks.{flux}"
        for name, known, what in ((self.role, ROLES, "role"), *((key, KEYS, "key") for key in given)):
            if name not in known:
                raise StepError(f"unknown {what} '{name}'", where=where, hint=did_you_mean(name, known))
        inputs = given.pop("inputs", None) or ()
        sizes = inputs if isinstance(inputs, Mapping) else dict.fromkeys(inputs)
        self.terms = tuple(_term(model, name, size, where) for name, size in sizes.items())
        signs = {"increasing": 1, "decreasing": -1}
        monotone = {name: signs.get(sign, sign) for name, sign in (given.pop("monotone", None) or {}).items()}
        options = {key: tuple(value) if key == "hidden" else value for key, value in given.items()}
        declared = InnerNetwork(flux, tuple(sizes), output=ROLES[self.role], monotone=monotone, **options)
        self.network = declared.build()

    def forward(self, value: Tensor, upto: Tensor, known: Mapping[str, Tensor | float]) -> Tensor:
        """Return the flux that the step goes on with; see `Learned`."""
        learned = self.network(*(term.read(known) for term in self.terms))
        return upto * learned if self.role == "replace" else torch.minimum(value * learned, upto)


def flux_networks(model: ProcessModel, blocks: Mapping[str, Mapping[str, Any]] | None) -> nn.ModuleDict:
    """Return the networks on the fluxes of a model by name of the flux, from ``model.phy.networks``.

    Raises
    ------
    StepError
        For a flux that no network can be put on.
    """
    found = nn.ModuleDict()
    for flux, block in (blocks or {}).items():
        if flux not in model.adjustable:
            raise StepError(
                f"no network can be put on '{flux}' of {type(model).__name__}",
                where="model.phy.networks",
                hint=did_you_mean(flux, model.adjustable)
                if model.adjustable
                else "its step offers none: call self.learned(s, x, p) there, and declare the fluxes adjustable",
            )
        found[flux] = LearnedFlux(model, flux, block or {})
    return found


def learned_in(networks: nn.ModuleDict, s: Values, x: Values, p: Values) -> Learned:
    """Return what a step asks for its fluxes; it gives back those without a network."""
    if not len(networks):
        return as_it_is
    known = {**vars(s), **vars(x), **vars(p)}

    def learned(name: str, value: Tensor, upto: Tensor) -> Tensor:
        return networks[name](value, upto, known) if name in networks else value

    return learned


def _term(model: ProcessModel, name: str, size: float | None, where: str) -> _Term:
    """Return how an input is read; without a size it is seen as its place between its declared bounds."""
    ranges = {d.name: (d.low, d.high) for d in (*model.forcings, *model.attributes, *model.parameter_table)}
    known = [*(state.name for state in model.states), *ranges]
    over, _, under = name.partition("/")
    for part in (over, under) if under else (over,):
        if part not in known:
            raise StepError(
                f"{type(model).__name__} has no '{part}' that a network could see",
                where=f"{where}.inputs",
                hint=did_you_mean(part, known),
            )
    if size is not None or under:
        return _Term(over, under or None, 0.0, float(size or 1.0))
    if over not in ranges:
        raise StepError(
            f"the size of the state '{over}' is not known",
            where=f"{where}.inputs",
            hint=f"say how large it usually is, {{{over}: 100}}, or give a quotient such as {over}/<parameter>",
        )
    low, high = ranges[over]
    return _Term(over, None, low, high - low)
