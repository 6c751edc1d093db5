"""Every registered process model: how well its budget closes, and what a step costs, forward and back, by engine.

    python benchmarks/models.py                 # every model; updates benchmarks/results/models.json
    python benchmarks/models.py Gr4j Hymod      # some
    dmg models docs --measured benchmarks/results/models.json --write docs/models.md

Inputs are drawn as the laws of `dmg.testing` draw them. CPU time, one thread, medians; parameters are static.
"""

from __future__ import annotations

import argparse
import datetime
import json
import statistics
import time
from pathlib import Path
from typing import Any

import page
import torch

from dmg.engine import RawParameters, simulate
from dmg.registry import process_models
from dmg.testing import BUDGET_STEPS, ENGINES, budget_residual, draw_case, step_models

RESULTS = Path(__file__).with_name("results") / "models.json"
CASE = {"steps": 365, "sites": 100, "components": 16, "closure_steps": BUDGET_STEPS}
REPEATS = 3


def times(name: str, engine: str) -> dict[str, float]:
    """Return nanoseconds of CPU per element and step, forward and adjoint."""
    case = draw_case(
        process_models.get(name),
        {"nmul": CASE["components"]},
        steps=CASE["steps"],
        sites=CASE["sites"],
        dtype=torch.float32,
        engine=engine,
    )
    model, static = case.model, case.raw.static.requires_grad_()
    flux = model.total or model.fluxes[0].name
    taken: dict[str, list[float]] = {"forward": [], "adjoint": []}
    for _ in range(REPEATS + 1):
        start = time.process_time()
        run = simulate(
            model,
            case.forcing,
            RawParameters(case.raw.dynamic, static),
            attributes=case.attributes,
            fluxes=[flux],
            engine=engine,
        )
        middle = time.process_time()
        run.fluxes[flux].sum().backward()
        taken["forward"].append(middle - start)
        taken["adjoint"].append(time.process_time() - middle)
    element_steps = CASE["steps"] * CASE["sites"] * CASE["components"]
    # The first run compiles.
    return {f"{part}_ns": round(statistics.median(t[1:]) / element_steps * 1e9, 2) for part, t in taken.items()}


def measure(name: str) -> dict[str, Any]:
    """Return closure and times of a model."""
    model_class = process_models.get(name)
    return {
        "closure": budget_residual(model_class) if model_class.ledger is not None else None,
        "engines": {engine: times(name, engine) for engine in ENGINES},
        "machine": page.machine(),
        "date": datetime.date.today().isoformat(),
    }


def main() -> None:
    """Measure, print and save."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", metavar="MODEL", help="registered names (default: all that have a step)")
    words = parser.parse_args()
    torch.set_num_threads(1)
    known = json.loads(RESULTS.read_text(encoding="utf-8"))["models"] if RESULTS.exists() else {}
    for name in words.models or step_models():
        known[name] = measure(name)
        print(name, json.dumps(known[name]), flush=True)
        lines = ",\n".join(f"  {json.dumps(n)}: {json.dumps(known[n])}" for n in sorted(known))
        text = f'{{\n "case": {json.dumps(CASE)},\n "models": {{\n{lines}\n }}\n}}\n'
        RESULTS.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
