"""The canonical dataset: an xarray Dataset with dims (time, site), units on every variable, NaN for missing.

Series are float32 ``(time, site)``, static attributes float32 ``(site)``; ``site`` holds unique text ids,
``time`` a regular axis of datetime64. On disk it is NetCDF (``.nc``) or Zarr (``.zarr``).
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dmg.errors import DataError, did_you_mean

if TYPE_CHECKING:
    import xarray as xr

NETCDF_SUFFIXES = (".nc", ".nc4", ".netcdf", ".h5")
PICKLE_SUFFIXES = (".pkl", ".pickle", ".p")
CHUNK = {"time": 1024, "site": 128}
"""Chunks of a store that is written here, and blocks in which one without chunks is read."""


def series_names(ds: xr.Dataset) -> list[str]:
    """Return the names of the variables over (time, site)."""
    return [str(name) for name, var in ds.data_vars.items() if set(var.dims) == {"time", "site"}]


def attribute_names(ds: xr.Dataset) -> list[str]:
    """Return the names of the static variables, over (site)."""
    return [str(name) for name, var in ds.data_vars.items() if var.dims == ("site",)]


def site_ids(ds: xr.Dataset) -> list[str]:
    """Return the site ids as text."""
    return [str(site) for site in ds["site"].values]


def select_variables(ds: xr.Dataset, names: list[str], where: str | None = None) -> xr.Dataset:
    """Return the dataset with these variables only, in this order.

    Raises
    ------
    DataError
        If one is missing; suggests the closest name.
    """
    for name in names:
        if name not in ds.data_vars:
            raise DataError(
                f"the dataset has no variable '{name}'",
                where=where or ds.encoding.get("source"),
                hint=did_you_mean(name, [str(n) for n in ds.data_vars]),
            )
    return ds[list(names)]


def check_dataset(ds: xr.Dataset, *, where: str | None = None, require_units: bool = True) -> xr.Dataset:
    """Return the dataset if it is canonical.

    Raises
    ------
    DataError
        If dims, ids, the time axis or units are not as the module describes; names what and where.
    """
    for dim in ("time", "site"):
        if dim not in ds.dims or dim not in ds.coords:
            raise DataError(
                f"the dataset has no coordinate '{dim}' (dims: {', '.join(map(str, ds.sizes)) or 'none'})",
                where=where,
                hint=f"convert it: `dmg data netcdf IN OUT --{dim}-dim NAME`",
            )
        if ds.sizes[dim] == 0:
            raise DataError(f"the dimension '{dim}' is empty", where=where)
    _check_sites(ds["site"].values, where)
    _check_times(ds["time"].values, where)
    for name, var in ds.data_vars.items():
        if not set(var.dims) <= {"time", "site"} or not var.dims:
            raise DataError(f"'{name}' has dims {var.dims}, not (time, site) or (site)", where=where)
        if var.dtype.kind not in "fiub":
            raise DataError(
                f"'{name}' is not numeric (dtype {var.dtype})",
                where=where,
                hint="encode its categories as numbers",
            )
    bare = [str(n) for n, v in ds.data_vars.items() if not str(v.attrs.get("units", "")).strip()]
    if require_units and bare:
        raise DataError(
            f"no unit on: {', '.join(bare)}",
            where=where,
            hint=f"give one, as in `--unit {bare[0]}='mm d-1'` ('1' is dimensionless)",
        )
    return ds


def canonical(ds: xr.Dataset, *, where: str | None = None, require_units: bool = True, cast: bool = True) -> xr.Dataset:
    """Return the dataset with text ids and dims in order, checked.

    With `cast` the variables become float32, which reads those that are not; otherwise everything stays lazy.
    """
    if "site" in ds.coords and ds["site"].ndim == 1:
        ds = ds.assign_coords(site=("site", _text_ids(ds["site"].values), dict(ds["site"].attrs)))
    if {"time", "site"} <= set(ds.dims):
        ds = ds.transpose("time", "site", ...)
    wide = [n for n, v in ds.data_vars.items() if v.dtype.kind in "fiub" and v.dtype != np.float32]
    if cast and wide:
        ds = ds.assign({n: ds[n].astype(np.float32) for n in wide})
    return check_dataset(ds, where=where, require_units=require_units)


def open_dataset(path: str | Path, *, require_units: bool = False) -> xr.Dataset:
    """Open a canonical store lazily: values are read when they are asked for.

    Parameters
    ----------
    path
        NetCDF file, or Zarr directory (format 2 or 3).
    require_units
        Refuse variables without a unit; otherwise the reader's configuration may supply it.

    Raises
    ------
    DataError
        If there is no such file, it is a pickle, cannot be read, or is not canonical.
    """
    path = Path(path).expanduser()
    return canonical(open_file(path), where=str(path), require_units=require_units, cast=False)


def open_file(path: str | Path) -> xr.Dataset:
    """Open any NetCDF file or Zarr directory lazily, whatever its dims are called."""
    import xarray as xr

    path = Path(path).expanduser()
    if path.suffix.lower() in PICKLE_SUFFIXES:
        raise DataError(
            "a pickle is not read as data: loading one runs whatever code it holds",
            where=str(path),
            hint="convert it once, if you trust its source: "
            f"`dmg data pickle {path} {path.with_suffix('.nc')} --gages GAGE_IDS.npy --forcings NAME,… "
            "--attribute-names NAME,… --first-day DATE --unit NAME=UNIT --trust-pickle`",
        )
    if not path.exists():
        raise DataError(
            f"no such file: {path}",
            hint="make one with `dmg data netcdf|table|camels-us|pickle IN OUT` (see `dmg data --help`), "
            "or set observations.data_path",
        )
    is_zarr = path.is_dir()
    if is_zarr and not any((path / mark).exists() for mark in (".zgroup", ".zmetadata", "zarr.json")):
        raise DataError(
            "the directory is not a Zarr store",
            where=str(path),
            hint="name the store itself, DIR/STORE.zarr or DIR/STORE.nc; raw files are converted with `dmg data`",
        )
    how: dict[str, Any] = (
        {"engine": "zarr", "consolidated": _is_consolidated(path)} if is_zarr else {"engine": "h5netcdf"}
    )
    try:
        return xr.open_dataset(path, **how, decode_timedelta=False)
    except Exception as error:
        raise DataError(
            f"cannot read it as {'Zarr' if is_zarr else 'NetCDF-4'}: {error}",
            where=str(path),
            hint="tables are converted with `dmg data table`, NetCDF-3 with `nccopy -k nc4`",
        ) from error


def write_dataset(ds: xr.Dataset, path: str | Path) -> Path:
    """Write a canonical dataset; the suffix (``.nc`` or ``.zarr``) decides the format.

    Nothing is left under `path` unless everything was written.

    Raises
    ------
    DataError
        If the suffix is another, or the dataset is not canonical.
    """
    from dmg.core.utils.atomic import atomic_write

    path = Path(path).expanduser()
    if path.suffix not in (".nc", ".zarr"):
        raise DataError(f"cannot write '{path.name}'", hint="the name of a store ends in .nc or .zarr")
    ds = _described(canonical(ds.copy(), where=str(path)))
    with atomic_write(path) as temporary:
        if path.suffix == ".nc":
            ds.to_netcdf(temporary, engine="h5netcdf", encoding=_encoding(ds, "nc"))
        else:
            write_zarr(ds, temporary)
    return path


def write_zarr(ds: xr.Dataset, path: str | Path) -> None:
    """Write a canonical dataset, or only its coordinates, as a Zarr directory, not atomically."""
    ds = _described(ds.copy())
    # Format 2: text ids of variable length have no settled encoding in format 3 yet.
    ds.to_zarr(path, mode="w", zarr_format=2, consolidated=True, encoding=_encoding(ds, "zarr"))


def _described(ds: xr.Dataset) -> xr.Dataset:
    """Give a dataset the attributes of CF, and no encoding."""
    from dmg._version import __version__

    ds.attrs = {**ds.attrs, "Conventions": "CF-1.11", "featureType": "timeSeries", "dmg_version": __version__}
    ds["site"].attrs.update(long_name="site id", cf_role="timeseries_id")
    ds["time"].attrs.update(standard_name="time", axis="T")
    for var in ds.variables.values():
        var.encoding = {}
    return ds


def _encoding(ds: xr.Dataset, kind: str) -> dict[str, dict[str, Any]]:
    encoding: dict[str, dict[str, Any]] = {}
    for name, var in ds.data_vars.items():
        chunks = tuple(min(CHUNK[str(dim)], size) for dim, size in zip(var.dims, var.shape, strict=True))
        encoding[str(name)] = {"dtype": "float32", "_FillValue": np.float32(np.nan)}
        if kind == "nc":
            encoding[str(name)] |= {"zlib": True, "complevel": 1, "shuffle": True, "chunksizes": chunks}
        else:
            encoding[str(name)] |= {"chunks": chunks}
    step = "days" if _whole_days(ds["time"].values) else "seconds"
    encoding["time"] = {
        "units": f"{step} since 1970-01-01",
        "dtype": "int64",
        "calendar": "proleptic_gregorian",
    }
    return encoding


def _is_consolidated(path: Path) -> bool:
    if (path / "zarr.json").exists():
        return '"consolidated_metadata"' in (path / "zarr.json").read_text()
    return (path / ".zmetadata").exists()


def _whole_days(times: np.ndarray) -> bool:
    return bool((times == times.astype("datetime64[D]")).all())


def _text_ids(values: np.ndarray) -> np.ndarray:
    return np.array([v.decode() if isinstance(v, bytes) else str(v) for v in values.tolist()], dtype=object)


def _check_sites(sites: np.ndarray, where: str | None) -> None:
    ids, counts = np.unique(sites.astype(str), return_counts=True)
    if (counts > 1).any():
        doubled = ", ".join(ids[counts > 1][:5])
        raise DataError(f"site ids occur more than once: {doubled}", where=where)
    if (np.char.strip(ids) == "").any():
        raise DataError("a site has an empty id", where=where)


def _check_times(times: np.ndarray, where: str | None) -> None:
    if times.dtype.kind != "M":
        raise DataError(
            f"the time axis is not datetime64 but {times.dtype}",
            where=where,
            hint="use CF time units ('days since 1970-01-01') and the standard calendar",
        )
    if np.isnat(times).any():
        raise DataError("the time axis has missing entries", where=where)
    steps = np.diff(times)
    if (steps <= np.timedelta64(0)).any():
        at = int(np.argmax(steps <= np.timedelta64(0)))
        raise DataError(f"time does not increase after {_stamp(times[at])}", where=where)
    if len(steps) and (steps != steps[0]).any():
        at = int(np.argmax(steps != steps.min()))
        raise DataError(
            f"the time axis is not regular: {_stamp(times[at])} is followed by {_stamp(times[at + 1])}",
            where=where,
            hint="insert the missing steps with NaN (the converters do)",
        )


def _stamp(time: np.datetime64) -> str:
    text = str(time.astype("datetime64[m]")).replace("T", " ")
    return text.removesuffix(" 00:00")
