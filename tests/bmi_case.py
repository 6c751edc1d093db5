"""A small trained run as a component: the files it needs, and a host that drives it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
import yaml
from small_run import small_config, small_store

from dmg.bmi import DeltaModelBmi
from dmg.core.data.dataset import write_dataset
from dmg.trainers import Trainer

WARMUP = 10
UNITS = {"prcp": 24.0, "tmean": 1.0, "pet": 24.0}
"""Of the store (mm d-1, degC) in that of the host (mm h-1, degC)."""
NAMES = {
    "prcp": "atmosphere_water__liquid_equivalent_precipitation_rate",
    "tmean": "land_surface_air__temperature",
    "pet": "land_surface_water__potential_evaporation_volume_flux",
}


def trained(folder: Path, **changes: Any) -> Path:
    """Train a small model and return the folder of the run."""
    settings = {"train__epochs": 1, "train__iterations": 1, **changes}
    Trainer(small_config(folder, **settings)).train()
    return folder / "out"


def write_case(folder: Path, run: Path, sites: list[str], *, spin_up: int | None = 20, **settings: Any) -> Path:
    """Write the configuration of a component, and what it names, into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    store = small_store().sel(site=sites)
    write_dataset(store.isel(time=slice(0, 2)), folder / "attributes.nc")
    tree: dict[str, Any] = {
        "model": str(run),
        "catchments": [{"id": s, "lat": 40.0 + i, "lon": -100.0 - i, "area_km2": 10.0} for i, s in enumerate(sites)],
        "attributes": "attributes.nc",
    }
    if spin_up:
        write_dataset(store.isel(time=slice(0, spin_up)), folder / "spin_up.nc")
        tree["spin_up"] = "spin_up.nc"
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump(tree | settings))
    return path


def component(config: Path) -> DeltaModelBmi:
    """Return an initialized component."""
    made = DeltaModelBmi()
    made.initialize(str(config))
    return made


def supply(bmi: DeltaModelBmi, store: xr.Dataset, step: int) -> None:
    """Set the inputs of a step of a store, as a daily host does."""
    for variable, name in NAMES.items():
        bmi.set_value(name, np.asarray(store[variable].values[step], dtype=float).reshape(-1) / UNITS[variable])


def read(bmi: DeltaModelBmi, name: str) -> np.ndarray:
    """Return a copy of the values of a variable."""
    size = bmi.get_var_nbytes(name) // bmi.get_var_itemsize(name)
    return bmi.get_value(name, np.empty(size, dtype=bmi.get_var_type(name)))
