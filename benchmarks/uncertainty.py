"""How reliable an ensemble by dropout is on CAMELS-US, before and after conformal calibration.

    python benchmarks/uncertainty.py RUN STORE     # writes benchmarks/results/uncertainty.json and the figure
    python benchmarks/uncertainty.py --docs        # puts its table into docs/benchmarks.md

RUN is a trained run of 531 basins, STORE its Zarr store. Every tenth basin, in years that took no part in training: the
first three calibrate, the next three are scored.
"""

from __future__ import annotations

import datetime
import time
from pathlib import Path
from typing import Any

import numpy as np
import page
import torch

import dmg
from dmg.core.calc.crps import crps
from dmg.core.data.dataset import open_dataset
from dmg.core.post.plot_reliability import plot_reliability
from dmg.trainers.evaluate import observations
from dmg.uncertainty import (
    Conformal,
    coverage,
    dropout_ensemble,
    ensemble_interval,
    probability_integral_transform,
    relative_width,
    reliability,
)

RESULTS = Path(__file__).with_name("results") / "uncertainty.json"
FIGURE = Path(__file__).parents[1] / "docs" / "images" / "reliability.png"
PERIOD, SPLIT = ("1988-10-01", "1995-09-30"), np.datetime64("1992-10-01")
MEMBERS, LEVELS = 30, (0.5, 0.9)


def measure(folder: str, store: str) -> dict[str, Any]:
    """Return all figures and draw the curves."""
    torch.set_num_threads(1)
    run = dmg.load_run(folder)
    data = open_dataset(store).isel(site=slice(0, None, 10)).sel(time=slice(*PERIOD)).load()
    begin = time.process_time()
    ensemble = dropout_ensemble(run, data, MEMBERS, outputs=["streamflow"])["streamflow"]
    spent = time.process_time() - begin
    observed = observations(run.inputs(data), ensemble.sizes["time"])["streamflow"].astype(np.float64)
    members, later = ensemble.values.astype(np.float64), ensemble["time"].values >= SPLIT
    found: dict[str, Any] = {"model": next(iter(run.model.models)), "sites": len(data["site"]), "members": MEMBERS}
    found["cpu_s"] = round(spent, 1)
    found["crps"] = round(float(np.nanmedian(np.nanmean(crps(members[:, later], observed[later], fair=True), 0))), 3)
    found["absolute_error"] = round(
        float(np.nanmedian(np.nanmean(np.abs(members[:, later].mean(0) - observed[later]), 0))), 3
    )
    found["levels"] = {}
    for level in LEVELS:
        lower, upper = ensemble_interval(members, level)
        calibration = Conformal.calibrate(lower[~later], upper[~later], observed[~later], level)
        rows = {"ensemble": (lower[later], upper[later]), "calibrated": calibration.apply(lower[later], upper[later])}
        found["levels"][str(level)] = {
            name: {
                "coverage": round(float(np.median(coverage(*bounds, observed[later]))), 3),
                "relative_width": round(float(np.median(relative_width(*bounds, observed[later], level))), 3),
            }
            for name, bounds in rows.items()
        }
    raw = reliability(members[:, later], observed[later])
    promised = raw.levels
    calibrated = []
    for level in promised:
        lower, upper = ensemble_interval(members, level)
        margin = Conformal.calibrate(lower[~later], upper[~later], observed[~later], level)
        calibrated.append(float(np.mean(coverage(*margin.apply(lower[later], upper[later]), observed[later]))))
    plot_reliability(
        {"dropout": (promised, raw.found), "dropout, calibrated": (promised, np.array(calibrated))},
        {"dropout": probability_integral_transform(members[:, later], observed[later])},
        save_path=FIGURE,
    )
    return found | {"machine": page.machine(), "date": datetime.date.today().isoformat()}


def table(found: dict[str, Any]) -> str:
    """Return the figures as Markdown."""
    rows = ["| interval | coverage | calibrated | width over climatology | calibrated |", "|---|---|---|---|---|"]
    for level, values in found["levels"].items():
        raw, calibrated = values["ensemble"], values["calibrated"]
        rows.append(
            f"| {float(level):.0%} | {raw['coverage']:.0%} | {calibrated['coverage']:.0%} "
            f"| {raw['relative_width']:.2f} | {calibrated['relative_width']:.2f} |"
        )
    notes = (
        f"{found['model']}, {found['members']} members, medians over {found['sites']} basins; "
        f"CRPS {found['crps']} mm/d, absolute error of the mean {found['absolute_error']} mm/d. "
        f"{found['cpu_s']:.0f} CPU s, {found['machine']}, {found['date']}."
    )
    return "\n".join([*rows, "", notes]) + "\n"


if __name__ == "__main__":
    page.measure_a_run(__doc__, RESULTS, measure, table)
