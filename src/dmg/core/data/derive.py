"""Variables computed from others while a store is made, such as a mean from two extremes.

Formulas belong to domain packages, which register a :class:`Derivation` in ``dmg.registry.derivations`` under the
name of the variable it makes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from dmg.core.data.dataset import site_ids
from dmg.core.data.quantity import convert, resolve_unit
from dmg.errors import DataError
from dmg.registry import derivations

if TYPE_CHECKING:
    import xarray as xr


@dataclass(frozen=True)
class Derivation:
    """How one variable follows from others.

    Attributes
    ----------
    inputs
        Needed variables and the units `compute` wants them in; series arrive as ``[T, N]``, attributes as ``[N]``.
    unit
        Unit of the result.
    compute
        ``compute(doy=..., **inputs) -> [T, N]`` in float64; `doy` is the day of the year ``[T]``.
    long_name
        For readers of the file; names the method.
    daily
        Whether the formula is for daily steps only.
    """

    inputs: Mapping[str, str]
    unit: str
    compute: Callable[..., np.ndarray]
    long_name: str
    daily: bool = True


def derive(ds: xr.Dataset, name: str) -> xr.Dataset:
    """Return the dataset with the variable added; inputs that can be derived themselves are.

    Raises
    ------
    UnknownNameError
        If nobody registered a derivation of that name.
    DataError
        If an input is missing, or the time step is not daily where it must be.
    """
    rule: Derivation = derivations.get(name)
    for needed in rule.inputs:
        if needed not in ds.data_vars and needed in derivations and needed != name:
            ds = derive(ds, needed)
        if needed not in ds.data_vars:
            raise DataError(
                f"'{needed}' is needed to derive '{name}' and is not there",
                hint=f"variables: {', '.join(map(str, ds.data_vars))}; name it with --rename OLD={needed}",
            )
    times = ds["time"].values
    if rule.daily and len(times) > 1 and (times[1] - times[0]) != np.timedelta64(1, "D"):
        raise DataError(f"'{name}' is derived by a formula for daily steps, and this record is not daily")
    inputs = {n: _values(ds, n, unit) for n, unit in rule.inputs.items()}
    result = rule.compute(doy=ds["time"].dt.dayofyear.values, **inputs).astype(np.float32)
    expected = (len(times), len(site_ids(ds)))
    result = np.broadcast_to(result, expected)
    return ds.assign({name: (("time", "site"), result, {"units": rule.unit, "long_name": rule.long_name})})


def _values(ds: xr.Dataset, name: str, unit: str) -> np.ndarray:
    stored = resolve_unit(name, ds[name].attrs.get("units"))
    return convert(ds[name].values.astype(np.float64), stored, unit)
