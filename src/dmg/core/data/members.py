"""Ensembles as a batch dimension: every site once for each member, member after member."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from dmg.errors import DataError

if TYPE_CHECKING:
    import xarray as xr

SEPARATOR = "/"


def member_ids(sites: Sequence[str], members: int) -> list[str]:
    """Return the ids ``<site>/<member>`` of an ensemble, all sites of member 0 first.

    Raises
    ------
    DataError
        If there is no member.
    """
    if members < 1:
        raise DataError(f"an ensemble of {members} members", hint="give one at least")
    return [f"{site}{SEPARATOR}{member}" for member in range(members) for site in sites]


def as_members(ds: xr.Dataset, members: int) -> xr.Dataset:
    """Return a dataset (time, site) with every site once for each member, and a coordinate ``realization``.

    The series of all members are the same until you change them: reshape ``ds[name].values`` to [T, members, N].
    """
    sites = [str(site) for site in ds["site"].values]
    found = ds.isel(site=np.tile(np.arange(len(sites)), members))
    numbers = np.repeat(np.arange(members), len(sites))
    return found.assign_coords(
        site=("site", np.array(member_ids(sites, members), dtype=object)),
        realization=("site", numbers, {"units": "1", "long_name": "ensemble member"}),
    )


def by_member(ds: xr.Dataset) -> xr.Dataset:
    """Return what a run made of such a dataset with dims (realization, time, site).

    Raises
    ------
    DataError
        If the sites are not those of members, member after member.
    """
    import xarray as xr

    ids = [str(site).rpartition(SEPARATOR) for site in ds["site"].values]
    members = len({member for *_, member in ids})
    sites = [site for site, *_ in ids[: len(ids) // members]]
    if [str(site) for site in ds["site"].values] != member_ids(sites, members):
        raise DataError(
            "the sites are not those of an ensemble, member after member",
            where="site",
            hint="make them with as_members",
        )
    variables = {}
    for name, variable in ds.data_vars.items():
        shape = (*variable.shape[:-1], members, len(sites))
        dims = ("realization", *variable.dims)
        variables[name] = (dims, np.moveaxis(variable.values.reshape(shape), -2, 0), variable.attrs)
    coords = {"realization": np.arange(members), "site": np.array(sites, dtype=object)}
    return xr.Dataset(variables, coords=coords | {"time": ds["time"]}, attrs=ds.attrs)
