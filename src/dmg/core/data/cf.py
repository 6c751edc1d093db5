"""Series of sites as a CF NetCDF file that other programs read: discrete sampling geometry ``timeSeries``.

The layout is the orthogonal one (CF conventions, H.2.1): dimensions site and time, one identifier for each site, and
the site's place beside it. ``time`` is the valid time, the end of each step; its bounds say which interval a mean is
of, and what is a value at one moment is that at the end. A forecast carries its reference time and lead times.

The stores of `dmg data` (:mod:`dmg.core.data.dataset`) are the working format instead: they have the id as an index,
and name a step by its beginning.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dmg.core.data.quantity import parse_unit, unit_text
from dmg.core.data.vocabulary import cf_standard_name
from dmg.errors import DataError, did_you_mean

if TYPE_CHECKING:
    import xarray as xr

CONVENTIONS = "CF-1.11"
MISSING = np.iinfo(np.int32).min
"""What stands for a missing value among packed ones."""
_COMPRESSED = {"zlib": True, "complevel": 1, "shuffle": True}
_CLOCK = {"units_metadata": "leap_seconds: none"}
_PLACES = {
    "latitude": {"units": "degrees_north", "long_name": "latitude", "axis": "Y"},
    "longitude": {"units": "degrees_east", "long_name": "longitude", "axis": "X"},
    "surface_altitude": {"units": "m", "long_name": "elevation"},
}


def write_cf(
    ds: xr.Dataset,
    path: str | Path,
    *,
    reference_time: np.datetime64 | str | None = None,
    step: np.timedelta64 | None = None,
    title: str | None = None,
    packed: Mapping[str, float] | None = None,
) -> Path:
    """Write series of sites as CF NetCDF, atomically.

    Parameters
    ----------
    ds
        Dims (time, site), units on every variable, ``time`` the beginning of each step: what ``Run.predict`` returns
        and ``dmg data`` writes. Variables over (site) whose standard name is a latitude, longitude or altitude, and
        coordinates over (site) such as ``realization``, become auxiliary coordinates.
    path
        Where to write; the name ends in ``.nc``.
    reference_time
        When a forecast was issued; the file then has it, and the lead time of every step (``forecast_period``).
    step
        Length of a step, needed where there is only one.
    title
        What the file is; that of the dataset if absent.
    packed
        Variable to resolution: it is written as whole numbers of that many of its unit (int32 with ``scale_factor``),
        as the National Water Model writes discharge and the tools that verify it read.

    Raises
    ------
    DataError
        If dims or units are missing, there is one time and no step, a forecast is valid before it was issued, or a
        variable that is to be packed is not there or too large for its resolution.
    """
    from dmg.core.data.dataset import canonical
    from dmg.core.utils.atomic import atomic_write

    path = Path(path).expanduser()
    if path.suffix != ".nc":
        raise DataError(f"cannot write '{path.name}'", hint="the name of a CF NetCDF file ends in .nc")
    found = to_cf(canonical(ds, where=str(path)), reference_time=reference_time, step=step, title=title)
    encoding = _encoding(found)
    for name, resolution in (packed or {}).items():
        encoding[name] = _packing(found, name, resolution)
    with atomic_write(path) as temporary:
        found.to_netcdf(temporary, engine="h5netcdf", encoding=encoding)
    return path


def _moment(text: np.datetime64 | str) -> np.datetime64:
    """Return a moment; texts may have slashes, as in configurations."""
    try:
        return np.datetime64(str(text).replace("/", "-").replace(" ", "T"), "ns")
    except ValueError as error:
        raise DataError(
            f"'{text}' is not a date", where="reference_time", hint="write it like 2009-01-01T06:00"
        ) from error


def to_cf(
    ds: xr.Dataset,
    *,
    reference_time: np.datetime64 | str | None = None,
    step: np.timedelta64 | None = None,
    title: str | None = None,
) -> xr.Dataset:
    """Return series of sites in the layout that `write_cf` writes; the parameters are its own."""
    import xarray as xr

    from dmg._version import __version__

    begins = ds["time"].values.astype("datetime64[ns]")
    if step is None and len(begins) < 2:
        raise DataError("one time alone does not say how long its step is", where="time", hint="give step=")
    ends = begins + (begins[1] - begins[0] if step is None else step).astype("timedelta64[ns]")
    coords: dict[str, Any] = {
        "time": (
            "time",
            ends,
            {"standard_name": "time", "long_name": "valid time, end of step", **_CLOCK, "axis": "T"},
        ),
        "site_id": ("site", ds["site"].values.astype(object), {"long_name": "site id", "cf_role": "timeseries_id"}),
    }
    coords["time"][2]["bounds"] = "time_bounds"
    if reference_time is not None:
        coords |= _forecast(_moment(reference_time), begins, ends)
    coords |= {str(n): _described(str(n), c) for n, c in ds.coords.items() if c.dims == ("site",) and n != "site"}
    variables: dict[str, Any] = {"time_bounds": (("time", "bound"), np.stack([begins, ends], axis=1))}
    for name, variable in ds.data_vars.items():
        known = cf_standard_name(str(name), variable.attrs["units"])
        if known in _PLACES and variable.dims == ("site",):
            coords[_short(known)] = "site", variable.values, {"standard_name": known, **_PLACES[known]}
        else:
            variables[str(name)] = _described(str(name), variable.transpose("site", ...))
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return xr.Dataset(
        variables,
        coords=coords,
        attrs={
            **ds.attrs,
            "title": title or ds.attrs.get("title") or "series of sites",
            "Conventions": CONVENTIONS,
            "featureType": "timeSeries",
            "source": f"dmg {__version__}",
            "history": f"{now} written by dmg {__version__}",
        },
    )


def _forecast(reference: np.datetime64, begins: np.ndarray, ends: np.ndarray) -> dict[str, Any]:
    if reference > begins[0]:
        raise DataError(
            f"the forecast was issued at {reference}, after the beginning {begins[0]} of its first step",
            where="reference_time",
            hint="a forecast begins when it is issued, or later",
        )
    hours = (ends - reference) / np.timedelta64(1, "h")
    about = {"standard_name": "forecast_reference_time", "long_name": "time of issue", **_CLOCK}
    lead = {"standard_name": "forecast_period", "long_name": "lead time", "units": "hours"}
    return {"reference_time": ((), reference, about), "lead_time": ("time", hours, lead)}


def _described(name: str, variable: xr.DataArray) -> tuple[tuple[str, ...], np.ndarray, dict[str, Any]]:
    """Return dims, values and the attributes that CF asks for."""
    unit = variable.attrs.get("units", "1")
    about = {"long_name": name.replace("_", " "), **variable.attrs, "units": unit_text(unit)}
    if known := cf_standard_name(name, unit):
        about["standard_name"] = known
        if parse_unit(unit).dimensionality == parse_unit("K").dimensionality:
            about["units_metadata"] = "temperature: on_scale"
    if "time" in variable.dims:
        per_time = dict(parse_unit(unit).dimensionality).get("[time]", 0) < 0
        about.setdefault("cell_methods", "time: mean" if per_time else "time: point")
    return tuple(map(str, variable.dims)), variable.values, about


def _short(standard: str) -> str:
    return {"latitude": "lat", "longitude": "lon"}.get(standard, standard)


def _encoding(ds: xr.Dataset) -> dict[str, dict[str, Any]]:
    encoding: dict[str, dict[str, Any]] = {}
    for name, variable in ds.variables.items():
        if variable.dtype.kind == "M":
            encoding[str(name)] = {
                "units": "seconds since 1970-01-01",
                "calendar": "standard",
                "dtype": "float64",
                "_FillValue": None,
            }
        elif variable.dtype.kind in "iu":
            encoding[str(name)] = {"dtype": "int32"}
        elif variable.dtype.kind == "f":
            is_coordinate = name in ds.coords
            encoding[str(name)] = {"_FillValue": None} if is_coordinate else {"_FillValue": np.float32(np.nan)}
            if not is_coordinate:
                encoding[str(name)] |= {"dtype": "float32", **_COMPRESSED}
    return encoding


def _packing(ds: xr.Dataset, name: str, resolution: float) -> dict[str, Any]:
    """Return how a variable is written as whole numbers.

    Raises
    ------
    DataError
        If it is not there, the resolution is not positive, or a value has no place in 32 bits.
    """
    if name not in ds.data_vars:
        raise DataError(f"there is no '{name}' to pack", hint=did_you_mean(name, list(map(str, ds.data_vars))))
    if not resolution > 0:
        raise DataError(f"the resolution of '{name}' is {resolution:g}", hint="give a positive one, such as 0.01")
    largest = float(np.abs(ds[name]).max())
    if largest > -MISSING * resolution - resolution:
        raise DataError(
            f"'{name}' reaches {largest:g}, too much for whole numbers of {resolution:g} in 32 bits",
            hint="give a coarser resolution",
        )
    return {"dtype": "int32", "scale_factor": resolution, "add_offset": 0.0, "_FillValue": MISSING, **_COMPRESSED}
