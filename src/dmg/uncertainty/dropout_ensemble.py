"""An ensemble of one trained run: every member drops other weights of its networks."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from dmg.errors import RunError
from dmg.models.neural_networks.monte_carlo import dropout_kept, noise_drawn
from dmg.uncertainty.run_ensemble import as_ensemble, require_distribution

if TYPE_CHECKING:
    import xarray as xr

    from dmg.trainers.run import Run


def dropout_ensemble(
    run: Run,
    dataset: xr.Dataset | str | Path,
    members: int = 50,
    *,
    seed: int = 0,
    noise: bool = False,
    **options: Any,
) -> xr.Dataset:
    """Return predictions of a run with dropout kept, dims (realization, time, site).

    A network that supplies the parameters of a process drops while the process does not: each member closes its budget,
    and stores and fluxes that were never observed have a spread as well.

    Parameters
    ----------
    run
        A trained run.
    dataset
        As for `Run.predict`.
    members
        Number of members.
    seed
        Member k is that of the seed ``seed + k``, whatever the number of members is. It is another one if the sites are
        run in other batches.
    noise
        Add what the head of a network alone tells of the noise (``model.head``): each value is a draw of the
        distribution that the member predicts, so that the ensemble knows what the network does not know and what no
        network could.
    options
        Passed on to `Run.predict`.

    Raises
    ------
    RunError
        If there are fewer than two members, dropout changes nothing, or there is no distribution to draw from.
    """
    if members < 2:
        raise RunError(f"{members} members are no ensemble", hint="50 to 100 are usual")
    if noise:
        require_distribution(run)
    found = []
    with torch.random.fork_rng(devices=[]), dropout_kept(), noise_drawn() if noise else nullcontext():
        for member in range(members):
            torch.manual_seed(seed + member)
            found.append(run.predict(dataset, **options))
            if member == 1 and found[0].identical(found[1]):
                raise RunError(
                    "all members are the same: no network of this run drops anything",
                    where="model.nn.dropout",
                    hint="train with dropout, or make an ensemble of several seeds",
                )
    return as_ensemble(found)
