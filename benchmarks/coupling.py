"""What a network inside the step costs: HBV 1.0 with two hidden layers of 16 on its recharge, against HBV 1.0 alone.

The network replaces the recharge at every step; it sees soil wetness, precipitation and potential evapotranspiration.
The same forcings, 100 sites, 16 components, 365 steps, parBETA and parBETAET dynamic, float32, unrouted; forward, and
forward and back to the gradients of raw parameters and of all weights. One thread; the models turn by turn, best CPU
time of each. Gradients of all weights are compared with the eager engine in float64, on a smaller case.

    python benchmarks/coupling.py           # one JSON line; updates results/coupling.json
    python benchmarks/coupling.py --docs    # puts the saved table into docs/benchmarks.md
"""

from __future__ import annotations

import argparse
import datetime
import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import page
import torch

from dmg.testing import Case, draw_case
from hydrodl2.models.hbv import Hbv

RESULTS = Path(__file__).with_name("results") / "coupling.json"
STEPS, SITES, COMPONENTS, REPEATS = 365, 100, 16, 15
ACTIVATIONS = ("tanh", "silu", "relu")
AT_MOST = 10.0


def drawn(activation: str | None, **size: Any) -> Case:
    """Return a case of HBV, with a network on its recharge if an activation is named."""
    options: dict[str, Any] = {"nmul": COMPONENTS, "routing": False}
    options["dynamic_params"] = {"Hbv": ["parBETA", "parBETAET"]}
    if activation:
        block = {"role": "replace", "inputs": ["SM/parFC", "prcp", "pet"], "hidden": [16, 16]}
        options["networks"] = {"recharge": block | {"activation": activation}}
    case = draw_case(Hbv, options, **size)
    case.raw.dynamic.requires_grad_()
    case.raw.static.requires_grad_()
    return case


def flow(case: Case) -> torch.Tensor:
    """Return the flow of a case."""
    return case.model.run(case.forcing, case.raw, case.state, outputs=["streamflow"])[0]["streamflow"]


def runs(activation: str | None) -> dict[str, Callable[[], object]]:
    """Return a run forward, and one forward and back."""
    case = drawn(activation, steps=STEPS, sites=SITES, dtype=torch.float32, engine="fused")
    return {"forward": torch.no_grad()(lambda: flow(case)), "both": lambda: flow(case).sum().backward()}


def gradient_difference(activation: str) -> float:
    """Return the greatest difference of the gradients of all weights, as a share of the greatest of each tensor."""
    found = []
    for engine in ("eager", "fused"):
        case = drawn(activation, steps=60, sites=4, engine=engine)
        found.append(torch.autograd.grad(flow(case).square().sum(), list(case.model.parameters())))
    return max(float((a - b).abs().max() / a.abs().max()) for a, b in zip(*found, strict=True))


def measure() -> dict[str, Any]:
    """Return CPU seconds with and without the network, and how many times as much it takes."""
    cases = {name or "plain": runs(name) for name in (None, *ACTIVATIONS)}
    taken: dict[tuple[str, str], list[float]] = {}
    for _ in range(REPEATS + 1):
        for name, functions in cases.items():
            for kind, function in functions.items():
                start = time.process_time()
                function()
                taken.setdefault((name, kind), []).append(time.process_time() - start)
    best = {key: min(values[1:]) for key, values in taken.items()}
    found: dict[str, Any] = {}
    for name in cases:
        found[name] = {f"{kind}_s": round(best[name, kind], 5) for kind in ("forward", "both")}
        if name != "plain":
            found[name] |= {
                f"times_{kind}": round(best[name, kind] / best["plain", kind], 2) for kind in ("forward", "both")
            }
            found[name]["gradient_difference"] = float(f"{gradient_difference(name):.1e}")
    met = all(found[name]["times_both"] <= AT_MOST for name in ACTIVATIONS)
    weights = sum(w.numel() for w in drawn("tanh", steps=1, sites=1).model.parameters())
    about = {"weights": weights, "machine": page.machine(), "date": datetime.date.today().isoformat()}
    return found | {"met": met} | about


def table(result: Mapping[str, Any]) -> str:
    """Return the result as a Markdown table."""
    rows = [
        "| step of HBV 1.0 | forward, CPU s | forward and adjoint, CPU s | times | error of the gradients of weights |"
    ]
    rows.append("|---|---|---|---|---|")
    for name in ("plain", *ACTIVATIONS):
        found = result[name]
        text = "as it is" if name == "plain" else f"network of 16 + 16, {name}"
        times = "" if name == "plain" else f"{found['times_both']:g}"
        error = "" if name == "plain" else f"{found['gradient_difference']:.0e}"
        rows.append(f"| {text} | {found['forward_s']:.4f} | {found['both_s']:.4f} | {times} | {error} |")
    about = f"{result['weights']} weights. {result['machine']}, one thread, {result['date']}."
    return "\n".join(rows) + f"\n\n{about}\n"


def main() -> None:
    """Measure, print and save; or show what was measured."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--docs", action="store_true", help="put the saved table into docs/benchmarks.md")
    if parser.parse_args().docs:
        page.put("coupling", table(json.loads(RESULTS.read_text(encoding="utf-8"))))
        return
    torch.set_num_threads(1)
    result = measure()
    print(json.dumps(result))
    RESULTS.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
