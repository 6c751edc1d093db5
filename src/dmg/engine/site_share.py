"""Random numbers by site that do not depend on how a batch is split among processes.

Several processes that compute one batch together each hold some of its sites. Whatever is drawn by site is then drawn
for the whole batch by every process, from generators in the same state, and each takes the columns that are its own:
the numbers, and the state of the generators afterwards, are those of one process that holds the whole batch.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class SiteShare:
    """The sites ``start`` to ``stop`` (exclusive) of a batch of ``total``."""

    start: int
    stop: int
    total: int

    @property
    def sites(self) -> slice:
        """Positions in the batch."""
        return slice(self.start, self.stop)


_current: ContextVar[SiteShare | None] = ContextVar("site_share", default=None)


@contextmanager
def sharing_sites(share: SiteShare) -> Iterator[SiteShare]:
    """Draw, within the block, as the holder of a part of a batch."""
    token = _current.set(share)
    try:
        yield share
    finally:
        _current.reset(token)


def site_share() -> SiteShare | None:
    """Return the part of the batch that is being computed here; None for the whole of it."""
    return _current.get()


def rand_by_site(shape: Sequence[int], dim: int) -> Tensor:
    """Return uniform numbers of a shape whose axis ``dim`` is that of the sites.

    They are drawn on the CPU, so that the same seed gives the same numbers on every device. Where the axis is not that
    of the batch (units above a gauge, of which each process has others) a process draws its own, and the generators of
    all processes stay in step.
    """
    share = site_share()
    if share is None:
        return torch.rand(tuple(shape))
    if not _is_of_batch(shape, dim, share):
        own = torch.Generator().manual_seed(int(torch.randint(2**62, ())) + share.start)
        return torch.rand(tuple(shape), generator=own)
    whole = list(shape)
    whole[dim] = share.total
    return torch.rand(whole).narrow(dim, share.start, share.stop - share.start)


def dropout_by_site(x: Tensor, p: float, training: bool, dim: int) -> Tensor:
    """Return ``torch.nn.functional.dropout(x, p, training)`` of values whose axis ``dim`` is that of the sites."""
    share = site_share()
    if share is None or not training or p == 0.0:
        return torch.nn.functional.dropout(x, p, training)
    if not _is_of_batch(x.shape, dim, share):
        return x * (rand_by_site(x.shape, dim) >= p).to(x) / (1.0 - p)
    whole = list(x.shape)
    whole[dim] = share.total
    kept = torch.nn.functional.dropout(x.new_ones(whole), p, True)
    return x * kept.narrow(dim, share.start, share.stop - share.start)


def _is_of_batch(shape: Sequence[int], dim: int, share: SiteShare) -> bool:
    return shape[dim] == share.stop - share.start
