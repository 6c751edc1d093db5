"""Guard against non-finite losses and gradients: skip the minibatch, give up after too many in a row."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from dmg.errors import RunError


class NonFinite(ArithmeticError):
    """A minibatch whose loss or gradient is not finite; the guard counts it."""


class NonFiniteGuard:
    """Counts minibatches in a row that had a non-finite loss or gradient.

    Parameters
    ----------
    max_bad_batches
        So many in a row end the run.
    """

    def __init__(self, max_bad_batches: int) -> None:
        self.max_bad_batches = max_bad_batches
        self.in_a_row = 0
        self.total = 0

    def check_loss(self, loss: Tensor) -> None:
        """Raise `NonFinite` if the loss is not finite."""
        if not math.isfinite(loss.item()):
            raise NonFinite(f"the loss is {loss.item()}")

    def check_gradient(self, norm: float, named: Iterable[tuple[str, torch.nn.Parameter]]) -> None:
        """Raise `NonFinite`, naming the parameters at fault, if the norm of the gradient is not finite."""
        if math.isfinite(norm):
            return
        bad = [name for name, p in named if p.grad is not None and not torch.isfinite(p.grad).all()]
        raise NonFinite(f"the gradient of {', '.join(bad[:3]) or 'all parameters together'} is not finite")

    def count(self, fault: NonFinite | None, epoch: int, batch: int, sites: Sequence[str] | None) -> None:
        """Note a minibatch, with its fault or without one.

        Raises
        ------
        RunError
            If it is one faulty minibatch too many; names the epoch, the batch, the fault and some of its sites.
        """
        if fault is None:
            self.in_a_row = 0
            return
        self.in_a_row += 1
        self.total += 1
        if self.in_a_row < self.max_bad_batches:
            return
        shown = f", sites {', '.join(sorted(set(sites))[:5])} …" if sites else ""
        raise RunError(
            f"training stopped: {self.in_a_row} minibatches in a row were not finite; in the last one {fault}",
            where=f"epoch {epoch}, batch {batch}{shown}",
            hint="lower train.lr, set train.grad_clip (1 is a good start), or look at the data of these sites; "
            "train.max_bad_batches is how many are borne. The last complete epoch is kept: train.resume continues it",
        )
