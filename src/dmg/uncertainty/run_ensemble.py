"""An ensemble of several trained runs: other seeds, other networks, other forcings."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from dmg.errors import RunError
from dmg.models.neural_networks.monte_carlo import noise_drawn

if TYPE_CHECKING:
    import xarray as xr

    from dmg.trainers.run import Run


def run_ensemble(
    runs: Sequence[Run],
    dataset: xr.Dataset | str | Path,
    *,
    draws: int = 0,
    seed: int = 0,
    **options: Any,
) -> xr.Dataset:
    """Return the predictions of several runs as the members of one ensemble, dims (realization, time, site).

    Parameters
    ----------
    runs
        Trained runs with the same targets.
    dataset
        As for `Run.predict`.
    draws
        Draws from the distribution that each run tells (``model.head``), instead of its one prediction.
    seed
        Of the draws.
    options
        Passed on to `Run.predict`.

    Raises
    ------
    RunError
        If there are fewer than two members, the runs have no output in common, or draws are asked of a run that tells
        no distribution.
    """
    if len(runs) * max(draws, 1) < 2:
        raise RunError("one member is no ensemble", hint="give several runs, such as the seeds of an experiment")
    if draws:
        for run in runs:
            require_distribution(run)
    found = []
    with torch.random.fork_rng(devices=[]), noise_drawn() if draws else nullcontext():
        torch.manual_seed(seed)
        for run in runs:
            found += [run.predict(dataset, **options) for _ in range(max(draws, 1))]
    shared = [name for name in found[0] if all(name in member for member in found)]
    if not shared:
        raise RunError("the runs have no output in common", hint="give runs with the same train.target")
    return as_ensemble([member[shared] for member in found])


def as_ensemble(members: Sequence[xr.Dataset]) -> xr.Dataset:
    """Return predictions as members along the dimension ``realization``, the time steps that all of them have."""
    import xarray as xr

    joined = xr.concat(members, dim="realization", join="inner")
    return joined.assign_coords(realization=("realization", range(len(members)), {"long_name": "ensemble member"}))


def require_distribution(run: Run) -> None:
    """Refuse a run whose head tells no distribution to draw from."""
    if run.model.head.width == 1:
        raise RunError(
            "the run predicts one number for every target, there is nothing to draw from",
            where=f"model.head of {run.path}",
            hint="train a network alone with model.head=normal or model.head=quantiles",
        )
