"""A small trained run as a component: the files it needs, and a host that drives it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
import xarray as xr
import yaml
from small_config import hbv_config
from small_run import small_config, small_store

from dmg.bmi import DeltaModelBmi
from dmg.conf.config import as_config
from dmg.conf.observations import GEOGRAPHY
from dmg.core.data.dataset import write_dataset
from dmg.core.data.normalisation import FILE_NAME, Normalisation
from dmg.models.model_handler import ModelHandler
from dmg.registry import process_models
from dmg.trainers import Trainer
from dmg.trainers.run_directory import RunDirectory

WARMUP, STEPS = 10, 24
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


def random_run(
    folder: Path, process: str | None, network: str = "LstmModel", **changes: Any
) -> tuple[Path, xr.Dataset]:
    """Write a run of any process model (or none) with random weights; return its folder and inputs for it."""
    declared = process_models.get(process) if process else None
    forcings = declared.forcings if declared else process_models.get("Hbv").forcings
    names, outputs = [f.name for f in forcings], ["streamflow"]
    attributes = declared.attributes_for({}) if declared else ()
    places = {GEOGRAPHY[a.name]: a.name for a in attributes if a.name in GEOGRAPHY}
    phy = None
    if declared:
        fluxes = [f.name for f in declared.fluxes if not f.diagnostic]
        outputs = fluxes[:1]
        phy = {"name": [process], "nmul": 2, "forcings": names, "dynamic_params": {process: _dynamic(declared)}}
        phy["attributes"] = [a.name for a in attributes if a.name not in GEOGRAPHY]
    nn = {"name": network, "forcings": names, "attributes": ["slope", "relief"], "hidden_size": 6, "dropout": 0.1}
    settings = {
        "train__target": outputs,
        "model__phy": phy,
        "model__nn": nn,
        "engine": "eager",
        "model__warmup": WARMUP,
    }
    settings |= {"observations": {"name": "none", "data_path": "none.nc", **places}, "output_dir": str(folder)}
    config = as_config(hbv_config(**(settings | changes)))
    RunDirectory.of(config).begin(config)
    normalised = {n: [0.0, 1.0, 0.5, 1.0] for n in [*names, "slope", "relief", *config.train.target]}
    about = {"units": {f.name: _unit(f.unit) for f in forcings}}
    skewed = {"prcp", "streamflow"} if config.model.flow_regime == "low" else set()
    Normalisation(normalised, frozenset(config.model.use_log_norm) | skewed, about).save(folder / "model" / FILE_NAME)
    torch.manual_seed(5)
    model = ModelHandler(config)
    with torch.no_grad():
        for weight in model.parameters():  # also those that start from zero
            weight.add_(0.2 * torch.rand_like(weight) - 0.1)
    model.save_model(1, folder / "model")
    rng, sites = np.random.default_rng(2), ["a", "b", "c"]
    hours = round(24 * declared.dt) if declared else 24
    times = np.datetime64("2001-01-01", "ns") + np.arange(STEPS) * np.timedelta64(hours, "h")
    variables: dict[str, Any] = {
        f.name: (("time", "site"), rng.uniform(f.low, f.high, (STEPS, 3)), {"units": _unit(f.unit)}) for f in forcings
    }
    for name, unit in {"slope": "1", "relief": "1", **{a.name: a.unit for a in attributes}}.items():
        known = next((a for a in attributes if a.name == name), None)
        low, high = (known.low, known.high) if known else (0.0, 1.0)
        variables[name] = ("site", rng.uniform(low, high, 3), {"units": _unit(unit)})
    return folder, xr.Dataset(variables, coords={"time": times, "site": sites})


def _dynamic(declared: Any) -> list[str]:
    return [p.name for p in declared.parameter_table if p.default is None][:2]


def _unit(unit: str) -> str:
    return "1" if unit in ("", "-") else unit
