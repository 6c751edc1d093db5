"""Zarr groups in the published layout of unit basins, seen as a canonical dataset without being converted."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from xarray.backends import BackendArray
from xarray.core import indexing

from dmg.errors import DataError, did_you_mean

if TYPE_CHECKING:
    import xarray as xr
    import zarr

GROUP = "attrs"
"""Sub-group of the attributes."""

UNITS = {
    **dict.fromkeys(("P", "prcp", "PET", "pet"), "mm d-1"),
    **dict.fromkeys(("Temp", "T", "tmean"), "degC"),
}
"""Units of the forcings of the layout, which names none; those of an array's own attribute ``units`` count first."""


class _BySite(BackendArray):
    """An array [site, time] as one [time, site], read where it is indexed."""

    def __init__(self, array: zarr.Array) -> None:
        self.array, self.shape, self.dtype = array, array.shape[::-1], np.dtype(np.float32)

    def __getitem__(self, key: indexing.ExplicitIndexer) -> np.ndarray:
        return indexing.explicit_indexing_adapter(key, self.shape, indexing.IndexingSupport.OUTER, self._read)

    def _read(self, key: tuple[Any, ...]) -> np.ndarray:
        return np.asarray(self.array.oindex[key[::-1]], dtype=np.float32).T


def is_unit_group(path: str | Path) -> bool:
    """Whether a directory is a Zarr group with attributes in a group of their own."""
    return any((Path(path) / GROUP / mark).exists() for mark in (".zgroup", "zarr.json"))


def open_unit_group(path: str | Path, id_name: str | None, start: str | None) -> xr.Dataset:
    """Open a Zarr group (format 2 or 3): a root array [unit, day] per forcing, ids, and attributes in ``attrs``.

    Parameters
    ----------
    path
        The group.
    id_name
        Array of the ids, ``observations.subbasin_id_name``.
    start
        First day, ``observations.start_time``: the layout has no time axis.

    Returns
    -------
    xarray.Dataset
        Forcings (time, site), read lazily, and attributes (site).

    Raises
    ------
    DataError
        If ids or first day are not given, or there is no such array.
    """
    import xarray as xr
    import zarr

    group = zarr.open_group(Path(path).expanduser(), mode="r")
    arrays = dict(group.arrays())
    if id_name not in arrays:
        raise DataError(
            f"the group has no array '{id_name}'" if id_name else "nothing says which array has the ids of the units",
            where=f"{path}; observations.subbasin_id_name",
            hint=did_you_mean(str(id_name), arrays) if id_name else f"one of {', '.join(sorted(arrays)[:12])}",
        )
    if start is None:
        raise DataError(
            "the group has no time axis",
            where=f"{path}; observations.start_time",
            hint="give the first day of its series",
        )
    ids = np.asarray(arrays.pop(id_name)[:])
    forcings = {name: a for name, a in arrays.items() if a.ndim == 2 and a.shape[0] == len(ids)}
    lengths = {a.shape[1] for a in forcings.values()}
    if len(lengths) != 1:
        shapes = ", ".join(f"{name} {a.shape}" for name, a in sorted(forcings.items())) or "none"
        raise DataError(f"the series have not one length: {shapes}", where=str(path), hint="they are [unit, day]")
    variables: dict[str, Any] = {}
    for name, array in forcings.items():
        lazily = indexing.LazilyIndexedArray(_BySite(array))
        chunks = dict(zip(("site", "time"), array.chunks, strict=True))
        variables[name] = xr.Variable(("time", "site"), lazily, _units(name, array), {"preferred_chunks": chunks})
    for name, array in group[GROUP].arrays():
        if array.shape == (len(ids),) and array.dtype.kind in "fiub":
            variables.setdefault(name, ("site", np.asarray(array[:]), _units(name, array)))
    first = np.datetime64(str(start).strip().replace("/", "-")[:10], "ns")
    times = first + np.arange(lengths.pop()) * np.timedelta64(1, "D")
    return xr.Dataset(variables, coords={"time": times, "site": [_text(i) for i in ids.tolist()]})


def _units(name: str, array: zarr.Array) -> dict[str, str]:
    unit = array.attrs.get("units") or UNITS.get(name)
    return {"units": str(unit)} if unit else {}


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
