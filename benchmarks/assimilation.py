"""Variational assimilation with a trained δHBV on CAMELS-US: skill by lead time, a twin experiment, and its cost.

    python benchmarks/assimilation.py RUN STORE       # writes benchmarks/results/assimilation.json
    python benchmarks/assimilation.py --docs          # puts its tables into docs/benchmarks.md

RUN is a trained run (δHBV 1.1p of `dmg experiment=camels_531_hour …`), STORE its Zarr store. Every tenth basin, in
years that took no part in training; forecasts see the weather that came. The twin knows the truth: the model's own
flow, seen from stores that are all 30 % too large or too small, by site and store.
"""

from __future__ import annotations

import datetime
import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import page
import torch

import dmg
from dmg.assimilation import Controls, assimilate, hindcast
from dmg.core.data.dataset import open_dataset
from dmg.engine import ModelState
from dmg.trainers.evaluate import observations

RESULTS = Path(__file__).with_name("results") / "assimilation.json"
PERIOD = ("1988-10-01", "1994-09-30")
LENGTH, LEADS, STRIDE = 30, 10, 5
MEMORY = 8.0
CASES = {
    "states and precipitation": Controls(state_error=0.5),
    "states": Controls(state_error=0.5, forcings=()),
    "precipitation": Controls(states=()),
}


def observation_error(observed: torch.Tensor) -> torch.Tensor:
    """Return standard deviations: a tenth of the flow and a twentieth of its mean."""
    return 0.1 * torch.nan_to_num(observed) + 0.05 * torch.nanmean(observed, 0)


def measure(folder: str, store: str) -> dict[str, Any]:
    """Return all figures."""
    torch.set_num_threads(1)
    run = dmg.load_run(folder)
    data = run.inputs(open_dataset(store).isel(site=slice(0, None, 10)).sel(time=slice(*PERIOD)).load())
    model = next(iter(run.model.models.values()))
    steps = data.n_times - model.phy_model.warmup
    observed = torch.as_tensor(observations(data, steps)["streamflow"]).float()
    error, issues = observation_error(observed), range(LENGTH, steps - LEADS, STRIDE)
    found: dict[str, Any] = {"sites": data.n_sites, "issues": len(issues), "length": LENGTH, "cases": {}}
    for name, controls in CASES.items():
        begin = time.process_time()
        hindcasts = hindcast(
            model,
            data,
            observed,
            error,
            issues,
            length=LENGTH,
            leads=LEADS,
            controls=controls,
            iterations=40,
            memory=MEMORY,
        )
        spent = time.process_time() - begin
        medians = {
            which: np.nanmedian(hindcasts.nse(getattr(hindcasts, which)), axis=1).round(4).tolist()
            for which in ("open_loop", "forecast")
        }
        found["cases"][name] = medians | {"ms_per_window": round(1e3 * spent / hindcasts.cost.size, 2)}
        print(name, json.dumps(found["cases"][name]), flush=True)
    found["twin"] = twin(model, data)
    print("twin", json.dumps(found["twin"]))
    return found | {"machine": page.machine(), "date": datetime.date.today().isoformat()}


def twin(model: Any, data: Any) -> dict[str, float]:
    """Return the error of one-day forecasts from a wrong start, without and with assimilation."""
    with torch.no_grad():
        whole = model.window(data, static="held")
        window = replace(whole, forcing=whole.forcing[: LENGTH + 1], raw=whole.raw.window(0, LENGTH + 1))
        generator = torch.Generator().manual_seed(0)
        stores = {
            name: store * (1.0 + 0.3 * (2.0 * torch.randint(0, 2, (len(store), 1), generator=generator) - 1.0))
            for name, store in window.start.stores.items()
        }
        wrong = replace(window, start=ModelState(stores, window.start.routing))
        truth, before = (model.run_window(w, ["streamflow"])[0]["streamflow"][..., 0] for w in (window, wrong))
    past = replace(wrong, forcing=wrong.forcing[:LENGTH], raw=wrong.raw.window(0, LENGTH))
    error = 0.02 * truth[:LENGTH] + 0.002 * truth[:LENGTH].mean(0)
    analysis = assimilate(model, past, truth[:LENGTH], error, controls=Controls(forcings=()), iterations=100)
    ahead = replace(
        window,
        forcing=window.forcing[LENGTH:],
        raw=window.raw.window(LENGTH, LENGTH + 1),
        start=analysis.state.process,
    )
    with torch.no_grad():
        after = model.run_window(ahead, ["streamflow"])[0]["streamflow"][..., 0]
    rmse = [float((flow - truth[LENGTH]).square().mean().sqrt()) for flow in (before[LENGTH], after[0])]
    cut = 100.0 * (1.0 - rmse[1] / rmse[0])
    return {"rmse_open_loop": round(rmse[0], 4), "rmse": round(rmse[1], 4), "cut_percent": round(cut, 1)}


def table(found: dict[str, Any]) -> str:
    """Return the figures as Markdown."""
    leads = (1, 2, 3, 5, 10)
    rows = [["adjusted", *(f"day {k}" for k in leads), "ms per basin-window"], ["---"] * (len(leads) + 2)]
    for name, case in found["cases"].items():
        if len(rows) == 2:
            rows.append(["nothing (open loop)", *(f"{case['open_loop'][k - 1]:.3f}" for k in leads), ""])
        rows.append([name, *(f"{case['forecast'][k - 1]:.3f}" for k in leads), str(case["ms_per_window"])])
    twin = found["twin"]
    notes = (
        f"Median NSE over {found['sites']} basins and {found['issues']} dates of issue; {found['machine']}, "
        f"one thread, {found['date']}. Twin: the error of the first day falls from {twin['rmse_open_loop']} to "
        f"{twin['rmse']} mm/d, by {twin['cut_percent']:.0f} % (target: 50 %)."
    )
    return "\n".join([*(f"| {' | '.join(row)} |" for row in rows), "", notes]) + "\n"


if __name__ == "__main__":
    page.measure_a_run(__doc__, RESULTS, measure, table)
