"""How many minibatches make an epoch."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from dmg.core.data.batch import Batch
from dmg.errors import DataError

COVERAGE = 0.99
"""Probability that a given day of a given site is seen in an epoch."""


def create_training_grid(x: Any, config: Any, n_samples: int | None = None) -> tuple[int, int, int]:
    """Return the number of sites, of minibatches per epoch, and of time steps of a training dataset.

    An epoch has as many draws as it takes to see a given day of a given site with 99 % probability::

        n_iter = ceil( ln 0.01 / ln(1 − B·ρ' / (N·(T − warmup))) ),   ρ' = min(ρ, T − warmup)

    with B = ``train.batch_size``, ρ = ``model.rho``. Where one minibatch covers everything, n_iter is 1.
    ``train.iterations`` overrides the formula.

    Parameters
    ----------
    x
        Inputs [T, N, ·] of the training dataset, warm-up included, or the dataset itself.
    config
        Configuration, as dict or ``Config``.
    n_samples
        Number of sites, where it is not that of `x`.

    Raises
    ------
    DataError
        If the record is not longer than the warm-up, or has no site.
    """
    from dmg.conf.config import as_config

    settings = as_config(config)
    n_t, n_sites = _shape(x)
    n_sites = n_sites if n_samples is None else int(n_samples)
    days = n_t - (settings.model.warmup or 0)
    if days < 1:
        raise DataError(
            f"the training data have {n_t} time steps, the warm-up alone takes {settings.model.warmup}",
            where="train.start_time, train.end_time, model.warmup",
            hint="lengthen the training period or shorten model.warmup",
        )
    if n_sites < 1:
        raise DataError("there is no site to train on", where="observations.subset_path, test.holdout_sites")
    if settings.train.iterations:
        return n_sites, int(settings.train.iterations), n_t
    seen = settings.train.batch_size * min(settings.model.rho, days) / (n_sites * days)
    n_iter = 1 if seen >= 1 else math.ceil(math.log(1 - COVERAGE) / math.log1p(-seen))
    return n_sites, n_iter, n_t


def _shape(x: Any) -> tuple[int, int]:
    if isinstance(x, Batch):
        return x.n_times, x.n_sites
    if isinstance(x, Mapping):
        x = x["x_nn_norm"] if "x_nn_norm" in x else x["xc_nn_norm"]
    return int(x.shape[0]), int(x.shape[1])
