"""Dropout outside of training: members of an ensemble whose spread tells what a network does not know.

Gal, Y., Ghahramani, Z. (2016): Dropout as a Bayesian approximation. ICML 48. Fang, K., Kifer, D., Lawson, K., Shen, C.
(2020): Evaluating the potential and challenges of an uncertainty quantification method for long short-term memory
models for soil moisture predictions. Water Resources Research 56, e2020WR028095.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from torch import nn

_kept: ContextVar[bool] = ContextVar("dropout_kept", default=False)
_noisy: ContextVar[bool] = ContextVar("noise_drawn", default=False)


@contextmanager
def dropout_kept() -> Iterator[None]:
    """Let networks drop in evaluation mode too."""
    token = _kept.set(True)
    try:
        yield
    finally:
        _kept.reset(token)


def drops(network: nn.Module) -> bool:
    """Return whether a network drops now: in training, or where dropout is kept."""
    return network.training or _kept.get()


@contextmanager
def noise_drawn() -> Iterator[None]:
    """Let networks alone answer with a draw of the distribution that their head tells."""
    token = _noisy.set(True)
    try:
        yield
    finally:
        _noisy.reset(token)


def draws_noise() -> bool:
    """Return whether predictions are draws now."""
    return _noisy.get()
