"""Long-term water balance of every site, for ``dmg data info``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from dmg.core.data.quantity import conversion
from dmg.registry import summaries

if TYPE_CHECKING:
    import xarray as xr

AREA_NAMES = ("area_gages2", "catchsize", "area")


@summaries.register("water_balance")
def water_balance(ds: xr.Dataset) -> dict[str, np.ndarray]:
    """Return mean precipitation, PET and flow, runoff ratio and aridity of every site, ``[N]`` each.

    ``P_mm_yr``, ``PET_mm_yr``, ``Q_mm_yr`` are means over the days that have a value, in mm per year of 365.25 days;
    the runoff ratio Q/P uses the days that have both. Columns whose variable is not there, or has a unit that is no
    depth per time (volume per time: with an area), are left out.
    """
    series = {
        label: values
        for label, name in (("P", "prcp"), ("PET", "pet"), ("Q", "streamflow"))
        if (values := _depth(ds, name)) is not None
    }
    result = {f"{label}_mm_yr": 365.25 * _mean(values) for label, values in series.items()}
    if "P" in series and "Q" in series:
        both = np.isfinite(series["P"]) & np.isfinite(series["Q"])
        q, p = (_mean(np.where(both, series[key], np.nan)) for key in ("Q", "P"))
        result["runoff_ratio"] = _ratio(q, p)
    if "P" in series and "PET" in series:
        result["aridity"] = _ratio(result["PET_mm_yr"], result["P_mm_yr"])
    return result


def _depth(ds: xr.Dataset, name: str) -> np.ndarray | None:
    if name not in ds.data_vars or not ds[name].attrs.get("units"):
        return None
    try:
        step = conversion(ds[name].attrs["units"], "mm d-1")
    except ValueError:
        return None
    if not step.needs_area:
        return step(ds[name].values)
    area = next((ds[n].values for n in AREA_NAMES if n in ds.data_vars), None)
    return None if area is None else step(ds[name].values, area)


def _mean(values: np.ndarray) -> np.ndarray:
    known = np.isfinite(values)
    count = known.sum(axis=0)
    total = np.where(known, values, 0.0).sum(axis=0, dtype=np.float64)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def _ratio(above: np.ndarray, below: np.ndarray) -> np.ndarray:
    return np.where(below > 0, above / np.where(below > 0, below, 1.0), np.nan)
