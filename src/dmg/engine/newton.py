"""Newton's method for one step of backward Euler, every element for itself: the rules by which an engine iterates.

The functions are pure and pointwise. The eager engine calls them; kernels are made from their traces. Vectors of stores
come first, [n, ...]; truth values that an engine carries are numbers.

An *attempt* solves one equation, ``y - base - share * dt * f(y) = 0``; it is a loop of *turns*, each with one
evaluation of f and its Jacobian. The first attempt takes the whole step at once. If it fails, sub-steps, halved as
often as they fail, walk to the end of the step, from where the whole step is tried once more: every converged result
solves the same equation. What an element does depends on no other element.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

# Greatest correction of a converged store, as a share of one more than what it holds; it is applied in addition.
TOLERANCE = {torch.float32: 1e-6, torch.float64: 1e-12}
# Evaluations in one attempt, and attempts for one step.
TURNS, ATTEMPTS = 30, 80
# A correction is halved up to eight times; an accepted one reduces the residual by this share of the expected.
SMALLEST_DAMPING, EXPECTED = 2.0**-8, 1e-4
FIRST_SHARE, SMALLEST_SHARE = 2.0**-2, 2.0**-6

# What is positive goes on.
RUNNING, CONVERGED, STUCK = 1.0, 0.0, -1.0
DIRECT, WALKING, LAST, OVER = 3.0, 2.0, 1.0, 0.0


class Attempt(NamedTuple):
    """Where the solution of a step stands between attempts.

    Parameters
    ----------
    stage
        ``DIRECT``, ``WALKING`` in sub-steps, ``LAST`` from where they led, or ``OVER``.
    stores
        Where Newton's method begins [n, ...]; the result when it is over.
    base
        Stores at the start of the present sub-step [n, ...].
    share, covered
        Length of the present sub-step, and what lies before it, as shares of the step.
    failed
        1 where there is no solution.
    """

    stage: Tensor
    stores: Tensor
    base: Tensor
    share: Tensor
    covered: Tensor
    failed: Tensor


class Iterate(NamedTuple):
    """Where Newton's method stands between turns.

    Parameters
    ----------
    status
        ``RUNNING``, ``CONVERGED`` or ``STUCK``.
    stores, correction
        The best stores so far, and what Newton's method subtracts from them [n, ...].
    damping
        Share of the correction that is tried next.
    merit
        Sum of the magnitudes of the residual.
    """

    status: Tensor
    stores: Tensor
    correction: Tensor
    damping: Tensor
    merit: Tensor


def first_attempt(old: Tensor) -> Attempt:
    """Return the attempt with which a step from these stores starts."""
    nothing = torch.zeros_like(old[0])
    return Attempt(nothing + DIRECT, old, old, nothing + 1.0, nothing, nothing)


def first_iterate(attempt: Attempt) -> Iterate:
    """Return the iterate with which an attempt starts."""
    nothing = torch.zeros_like(attempt.share)
    status = torch.where(attempt.stage > OVER, RUNNING + nothing, CONVERGED + nothing)
    return Iterate(status, attempt.stores, torch.zeros_like(attempt.stores), nothing + 1.0, nothing + math.inf)


def trial(iterate: Iterate) -> Tensor:
    """Return the stores at which a turn evaluates."""
    return iterate.stores - iterate.damping * iterate.correction


def residual(
    stores: Tensor, base: Tensor, rates: Tensor, span: Tensor | float, algebraic: Tensor | None = None
) -> Tensor:
    """Return what the equation of backward Euler over a span of time lacks, in units of the stores.

    Where ``algebraic`` is true, the rates alone are to be zero.
    """
    gained = stores - base
    if algebraic is not None:
        gained = torch.where(algebraic, torch.zeros_like(gained), gained)
    return gained - span * rates


def turn(iterate: Iterate, stores: Tensor, residual: Tensor, correction: Tensor, tolerance: float) -> Iterate:
    """Accept or refuse the trial stores, given the residual there and Newton's correction."""
    running = iterate.status > CONVERGED
    coarse = ~(correction.abs() <= tolerance * (1.0 + stores.abs()))
    close = coarse.to(stores.dtype).sum(0) == 0.0
    merit = residual.abs().sum(0)
    better = merit < iterate.merit * (1.0 - EXPECTED * iterate.damping)
    accepted = running & (better | close)
    reached = torch.where(close, stores - correction, stores)
    damping = torch.where(accepted, torch.ones_like(merit), 0.5 * iterate.damping)
    stuck = damping < SMALLEST_DAMPING
    status = torch.where(close, CONVERGED, torch.where(stuck, STUCK, torch.full_like(merit, RUNNING)))
    return Iterate(
        torch.where(running, status, iterate.status),
        torch.where(accepted, reached, iterate.stores),
        torch.where(accepted, correction, iterate.correction),
        damping,
        torch.where(accepted, merit, iterate.merit),
    )


def judge(attempt: Attempt, iterate: Iterate, old: Tensor) -> Attempt:
    """Return the next attempt, given how this one ended; ``old`` are the stores at the start of the step."""
    found = (iterate.status == CONVERGED) & (attempt.stage > OVER)
    direct, walking, last = attempt.stage == DIRECT, attempt.stage == WALKING, attempt.stage == LAST
    # No residual at the start of the step: forcings or parameters are no numbers, and the result must not hide it.
    hopeless = direct & (iterate.merit == math.inf)
    covered = torch.where(walking & found, attempt.covered + attempt.share, attempt.covered)
    arrived = walking & found & (covered >= 1.0)
    shorter = torch.where(walking & ~found, 0.5 * attempt.share, attempt.share)
    share = torch.where(direct & ~found, torch.full_like(shorter, FIRST_SHARE), shorter)
    lost = hopeless | (walking & (share < SMALLEST_SHARE)) | (last & ~found)
    stage = torch.where(arrived, LAST, torch.where(direct, torch.full_like(share, WALKING), attempt.stage))
    stores = torch.where(found, iterate.stores, attempt.stores)
    return Attempt(
        torch.where(lost | (found & ~walking), torch.full_like(stage, OVER), stage),
        torch.where(hopeless, math.nan, stores),
        torch.where(arrived, old, torch.where(walking, stores, attempt.base)),
        torch.where(arrived, torch.ones_like(share), share),
        covered,
        torch.where(lost, torch.ones_like(share), attempt.failed),
    )
