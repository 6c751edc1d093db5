"""What an implicit model costs: HbvAdj against HBV 1.0, forward and adjoint, on the fused engine.

The same forcings, 100 sites, 16 components, 365 steps, parBETA and parBETAET dynamic, float32, unrouted; one thread,
the two models turn by turn, medians of CPU time.

    python benchmarks/implicit.py           # one JSON line; updates results/implicit.json
    python benchmarks/implicit.py --docs    # puts the saved table into docs/benchmarks.md
"""

from __future__ import annotations

import argparse
import datetime
import json
import statistics
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import page
import torch

from dmg.engine import ProcessModel
from dmg.testing import draw_case
from hydrodl2.models.hbv import Hbv, HbvAdj

RESULTS = Path(__file__).with_name("results") / "implicit.json"
STEPS, SITES, COMPONENTS, REPEATS = 365, 100, 16, 15
DYNAMIC = ["parBETA", "parBETAET"]
AT_MOST = 12.0


def runs(model_class: type[ProcessModel]) -> tuple[Callable[[], object], Callable[[], object]]:
    """Return a run forward, and one forward and back."""
    options = {"nmul": COMPONENTS, "routing": False, "dynamic_params": {model_class.__name__: DYNAMIC}}
    case = draw_case(model_class, options, steps=STEPS, sites=SITES, dtype=torch.float32, engine="fused")
    case.raw.dynamic.requires_grad_()
    case.raw.static.requires_grad_()

    def flow() -> torch.Tensor:
        return case.model.run(case.forcing, case.raw, case.state, outputs=["streamflow"])[0]["streamflow"]

    return torch.no_grad()(flow), lambda: flow().sum().backward()


def measure() -> dict[str, Any]:
    """Return nanoseconds per element and step of both models, and how many times as much the implicit one takes."""
    cases = {model.__name__: runs(model) for model in (Hbv, HbvAdj)}
    taken: dict[tuple[str, str], list[float]] = {}
    for _ in range(REPEATS + 1):
        for name, functions in cases.items():
            for kind, function in zip(("forward", "both"), functions, strict=True):
                start = time.process_time()
                function()
                taken.setdefault((name, kind), []).append(time.process_time() - start)
    # The first turn compiles.
    ns = {key: statistics.median(values[1:]) / (STEPS * SITES * COMPONENTS) * 1e9 for key, values in taken.items()}
    found = {f"{name}_{kind}_ns": round(value, 1) for (name, kind), value in ns.items()}
    times = {f"times_{kind}": round(ns["HbvAdj", kind] / ns["Hbv", kind], 2) for kind in ("forward", "both")}
    met = times["times_both"] <= AT_MOST
    return found | times | {"met": met, "machine": page.machine(), "date": datetime.date.today().isoformat()}


def table(result: Mapping[str, Any]) -> str:
    """Return the result as a Markdown table."""
    rows = ["| ns per element-step | HBV 1.0 | implicit HBV | times |", "|---|---|---|---|"]
    for kind, text in (("forward", "forward"), ("both", "forward and adjoint")):
        figures = [result[f"{name}_{kind}_ns"] for name in ("Hbv", "HbvAdj")]
        rows.append(f"| {text} | {figures[0]:g} | {figures[1]:g} | {result[f'times_{kind}']:g} |")
    return "\n".join(rows) + f"\n\n{result['machine']}, {result['date']}.\n"


def main() -> None:
    """Measure, print and save; or show what was measured."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--docs", action="store_true", help="put the saved table into docs/benchmarks.md")
    if parser.parse_args().docs:
        page.put("implicit", table(json.loads(RESULTS.read_text(encoding="utf-8"))))
        return
    torch.set_num_threads(1)
    line = json.dumps(measure())
    print(line)
    RESULTS.write_text(line + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
