"""Physics-only calibration of process models by gradients, on the catchment L0123001 of the package airGR.

Every start draws all parameters uniformly between their bounds; all starts run side by side as sites of one batch, and
Adam moves them on the NSE of the calibration years. The start that is best there is scored on years that took no part.

    python benchmarks/calibration.py                  # writes benchmarks/results/calibration.json
    python benchmarks/calibration.py --docs           # puts its table into docs/benchmarks.md

The data, `L0123001_BasinObs.csv.gz`, are the example catchment of airGR 1.7.6 (columns P, T, E, Qmm).
"""

from __future__ import annotations

import argparse
import datetime
import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import page
import pandas as pd
import torch

from dmg.core.calc import Metrics
from dmg.models.criterion import NseBatchLoss
from dmg.models.delta_models import DplModel
from dmg.models.neural_networks import SiteParameters
from dmg.registry import process_models

DATA = Path(__file__).parents[2] / "shared" / "data" / "airgr_examples" / "L0123001_BasinObs.csv.gz"
RESULTS = Path(__file__).with_name("results") / "calibration.json"
COLUMNS = {"prcp": "P", "tmean": "T", "pet": "E"}
MODELS = ("Gr4j", "Hymod", "Hbv")
CALIBRATION, TEST = ("1990", "1999"), ("2000", "2012")
WARMUP = 365


def read(years: tuple[str, str], data: Path = DATA) -> pd.DataFrame:
    """Return the record of some years, with the warm-up before it."""
    table = pd.read_csv(data, index_col=0, parse_dates=True)
    first = pd.Timestamp(years[0]) - pd.Timedelta(days=WARMUP)
    return table[first : years[1]]


def batch_of(table: pd.DataFrame, forcings: list[str], starts: int) -> dict[str, torch.Tensor]:
    """Return forcings [T, starts, F] and flow [T - WARMUP, starts, 1]; every start sees the same."""
    forcing = torch.tensor(table[[COLUMNS[name] for name in forcings]].to_numpy(np.float32))
    observed = torch.tensor(table["Qmm"].to_numpy(np.float32))[WARMUP:]
    return {"x_phy": forcing[:, None].expand(-1, starts, -1), "target": observed[:, None, None].expand(-1, starts, -1)}


def scores(model: DplModel, batch: Mapping[str, torch.Tensor]) -> dict[str, np.ndarray]:
    """Return NSE and KGE of every start."""
    with torch.no_grad():
        flow = model.run(batch, outputs=["streamflow"])[0]["streamflow"]
    metrics = Metrics(flow[..., 0].T.numpy(), batch["target"][..., 0].T.numpy(), names=["nse", "kge"])
    return {"nse": np.asarray(metrics.nse), "kge": np.asarray(metrics.kge)}


def calibrate(
    name: str, *, starts: int = 32, iterations: int = 150, lr: float = 0.1, seed: int = 0, data: Path = DATA
) -> dict[str, Any]:
    """Calibrate a registered process model and return its scores and parameters."""
    torch.manual_seed(seed)
    process = process_models.get(name)({"warmup": WARMUP})
    sites = [f"start {i}" for i in range(starts)]
    model = DplModel(phy_model=process, nn_model=SiteParameters(0, process.learnable_param_count, sites))
    forcings = [forcing.name for forcing in process.forcings]
    calibration, test = (batch_of(read(years, data), forcings, starts) for years in (CALIBRATION, TEST))
    criterion = NseBatchLoss(y_obs=calibration["target"])
    optimizer = torch.optim.Adam(model.parameters(), lr=lr)
    cpu = time.process_time()
    for _ in range(iterations):
        flow = model.run(calibration, outputs=["streamflow"])[0]["streamflow"]
        loss = criterion(flow, calibration["target"], sample_ids=np.arange(starts))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    cpu = time.process_time() - cpu
    fitted, held_out = scores(model, calibration), scores(model, test)
    best = int(fitted["nse"].argmax())
    parameters = model.physical_parameters(calibration)
    return {
        "model": name,
        "starts": starts,
        "iterations": iterations,
        "cpu_s": round(cpu, 1),
        "nse_calibration": round(float(fitted["nse"][best]), 4),
        "nse_held_out": round(float(held_out["nse"][best]), 4),
        "kge_held_out": round(float(held_out["kge"][best]), 4),
        "starts_within_0.01": int((fitted["nse"] > fitted["nse"][best] - 0.01).sum()),
        "parameters": {key: round(float(value[best].mean()), 4) for key, value in parameters.items()},
        "machine": page.machine(),
        "date": datetime.date.today().isoformat(),
    }


def table(results: list[Mapping[str, Any]]) -> str:
    """Return the results as a Markdown table."""
    rows = [
        "| model | NSE, calibration | NSE, held out | KGE, held out | starts within 0.01 of the best | CPU | date |",
        "|---|---|---|---|---|---|---|",
    ]
    rows += [
        f"| {r['model']} | {r['nse_calibration']:.3f} | {r['nse_held_out']:.3f} | {r['kge_held_out']:.3f} "
        f"| {r['starts_within_0.01']} of {r['starts']} | {r['cpu_s']:.0f} s | {r['date']} |"
        for r in results
    ]
    return "\n".join(rows) + "\n"


def main() -> None:
    """Calibrate, print and save; or show what was found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--docs", action="store_true", help="put the saved table into docs/benchmarks.md")
    if parser.parse_args().docs:
        page.put("calibration", table(json.loads(RESULTS.read_text())))
        return
    torch.set_num_threads(1)
    results = []
    for name in MODELS:
        results.append(calibrate(name))
        print(json.dumps(results[-1]), flush=True)
    RESULTS.write_text("[\n" + ",\n".join(json.dumps(r) for r in results) + "\n]\n", encoding="utf-8")


if __name__ == "__main__":
    main()
