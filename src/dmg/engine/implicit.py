"""Implicit models: backward Euler of a tendency on the eager engine, with the gradient at the solution.

A model that declares ``tendency(s, x, p)`` gives the rates dS/dt of its states. A step solves
``S_new - S_old - dt * f(S_new) = 0`` for every element by Newton's method, see `newton`; fluxes are those at the new
state, so that the budget closes to the error of the solution. The gradient is that of the solution, by the
implicit-function theorem with the Jacobian at the solution; iterations are not differentiated. Of an algebraic state
the equation is ``f(S_new) = 0``, whatever it was before; one between bounds is found by `bracket`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from types import ModuleType
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from dmg.engine import newton
from dmg.engine.bracket import Bracket, Iterate
from dmg.engine.declare import Flux, State, Values
from dmg.engine.eager import check_names
from dmg.engine.once import only_once

if TYPE_CHECKING:
    from dmg.engine.process_model import ProcessModel
    from dmg.engine.rules import Step

logger = logging.getLogger(__name__)

#: What every implicit model can tell about its solution.
UNCONVERGED = Flux("unconverged", "-", "share of the components whose step has no solution", diagnostic=True)
# Sites and steps that a warning names.
NAMED = 5

Tendency = Callable[[Values, Values, Values], tuple[Mapping[str, Tensor], Mapping[str, Tensor]]]
#: The rules by which a step is solved: `newton`, or a search between bounds.
Method = ModuleType | Bracket


def method_for(states: Sequence[State]) -> Method:
    """Return how the equations of a model are solved."""
    return Bracket(*states[0].bounds) if len(states) == 1 and states[0].bounds else newton


def algebraic_entries(states: Sequence[State]) -> list[bool]:
    """Return, for every entry of the states, whether it is algebraic."""
    return [s.algebraic for s in states for _ in range(s.size)]


def implicit_step(model: ProcessModel, tendency: Tendency) -> Step:
    """Return a step that advances the states of a model by backward Euler."""
    states = model.states

    def step(s: Values, x: Values, p: Values, dt: float) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        stores = {
            q.name: torch.full_like(vars(s)[q.name], q.initial) if q.algebraic else vars(s)[q.name] for q in states
        }
        old = pack(stores, states)

        def evaluate(packed: Tensor) -> tuple[Tensor, Mapping[str, Tensor]]:
            found, fluxes = tendency(Values("state", unpack(packed, states)), x, p)
            check_names("rate of the state", found, stores)
            return pack({n: found[n].expand_as(v) for n, v in stores.items()}, states), fluxes

        linear = _Linear(tendency, states, old.shape[1], x, p)
        attempt = _solve(method_for(states), linear, old.detach(), dt)
        solved = attempt.stores
        if torch.is_grad_enabled():
            _, matrix = linear(solved, dt)
            solved = _Solution.apply(solved, matrix, linear.residual(solved, old, evaluate(solved)[0], dt))
        _, fluxes = evaluate(solved)
        return unpack(solved, states), {**fluxes, UNCONVERGED.name: attempt.failed}

    return step


def report(model: ProcessModel, unconverged: Tensor) -> None:
    """Warn of steps without a solution, with their sites; ``unconverged`` is [T, B] or [T, B, M]."""
    if not bool(unconverged.any()):
        return
    found = (unconverged.flatten(2).sum(-1) if unconverged.ndim == 3 else unconverged).nonzero()
    steps, sites = found[:, 0].unique().tolist(), found[:, 1].unique().tolist()
    logger.warning(
        "%s: %s found no solution in %d of %d steps of a site, at sites %s (counted in their batch) and "
        "steps %s; the output '%s' says which",
        type(model).__name__,
        "Newton's method" if all(s.algebraic for s in model.states) else "backward Euler",
        len(found),
        unconverged.shape[0] * unconverged.shape[1],
        _some(sites),
        _some(steps),
        UNCONVERGED.name,
    )


def _some(numbers: Sequence[int]) -> str:
    named = ", ".join(str(n) for n in numbers[:NAMED])
    return named if len(numbers) <= NAMED else f"{named} … ({len(numbers)})"


def _solve(method: Method, linear: _Linear, old: Tensor, dt: float) -> newton.Attempt:
    """Return the solution of a step."""
    tolerance = newton.TOLERANCE[old.dtype]
    attempt = method.first_attempt(old)
    for _ in range(method.ATTEMPTS):
        iterate: newton.Iterate | Iterate = method.first_iterate(attempt)
        for _ in range(method.TURNS):
            stores = method.trial(iterate)
            span = attempt.share * dt
            rates, matrix = linear(stores, span)
            lacking = linear.residual(stores, attempt.base, rates, span)
            iterate = method.turn(iterate, stores, lacking, _solved(matrix, lacking), tolerance)
            if not bool((iterate.status > newton.CONVERGED).any()):
                break
        attempt = method.judge(attempt, iterate, old)
        if not bool((attempt.stage > newton.OVER).any()):
            break
    return attempt


class _Linear:
    """Rates of an element and the matrix of its linear equations, at given stores.

    Every site is copied once per store: one backward pass then gives the whole Jacobian.

    Parameters
    ----------
    tendency, states
        What is evaluated.
    sites
        Number B of sites.
    x, p
        Forcings and parameters of the step.
    """

    def __init__(self, tendency: Tendency, states: Sequence[State], sites: int, x: Values, p: Values) -> None:
        self.tendency, self.states, self.sites = tendency, states, sites
        self.copies = sum(s.size for s in states)
        self.algebraic = torch.tensor(algebraic_entries(states))
        with torch.inference_mode(False), torch.no_grad():
            self.x, self.p = (
                Values(v._kind, {n: self._copied(t) if isinstance(t, Tensor) else t for n, t in vars(v).items()})
                for v in (x, p)
            )

    def __call__(self, stores: Tensor, span: Tensor | float) -> tuple[Tensor, Tensor]:
        """Return rates [n, B, M] and the matrix I - span * df/dS [B, M, n, n], no ones in algebraic rows."""
        n = self.copies
        with torch.inference_mode(False), torch.enable_grad():
            leaves = self._copied(stores.transpose(0, 1)).transpose(0, 1).contiguous().requires_grad_()
            found, _ = self.tendency(Values("state", unpack(leaves, self.states)), self.x, self.p)
            likes = unpack(leaves, self.states)
            rates = pack({n: found[n].expand_as(v) for n, v in likes.items()}, self.states)
            rates = rates.reshape(n, n, *stores.shape[1:])
            own = rates.diagonal(dim1=0, dim2=1).sum()
            jacobian = torch.autograd.grad(own, leaves)[0] if own.requires_grad else torch.zeros_like(leaves)
        # Store j of copy i holds the derivative of rate i.
        jacobian = jacobian.detach().reshape(n, n, *stores.shape[1:]).permute(2, 3, 1, 0)
        span = span[..., None, None] if isinstance(span, Tensor) else span
        kept = torch.diag((~self.algebraic).to(stores))
        return rates.detach()[:, 0], kept - span * jacobian

    def residual(self, stores: Tensor, base: Tensor, rates: Tensor, span: Tensor | float) -> Tensor:
        """Return what the equations lack [n, B, M]."""
        return newton.residual(stores, base, rates, span, self.algebraic.to(stores.device)[:, None, None])

    def _copied(self, values: Tensor) -> Tensor:
        """Return values [B, ...] of the copies [n * B, ...]; what has one site for all keeps it."""
        if values.shape[0] != self.sites:
            return values.detach().clone()
        return values.detach().repeat(self.copies, *[1] * (values.ndim - 1))


class _Solution(torch.autograd.Function):
    """The solution of the equations of a step, given their matrix and what they lack there."""

    @staticmethod
    def forward(ctx: Any, stores: Tensor, matrix: Tensor, lacking: Tensor) -> Tensor:
        ctx.save_for_backward(matrix)
        return stores.clone()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        (matrix,) = ctx.saved_tensors
        with torch.no_grad():
            found = -_solved(matrix.mT, gradient)
        hint = "ask for first derivatives, or write the model as a step"
        return (None, None, *only_once([found], "an implicit step", hint))


def _solved(matrix: Tensor, right: Tensor) -> Tensor:
    """Solve [B, M, n, n] equations for [n, B, M]; what has no solution becomes infinite or NaN."""
    return torch.linalg.solve_ex(matrix, right.permute(1, 2, 0))[0].permute(2, 0, 1)


def pack(values: Mapping[str, Tensor], states: Sequence[State]) -> Tensor:
    """Return stores [B, M] and [B, M, size] as [n, B, M]."""
    parts = [[values[s.name]] if s.size == 1 else values[s.name].unbind(-1) for s in states]
    return torch.stack([part for group in parts for part in group])


def unpack(packed: Tensor, states: Sequence[State]) -> dict[str, Tensor]:
    """Return [n, B, M] as stores by name."""
    parts = iter(packed.split([s.size for s in states]))
    return {s.name: part[0] if s.size == 1 else part.movedim(0, -1) for s, part in zip(states, parts, strict=True)}
