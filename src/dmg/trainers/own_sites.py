"""Which part of a minibatch this process computes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from dmg.core.data.batch import Batch
from dmg.core.utils.processes import own_share, world
from dmg.engine.site_share import sharing_sites


@contextmanager
def own_sites(batch: Batch) -> Iterator[Batch]:
    """Yield the sites of a minibatch that are this process's own; alone, the minibatch.

    Within the block, what is drawn by site is drawn for the whole minibatch, and `gather_sites` brings predictions of
    all processes together.
    """
    if world() == 1:
        yield batch
        return
    batch = batch if isinstance(batch, Batch) else Batch(batch)
    with sharing_sites(own_share(batch.n_sites)) as share:
        yield batch.select(sites=share.sites)
