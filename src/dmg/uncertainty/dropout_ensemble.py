"""An ensemble of one trained run: every member drops other weights of its networks."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from dmg.errors import RunError
from dmg.models.neural_networks.monte_carlo import dropout_kept

if TYPE_CHECKING:
    import xarray as xr

    from dmg.trainers.run import Run


def dropout_ensemble(
    run: Run, dataset: xr.Dataset | str | Path, members: int = 50, *, seed: int = 0, **options: Any
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
    options
        Passed on to `Run.predict`.

    Raises
    ------
    RunError
        If there are fewer than two members, or dropout changes nothing.
    """
    import xarray as xr

    if members < 2:
        raise RunError(f"{members} members are no ensemble", hint="50 to 100 are usual")
    found = []
    with torch.random.fork_rng(devices=[]), dropout_kept():
        for member in range(members):
            torch.manual_seed(seed + member)
            found.append(run.predict(dataset, **options))
            if member == 1 and found[0].identical(found[1]):
                raise RunError(
                    "all members are the same: no network of this run drops anything",
                    where="model.nn.dropout",
                    hint="train with dropout, or make an ensemble of several seeds",
                )
    ensemble = xr.concat(found, dim="realization")
    return ensemble.assign_coords(realization=("realization", range(members), {"long_name": "ensemble member"}))
