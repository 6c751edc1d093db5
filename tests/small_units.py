"""A small store of seven units on two rivers, the flow at four gauges of them, and a configuration of HBV 2.0."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from small_config import FORCINGS, changed

from dmg.core.data.dataset import write_dataset

UNITS = ["a", "b", "c", "d", "e", "f", "g"]
EDGES = [["a", "c"], ["b", "c"], ["c", "e"], ["d", "e"], ["f", "g"]]
GAUGES = {"g1": "c", "g2": "e", "g3": "g", "g4": "d"}
ABOVE = {"g1": "abc", "g2": "abcde", "g3": "fg", "g4": "d"}
AREAS = np.array([40.0, 60.0, 30.0, 80.0, 20.0, 50.0, 25.0])


def unit_store(days: int = 120, begin: str = "2001-01-01") -> xr.Dataset:
    """Return forcings of the units, areas, elevation, and the reaches through them."""
    rng = np.random.default_rng(0)
    prcp = rng.gamma(0.4, 8.0, (days, len(UNITS)))
    season = np.sin(2 * np.pi * np.arange(days) / 365.0)[:, None]

    def series(values: np.ndarray, unit: str) -> tuple:
        return ("time", "site"), values.astype(np.float32), {"units": unit}

    def attribute(values: Any, unit: str) -> tuple:
        return "site", np.asarray(values, np.float32), {"units": unit}

    return xr.Dataset(
        {
            "prcp": series(prcp, "mm d-1"),
            "tmean": series(6.0 + 8.0 * season + rng.normal(0, 2, prcp.shape), "degC"),
            "pet": series(np.clip(1.5 + 1.5 * season + 0 * prcp, 0.1, None), "mm d-1"),
            "area": attribute(AREAS, "km2"),
            # More than drains through them: units of so little would lose all their water to the regional groundwater.
            "upstream": attribute([1400, 1450, 1500, 1480, 1600, 1430, 1470], "km2"),
            "elevation": attribute([900, 2100, 500, 700, 200, 400, 150], "m"),
            "reach": attribute([8000, 9000, 5000, 12000, 7000, 9500, 6000], "m"),
            "bed": attribute([0.01, 0.02, 0.004, 0.008, 0.002, 0.006, 0.003], "1"),
        },
        coords={"time": np.datetime64(begin, "ns") + np.arange(days) * np.timedelta64(1, "D"), "site": UNITS},
    )


def gauge_store(units: xr.Dataset, begin: int = 0, unit: str = "mm d-1") -> xr.Dataset:
    """Return a flow at gauges that follows the rain on the units above them, with gaps."""
    rng = np.random.default_rng(1)
    columns = []
    for above in ABOVE.values():
        at = [UNITS.index(u) for u in above]
        rain = (units["prcp"].values[:, at] * AREAS[at]).sum(1) / AREAS[at].sum()
        flow, store = np.zeros(len(rain)), 20.0
        for t in range(len(rain)):
            store += 0.6 * rain[t]
            flow[t] = 0.1 * store
            store -= flow[t]
        columns.append(flow * (AREAS[at].sum() / 86.4 if unit == "m3 s-1" else 1.0))
    flow = np.stack(columns, 1)
    flow[rng.random(flow.shape) < 0.05] = np.nan
    return xr.Dataset(
        {"streamflow": (("time", "site"), flow[begin:].astype(np.float32), {"units": unit})},
        coords={"time": units["time"].values[begin:], "site": list(GAUGES)},
    )


def units_config(folder: Path, store: xr.Dataset | None = None, suffix: str = "nc", **changes: Any) -> dict[str, Any]:
    """Return the configuration of a run in ``folder/out``; keys such as ``train__epochs`` change parts of it."""
    folder.mkdir(exist_ok=True)
    path, at_gauges, topology = folder / f"units.{suffix}", folder / "gauges.nc", folder / "network.json"
    if store is not None or not path.exists():
        store = unit_store() if store is None else store
        write_dataset(store, path)
        write_dataset(gauge_store(store), at_gauges)
        topology.write_text(json.dumps({"nodes": UNITS, "edges": EDGES, "gage_hf": GAUGES}), encoding="utf-8")
    given = {
        "output_dir": str(folder / "out"),
        "observations__data_path": str(path),
        "observations__gauge_path": str(at_gauges),
        "observations__topology_path": str(topology),
    }
    return changed(_CONFIG, **given | changes)


_CONFIG: dict[str, Any] = {
    "mode": "train_test",
    "seed": 3,
    "device": "cpu",
    "data_loader": "MsHydroLoader",
    "data_sampler": "MsHydroSampler",
    "trainer": "MsTrainer",
    "train": {
        "start_time": "2001/01/21",
        "end_time": "2001/03/31",
        "target": ["streamflow"],
        "optimizer": {"name": "Adam"},
        "lr": 0.01,
        "loss_function": {"name": "NseBatchLoss"},
        "batch_size": 3,
        "epochs": 1,
        "iterations": 2,
    },
    "test": {"start_time": "2001/04/01", "end_time": "2001/04/30", "batch_size": 4},
    "sim": {"start_time": "2001/02/01", "end_time": "2001/04/30"},
    "model": {
        "rho": 30,
        "warmup": 15,
        "phy": {
            "name": ["Hbv_2"],
            "nmul": 2,
            "dynamic_params": {"Hbv_2": ["parBETA", "parK0"]},
            "forcings": FORCINGS,
        },
        "nn": {
            "name": "LstmMlpModel",
            "hidden_size": 8,
            "dropout": 0.0,
            "forcings": FORCINGS,
            "attributes": ["area", "elevation"],
        },
    },
    "observations": {
        "name": "small",
        "subbasin_area_name": "area",
        "upstream_area_name": "upstream",
        "elevation_name": "elevation",
        "reach_length_name": "reach",
        "reach_slope_name": "bed",
    },
}
