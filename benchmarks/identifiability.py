"""Which parameters of HBV the flow of the embedded sample can tell: permute one of them among the sites.

For each parameter alone, the true values are dealt out to other sites (each of several deals leaves no site its own),
the flow is simulated again, and 1 − NSE against the true flow says what the mistake costs. A parameter is called
identifiable if the mistake costs the median site at least `FACTOR` times what the error of observation costs there
(1 − NSE of the observed against the true flow): then the observations can tell a wrong value from the right one. The
criterion looks at the generator only; no model is trained.

    python benchmarks/identifiability.py
"""

from __future__ import annotations

import argparse
import json
from dataclasses import fields
from pathlib import Path

import numpy as np

from dmg.core.utils.atomic import atomic_write
from hydrodl2.data.sample import PREFIX, generate_sample, simulate_truth
from hydrodl2.data.sample_weather import Weather
from hydrodl2.models.hbv.hbv import Hbv

FACTOR = 2.0
"""How many times the error of observation a wrong parameter must cost."""

WARMUP = 365
"""Days that are simulated but not scored."""

PARAMETERS = tuple(p.name for p in Hbv.parameter_table)
RESULT = Path(__file__).parent / "results" / "identifiability.json"


def deal(sites: int, rng: np.random.Generator) -> np.ndarray:
    """Return a permutation that leaves no site in its place."""
    order = rng.permutation(sites)
    shifted = np.empty(sites, dtype=np.int64)
    shifted[order] = np.roll(order, 1)
    return shifted


def cost(flow: np.ndarray, true: np.ndarray) -> np.ndarray:
    """Return 1 − NSE per site, over the days that have both."""
    flow, true = flow[WARMUP:], true[WARMUP:]
    seen = np.isfinite(flow)
    square = np.where(seen, (flow - true) ** 2, 0.0).sum(axis=0)
    mean = np.where(seen, true, 0.0).sum(axis=0) / seen.sum(axis=0)
    return square / np.where(seen, (true - mean) ** 2, 0.0).sum(axis=0)


def measure(sites: int, start: str, end: str, seed: int, deals: int) -> dict:
    """Return the cost of every parameter and which of them are identifiable."""
    ds = generate_sample(sites, start, end, seed)
    weather = Weather(**{f.name: ds[f.name].values.astype(np.float64) for f in fields(Weather)})
    truth = {name: ds[PREFIX + name].values.astype(np.float64) for name in (*PARAMETERS, "route_a", "route_b")}
    true = simulate_truth(weather, truth)
    noise = cost(ds["streamflow"].values.astype(np.float64), ds["streamflow_true"].values.astype(np.float64))
    rng = np.random.default_rng(seed)
    orders = [deal(sites, rng) for _ in range(deals)]
    rows = {}
    for name in PARAMETERS:
        costs = np.stack([cost(simulate_truth(weather, truth | {name: truth[name][o]}), true) for o in orders])
        by_site = costs.mean(axis=0)
        ratio = float(np.median(by_site) / np.median(noise))
        rows[name] = {
            "median_cost": round(float(np.median(by_site)), 5),
            "share_of_sites": round(float((by_site >= FACTOR * noise).mean()), 3),
            "times_noise": round(ratio, 2),
            "identifiable": ratio >= FACTOR,
        }
    return {
        "criterion": f"median over sites of 1 - NSE after permuting the parameter among sites >= {FACTOR:g} x that of "
        "the observation error",
        "sample": {"sites": sites, "start": start, "end": end, "seed": seed, "deals": deals},
        "median_cost_of_observation_error": round(float(np.median(noise)), 5),
        "parameters": rows,
        "identifiable": [name for name in PARAMETERS if rows[name]["identifiable"]],
    }


def main() -> None:
    """Measure and write the result."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sites", type=int, default=100)
    parser.add_argument("--start", default="1988-10-01")
    parser.add_argument("--end", default="1999-09-30")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--deals", type=int, default=2)
    parser.add_argument("--out", type=Path, default=RESULT)
    options = vars(parser.parse_args())
    out = options.pop("out")
    result = measure(**options)
    with atomic_write(out) as temporary:
        Path(temporary).write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    for name, row in result["parameters"].items():
        mark = "*" if row["identifiable"] else ""
        print(f"{name:10s} {row['median_cost']:8.4f} {row['times_noise']:8.1f} x noise  {mark}")
    print("identifiable:", ", ".join(result["identifiable"]))


if __name__ == "__main__":
    main()
