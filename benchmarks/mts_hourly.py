"""Days, then hours, on a real river: δHBV-MTS trained on the hourly series L0123003 of the airGR examples.

    python benchmarks/mts_hourly.py FOLDER [overrides …]   # writes benchmarks/results/mts_hourly.json

FOLDER has L0123003_BasinObs.csv.gz and L0123003_BasinInfo.json (precipitation, potential evapotranspiration and flow,
2004 to 2008; a flashy river of 920 km²). The series has no temperature: it is taken as 10 °C throughout, so that there
is no snow. One basin has no attributes to learn from, so its area and elevation stand in as constants.
"""

from __future__ import annotations

import json
import resource
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr

RESULT = Path(__file__).with_name("results") / "mts_hourly.json"
SITE, TEMPERATURE = "L0123003", 10.0
SETTINGS = {
    "train": {"start_time": "2005/01/15", "end_time": "2006/12/31", "batch_size": 16, "epochs": 6, "iterations": 40},
    "test": {"start_time": "2007/01/01", "end_time": "2008/12/31", "batch_size": 1},
}


def main() -> None:
    """Convert, train, test, print and save."""
    import torch

    from dmg import as_config
    from dmg.conf.compose import compose
    from dmg.trainers import Trainer

    torch.set_flush_denormal(True)
    folder, overrides = Path(sys.argv[1]), sys.argv[2:]
    with tempfile.TemporaryDirectory() as work:
        path = Path(work) / "hourly.nc"
        read(folder).to_netcdf(path, engine="h5netcdf")
        settings = [f"{block}.{key}={value}" for block, keys in SETTINGS.items() for key, value in keys.items()]
        data = [
            f"observations.data_path={path}",
            "observations.start_time=null",
            "observations.end_time=null",
            "observations.sample=null",
            "observations.name=airgr_hourly",
            "observations.area_name=area",
            "observations.upstream_area_name=area",
            "observations.subbasin_area_name=area",
            "observations.elevation_name=elevation",
            "observations.all_attributes=[area,elevation]",
            "model.nn.attributes=[area,elevation]",
            f"output_dir={work}/run",
        ]
        config = as_config(compose("mts_hourly", None, [*settings, *data, *overrides]))
        torch.manual_seed(config.seed)
        trainer = Trainer(config, verbose=True)
        wall, cpu = time.perf_counter(), _cpu()
        before = _scores(trainer)
        trainer.train()
        trained = _cpu() - cpu
        after = _scores(trainer)
        result = {
            "command": "python benchmarks/mts_hourly.py FOLDER",
            "overrides": overrides,
            "site": SITE,
            "temperature": f"missing in the data; {TEMPERATURE:g} degC throughout",
            "model": [config.model.phy.lof_model.name[0], config.model.phy.hif_model.name[0]],
            "train": config.train_time,
            "test": config.test_time,
            "minibatches": config.train.epochs * config.train.iterations,
            "cpu_s_training": round(trained, 1),
            "cpu_s": round(_cpu() - cpu, 1),
            "wall_s": round(time.perf_counter() - wall, 1),
            "untrained": before,
            "trained": after,
        }
    print(json.dumps(result, indent=1))
    if not overrides:
        RESULT.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


def read(folder: Path) -> xr.Dataset:
    """Return the hourly series as a canonical dataset."""
    table = pd.read_csv(folder / f"{SITE}_BasinObs.csv.gz", parse_dates=["DatesR"])
    about = json.loads((folder / f"{SITE}_BasinInfo.json").read_text(encoding="utf-8"))

    def series(values: np.ndarray, unit: str) -> tuple:
        return ("time", "site"), np.asarray(values, dtype=np.float32)[:, None], {"units": unit}

    def attribute(value: float, unit: str) -> tuple:
        return "site", np.array([value], dtype=np.float32), {"units": unit}

    variables = {
        "prcp": series(table["P"], "mm h-1"),
        "tmean": series(np.full(len(table), TEMPERATURE), "degC"),
        "pet": series(table["E"], "mm h-1"),
        "streamflow": series(table["Qmm"], "mm h-1"),
        "area": attribute(about["BasinArea"][0], "km2"),
        "elevation": attribute(float(np.median(about["HypsoData"])), "m"),
    }
    return xr.Dataset(variables, coords={"time": table["DatesR"].to_numpy("datetime64[ns]"), "site": [SITE]})


def _scores(trainer: object) -> dict[str, float]:
    """Return NSE and KGE of the test period, hour by hour, with the model as it is."""
    from dmg.trainers import evaluate
    from dmg.trainers.simulate import simulate_sites

    data = trainer.eval_dataset
    run = simulate_sites(
        trainer.model, data, trainer.sampler, batch_size=1, outputs=["streamflow"], description="testing"
    )
    found = evaluate.score(run, evaluate.observations(data, len(run.times)), ["nse", "kge"])["streamflow"]
    return {name: round(float(values[0]), 3) for name, values in found.items()}


def _cpu() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


if __name__ == "__main__":
    main()
