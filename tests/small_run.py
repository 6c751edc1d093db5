"""A small store of leaky buckets and a configuration that trains on it in a second."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from small_config import changed, hbv_config

from dmg.core.data.dataset import write_dataset

SITES = [f"s{i}" for i in range(5)]


@pytest.fixture
def plots(tmp_path):
    """Return a function that lists the plots of the run; only a test that asks for it has them drawn."""
    return lambda: {path.name for path in (tmp_path / "out/plots").iterdir()}


@pytest.fixture(autouse=True)
def no_plots(request, monkeypatch):
    """Leave the plots out where a test does not look at them: they take most of the time."""
    if "plots" not in request.fixturenames:
        monkeypatch.setattr("dmg.trainers.trainer.draw_evaluation", lambda *_: None)
        monkeypatch.setattr("dmg.trainers.trainer.draw_loss", lambda *_: None)
        monkeypatch.setattr("dmg.trainers.trainer.write_report", lambda *_: None)


def small_store(n_sites: int = 5, days: int = 400) -> xr.Dataset:
    """Return forcings, flow with gaps, a second target, attributes, places and one true parameter."""
    rng = np.random.default_rng(0)
    prcp = rng.gamma(0.5, 6.0, (days, n_sites))
    tmean = 10 + 8 * np.sin(np.arange(days) / 58)[:, None] + rng.normal(0, 2, (days, n_sites))
    pet = np.clip(tmean / 5, 0.1, None)
    flow, aet, store = np.zeros((days, n_sites)), np.zeros((days, n_sites)), np.full(n_sites, 20.0)
    for t in range(days):
        store = store + prcp[t]
        flow[t], aet[t] = 0.1 * store, np.minimum(0.5 * store, pet[t])
        store = store - flow[t] - aet[t]
    flow[rng.random(flow.shape) < 0.1] = np.nan

    def series(values: np.ndarray, unit: str) -> tuple:
        return ("time", "site"), values.astype(np.float32), {"units": unit}

    def attribute(low: float, high: float, unit: str) -> tuple:
        return "site", rng.uniform(low, high, n_sites).astype(np.float32), {"units": unit}

    variables = {
        "prcp": series(prcp, "mm d-1"),
        "tmean": series(tmean, "degC"),
        "pet": series(pet, "mm d-1"),
        "streamflow": series(flow, "mm d-1"),
        "AET_hydro": series(aet, "mm d-1"),
        "area": attribute(100, 900, "km2"),
        "slope": attribute(0, 1, "1"),
        "gauge_lat": attribute(30, 45, "degrees_north"),
        "gauge_lon": attribute(-120, -80, "degrees_east"),
        "true_parBETA": attribute(1, 6, "1"),
    }
    times = np.datetime64("2000-01-01", "ns") + np.arange(days).astype("timedelta64[D]")
    return xr.Dataset(variables, coords={"time": times, "site": SITES[:n_sites]})


def small_config(folder: Path, store: xr.Dataset | None = None, **changes: Any) -> dict[str, Any]:
    """Return the configuration of a run in ``folder/out``; keys such as ``train__epochs`` change parts of it."""
    path = folder / "store.nc"
    if store is not None or not path.exists():
        write_dataset(small_store() if store is None else store, path)
    given = {"output_dir": str(folder / "out"), "observations__data_path": str(path)}
    return changed(_CONFIG, **given | changes)


_CONFIG = hbv_config(
    seed=1,
    train__start_time="2000/02/01",
    train__end_time="2000/10/31",
    train__loss_function={"name": "NseBatchLoss"},
    train__epochs=3,
    train__iterations=2,
    test={"start_time": "2000/11/01", "end_time": "2001/02/03", "batch_size": 2},
    sim={"start_time": "2000/12/01", "end_time": "2001/01/31"},
    model__rho=15,
    model__warmup=10,
    model__nn__dropout=0.2,
    model__nn__attributes=["area", "slope"],
    observations={"name": "small", "area_name": "area"},
)
