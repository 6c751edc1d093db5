"""``dmg data netcdf``: a NetCDF file or Zarr store of any naming becomes a canonical store."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from dmg.core.data.converter import Converter
from dmg.core.data.dataset import open_file
from dmg.core.data.sites import text_id, unique_ids
from dmg.errors import DataError
from dmg.registry import converters

if TYPE_CHECKING:
    import xarray as xr

SITE_NAMES = (
    "site",
    "basin",
    "gauge_id",
    "gauge",
    "gage_id",
    "gage",
    "station",
    "station_id",
    "catchment",
    "unit",
)
TIME_NAMES = ("time", "date", "datetime", "day")


def read_netcdf(
    path: str | Path,
    *,
    site_dim: str | None = None,
    time_dim: str | None = None,
    id_variable: str | None = None,
) -> tuple[xr.Dataset, list[str]]:
    """Open a file with dims named (time, site) and text ids, lazily, and note what is left out.

    Parameters
    ----------
    path
        NetCDF file or Zarr directory.
    site_dim, time_dim
        Names of the dims in the file; by default one of the usual names that is there.
    id_variable
        Variable along the site dim that holds the ids, where the dim has no coordinate.

    Raises
    ------
    DataError
        If the dims or ids are not there; names those that are.
    """
    import numpy as np

    ds = open_file(path)
    where = str(path)
    site = _pick(ds, site_dim, SITE_NAMES, "--site-dim", where)
    time = _pick(ds, time_dim, TIME_NAMES, "--time-dim", where)
    source = id_variable or site
    if source not in ds.variables or ds[source].dims != (site,):
        raise DataError(
            f"the sites have no ids: there is no variable '{source}' over '{site}'",
            where=where,
            hint="name the variable that holds them: --id-variable NAME",
        )
    if time not in ds.variables:
        raise DataError(f"the dim '{time}' has no coordinate", where=where)
    ids = unique_ids([text_id(value) for value in ds[source].values.tolist()], where=where)
    ds = ds.drop_vars(site, errors="ignore").drop_vars(source, errors="ignore")
    ds = ds.rename({old: new for old, new in ((site, "site"), (time, "time")) if old != new})
    ds = ds.assign_coords(site=("site", np.array(ids, dtype=object)))
    ds = ds.reset_coords([name for name in ds.coords if name not in ("site", "time")])
    notes = []
    for name, var in list(ds.data_vars.items()):
        if set(var.dims) not in ({"time", "site"}, {"site"}):
            notes.append(f"'{name}' has dims ({', '.join(map(str, var.dims))}), left out")
            ds = ds.drop_vars(name)
        elif var.dtype.kind not in "fiub":
            notes.append(f"'{name}' holds text, left out (bring categories in by --attributes)")
            ds = ds.drop_vars(name)
    return ds.transpose("time", "site"), notes


@converters.register("netcdf")
class NetcdfConverter(Converter):
    """The sub-command ``dmg data netcdf``."""

    summary = "NetCDF file or Zarr store with dims of any name, attributes inside or in tables aside"
    input_help = "NetCDF file or Zarr directory"

    def add_own_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Declare how the dims are called."""
        parser.add_argument("--site-dim", metavar="NAME", help=f"site dim in the file (default: {SITE_NAMES[0]}, …)")
        parser.add_argument("--time-dim", metavar="NAME", help=f"time dim in the file (default: {TIME_NAMES[0]}, …)")
        parser.add_argument("--id-variable", metavar="NAME", help="variable with the site ids, if not the dim's own")

    def read(self, args: argparse.Namespace) -> tuple[xr.Dataset, list[str]]:
        """Open the file lazily."""
        return read_netcdf(args.input, site_dim=args.site_dim, time_dim=args.time_dim, id_variable=args.id_variable)


def _pick(ds: xr.Dataset, wanted: str | None, usual: tuple[str, ...], option: str, where: str) -> str:
    dims = [str(dim) for dim in ds.sizes]
    if wanted is not None and wanted in dims:
        return wanted
    found = [name for name in usual if name in dims] if wanted is None else []
    if len(found) == 1:
        return found[0]
    raise DataError(
        f"which dim is meant by {option}? the file has: {', '.join(dims)}"
        if wanted is None
        else f"{option}: the file has no dim '{wanted}' but {', '.join(dims)}",
        where=where,
        hint=f"name it: {option} NAME",
    )
