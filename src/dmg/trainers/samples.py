"""Results of samples, which have no time axis, as data sets and files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dmg.core.utils.atomic import atomic_write
from dmg.trainers.simulate import Simulation, to_dataset

if TYPE_CHECKING:
    import xarray as xr


def to_samples(run: Simulation, group: Any = None, observed: dict[str, np.ndarray] | None = None) -> xr.Dataset:
    """Return a simulation as a dataset with the dimension ``sample``.

    Parameters
    ----------
    run
        What was simulated.
    group
        Group of every sample, if there are any.
    observed
        Target to observations [1, N]; stored as ``<target>_obs``.
    """
    found = to_dataset(run, observed).isel(time=0, drop=True).rename(site="sample")
    found = found.drop_attrs(deep=False).assign_attrs(title=found.attrs["title"])
    if group is not None:
        found = found.assign_coords(group=("sample", np.asarray(group, dtype=object)))
    return found


def write_samples(dataset: xr.Dataset, path: Path) -> None:
    """Write a simulation of samples atomically as NetCDF."""
    with atomic_write(path) as temporary:
        dataset.to_netcdf(temporary, engine="h5netcdf")
