"""Newton's method between bounds, for one algebraic unknown of an element: the rules by which an engine iterates.

The rate of the unknown is positive at the lower bound and negative at the upper one, so that a solution lies between;
every evaluation moves one of the bounds. A Newton step that leaves them, or does not halve the one before, is replaced
by bisection, which always arrives. Functions are pure and pointwise, as those of `newton`, and used in the same places.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor

from dmg.engine import newton
from dmg.engine.newton import CONVERGED, OVER, RUNNING, STUCK, Attempt


class Iterate(NamedTuple):
    """Where the search stands between turns.

    Parameters
    ----------
    status
        ``RUNNING``, ``CONVERGED`` or ``STUCK``.
    stores
        What is evaluated next [1, ...]; the result of a search that is over.
    low, high
        Bounds of the solution.
    last
        Length of the last step.
    """

    status: Tensor
    stores: Tensor
    low: Tensor
    high: Tensor
    last: Tensor


@dataclass(frozen=True)
class Bracket:
    """The search between two bounds, with the functions that `newton` has.

    Parameters
    ----------
    low, high
        The bounds.

    Notes
    -----
    A bracket that has closed is a solution too: the rates change their sign there, at a kink or a jump.

    Source: W. H. Press et al., Numerical Recipes, section 9.4.
    """

    low: float
    high: float

    TURNS: ClassVar[int] = 100
    ATTEMPTS: ClassVar[int] = 1
    first_attempt = staticmethod(newton.first_attempt)

    def first_iterate(self, attempt: Attempt) -> Iterate:
        """Return the iterate with which the search starts."""
        nothing = torch.zeros_like(attempt.share)
        low, high = nothing + self.low, nothing + self.high
        return Iterate(nothing + RUNNING, attempt.stores, low, high, high - low)

    @staticmethod
    def trial(iterate: Iterate) -> Tensor:
        """Return the stores at which a turn evaluates."""
        return iterate.stores

    @staticmethod
    def turn(iterate: Iterate, stores: Tensor, residual: Tensor, correction: Tensor, tolerance: float) -> Iterate:
        """Choose what to evaluate next, given the residual and Newton's correction at the trial stores."""
        here, lacking, step = stores[0], residual[0], correction[0]
        running = iterate.status > CONVERGED
        low = torch.where(lacking < 0.0, here, iterate.low)
        high = torch.where(lacking > 0.0, here, iterate.high)
        scale = tolerance * (1.0 + here.abs())
        close = step.abs() <= scale
        narrow = high - low <= scale
        middle, newton_point = 0.5 * (low + high), here - step
        fast = (newton_point > low) & (newton_point < high) & (step.abs() <= 0.5 * iterate.last)
        chosen = torch.where(close | fast, newton_point, middle)
        # Forcings or parameters are no numbers, and the result must not hide it.
        lost = lacking != lacking
        chosen = torch.where(lost, lacking, chosen)
        status = torch.where(lost, STUCK, torch.where(close | narrow, CONVERGED, torch.full_like(here, RUNNING)))
        return Iterate(
            torch.where(running, status, iterate.status),
            torch.where(running, chosen, iterate.stores[0]).unsqueeze(0),
            torch.where(running, low, iterate.low),
            torch.where(running, high, iterate.high),
            torch.where(running, (chosen - here).abs(), iterate.last),
        )

    @staticmethod
    def judge(attempt: Attempt, iterate: Iterate, old: Tensor) -> Attempt:
        """Return the result: there is one attempt only."""
        del old
        failed = torch.where(iterate.status == CONVERGED, 0.0, torch.ones_like(attempt.failed))
        over = torch.full_like(attempt.stage, OVER)
        return Attempt(over, iterate.stores, attempt.base, attempt.share, attempt.covered, failed)
