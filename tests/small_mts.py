"""A small hourly store of four units, two of them above a third, and a configuration of days and hours."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from small_config import FORCINGS, changed

from dmg.core.data.dataset import write_dataset

UNITS = ["a", "b", "c", "d"]
NETWORK = {"nodes": UNITS, "edges": [["a", "c"], ["b", "c"]], "gage_hf": {"g1": "c", "g2": "d"}}
DAYS = 40


def hourly_store(units: int = 4, days: int = DAYS, begin: str = "2001-01-01T00") -> xr.Dataset:
    """Return forcings in mm/h, a flow that follows the rain, and attributes."""
    rng = np.random.default_rng(0)
    steps = 24 * days
    prcp = rng.gamma(0.2, 1.5, (steps, units))
    flow, store = np.zeros((steps, units)), np.full(units, 5.0)
    for t in range(steps):
        store = store + prcp[t]
        flow[t] = 0.02 * store
        store = store - flow[t]
    flow[rng.random(flow.shape) < 0.1] = np.nan

    def series(values: np.ndarray, unit: str) -> tuple:
        return ("time", "site"), values.astype(np.float32), {"units": unit}

    hour = np.arange(steps)[:, None] % 24
    return xr.Dataset(
        {
            "prcp": series(prcp, "mm h-1"),
            "tmean": series(8.0 + 6.0 * np.sin(2 * np.pi * (hour - 9) / 24) + rng.normal(0, 1, prcp.shape), "degC"),
            "pet": series(np.clip(0.2 * np.sin(np.pi * (hour - 6) / 12), 0, None) + 0 * prcp, "mm h-1"),
            "streamflow": series(flow, "mm h-1"),
            "area": ("site", np.array([50.0, 30.0, 20.0, 80.0], np.float32)[:units], {"units": "km2"}),
            "upstream": ("site", np.array([1280.0, 1300.0, 2000.0, 1500.0], np.float32)[:units], {"units": "km2"}),
            "elevation": ("site", np.array([900.0, 700.0, 400.0, -2.0], np.float32)[:units], {"units": "m"}),
        },
        coords={"time": np.datetime64(begin, "ns") + np.arange(steps) * np.timedelta64(1, "h"), "site": UNITS[:units]},
    )


def mts_config(folder: Path, store: xr.Dataset | None = None, network: bool = False, **changes: Any) -> dict[str, Any]:
    """Return the configuration of a run in ``folder/out``; keys such as ``train__epochs`` change parts of it."""
    path = folder / "store.nc"
    if store is not None or not path.exists():
        write_dataset(hourly_store() if store is None else store, path)
    given = {"output_dir": str(folder / "out"), "observations__data_path": str(path)}
    if network:
        topology = folder / "network.json"
        topology.write_text(json.dumps(NETWORK), encoding="utf-8")
        given["observations__topology_path"] = str(topology)
    return changed(_CONFIG, **given | changes)


_CONFIG: dict[str, Any] = {
    "mode": "train_test",
    "seed": 3,
    "device": "cpu",
    "data_loader": "MtsHydroLoader",
    "data_sampler": "MtsHydroSampler",
    "train": {
        "start_time": "2001/01/08",
        "end_time": "2001/01/25",
        "target": ["streamflow"],
        "optimizer": {"name": "Adam"},
        "lr": 0.01,
        "loss_function": {"name": "NseBatchLoss"},
        "batch_size": 3,
        "epochs": 1,
        "iterations": 2,
    },
    "test": {"start_time": "2001/01/26", "end_time": "2001/02/08", "batch_size": 4},
    "model": {
        "rho": 48,
        "warmup": 24,
        "output_unit": "mm/h",
        "phy": {
            "name": ["Hbv_2_mts"],
            "nmul": 2,
            "dynamic_params": {"Hbv_2_mts": ["parBETA"]},
            "forcings": FORCINGS,
            "lof_model": {"warmup": 5},
        },
        "nn": {
            "name": "StackLstmMlpModel",
            "hidden_size": 8,
            "dropout": 0.0,
            "forcings": FORCINGS,
            "attributes": ["area", "elevation"],
        },
    },
    "observations": {
        "name": "small",
        "area_name": "area",
        "subbasin_area_name": "area",
        "upstream_area_name": "upstream",
        "elevation_name": "elevation",
    },
}
