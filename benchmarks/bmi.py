"""Seconds per update and memory per instance of the BMI component.

δHBV 2.0 with 16 components, an LSTM of 256 for the dynamic and a perceptron of 7 × 1024 for the static parameters,
random weights, daily steps, float32, one thread: an update sets every input, goes on by a day and reads every output.

    python benchmarks/bmi.py            # every case: writes benchmarks/results/bmi.json and the table of the page
    python benchmarks/bmi.py one        # one case: one, thousand or memory
"""

from __future__ import annotations

import datetime
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import page

RESULTS = Path(__file__).with_name("results") / "bmi.json"
FORCINGS = ["prcp", "tmean", "pet"]
ATTRIBUTES = [f"a{i}" for i in range(28)]
TARGETS = {"one": 5.0, "thousand": 50.0, "memory": 5.0}
UNITS = {"one": "ms", "thousand": "µs", "memory": "MB"}
WHAT = {
    "one": "an update of one catchment",
    "thousand": "an update of 1000 catchments, for each",
    "memory": "memory of one more instance, stepped",
}
INSTANCES = 40


def make_run(folder: Path) -> Path:
    """Write a run with random weights and return its folder."""
    from dmg import ModelHandler, as_config
    from dmg.core.data.normalisation import Normalisation
    from dmg.trainers.run_directory import RunDirectory

    dynamic = ["parBETA", "parK0", "parBETAET"]
    run = folder / "run"
    config = as_config(
        {
            "device": "cpu",
            "output_dir": str(run),
            "train": {"start_time": "1990/10/01", "end_time": "1999/09/30", "target": ["streamflow"], "lr": 0.1}
            | {"optimizer": {"name": "Adam"}, "loss_function": {"name": "NseBatchLoss"}, "batch_size": 2, "epochs": 1},
            "test": {"start_time": "1999/10/01", "end_time": "2000/09/30", "batch_size": 2},
            "model": {
                "rho": 365,
                "warmup": 365,
                "phy": {"name": ["Hbv_2"], "nmul": 16, "forcings": FORCINGS, "attributes": []}
                | {"dynamic_params": {"Hbv_2": dynamic}, "routing": True},
                "nn": {"name": "LstmMlpModel", "lstm_hidden_size": 256, "mlp_hidden_size": 1024, "forcings": FORCINGS}
                | {"attributes": ATTRIBUTES},
            },
            "observations": {"name": "none", "data_path": "none.nc", "area_name": "area"}
            | {"upstream_area_name": "area", "subbasin_area_name": "area", "elevation_name": "elevation"},
        }
    )
    RunDirectory.of(config).begin(config)
    statistics = {name: [0.0, 10.0, 3.0, 5.0] for name in [*FORCINGS, *ATTRIBUTES]}
    Normalisation(statistics).save(run / "model" / "normalization_statistics.json")
    ModelHandler(config).save_model(1, run / "model")
    return run


def make_config(folder: Path, run: Path, catchments: int, name: str = "config") -> Path:
    """Write the configuration of a component of some catchments."""
    attributes = dict.fromkeys(ATTRIBUTES, 1.0) | {"area": 100.0, "elevation": 500.0}
    entries = [{"id": f"cat-{i}", "area_km2": 100.0, "attributes": attributes} for i in range(catchments)]
    path = folder / f"{name}.yaml"
    path.write_text(json.dumps({"model": str(run), "catchments": entries}))  # JSON is YAML
    return path


def started(path: Path) -> Any:
    """Return a component that has run some steps."""
    from dmg.bmi import DeltaModelBmi

    component = DeltaModelBmi()
    component.initialize(str(path))
    step(component, 5)
    return component


def step(component: Any, steps: int) -> None:
    """Supply, update and read as a host does."""
    import numpy as np

    size = component.get_grid_size(0)
    values = np.random.default_rng(0).uniform(0.0, 1.0, (steps, size))
    inputs, outputs, dest = component.get_input_var_names(), component.get_output_var_names(), np.empty(size)
    for row in values:
        for name in inputs:
            component.set_value(name, row)
        component.update()
        for name in outputs:
            component.get_value(name, dest)


def measure(case: str) -> dict[str, float]:
    """Return the figures of one case."""
    import torch

    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        run = make_run(folder)
        if case == "memory":
            first = started(make_config(folder, run, 1))
            before, begin = resident(), time.process_time()
            more = [started(make_config(folder, run, 1, f"c{i}")) for i in range(INSTANCES)]
            took = (time.process_time() - begin) / INSTANCES
            per = (resident() - before) / INSTANCES
            assert first.get_component_name() == more[-1].get_component_name()
            return {"value": round(per, 3), "initialize_s": round(took, 3)}
        sites, steps = (1, 100) if case == "one" else (1000, 10)
        component = started(make_config(folder, run, sites))
        walls, cpus = [], []
        for _ in range(7):
            wall, cpu = time.perf_counter(), time.process_time()
            step(component, steps)
            walls.append((time.perf_counter() - wall) / steps / sites)
            cpus.append((time.process_time() - cpu) / steps / sites)
        scale = 1e3 if case == "one" else 1e6
        return {"value": round(min(cpus) * scale, 3), "wall": round(min(walls) * scale, 3)}


def resident() -> float:
    """Return the resident memory of the process in MB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def table(results: dict[str, dict[str, Any]]) -> str:
    """Return the table of the page."""
    lines = ["| figure | value | target |", "|---|---|---|"]
    for case, result in results.items():
        met = "" if result["value"] <= TARGETS[case] else " (missed)"
        lines.append(f"| {WHAT[case]} | {result['value']:.3g} {UNITS[case]}{met} | ≤ {TARGETS[case]:g} {UNITS[case]} |")
    last = list(results.values())[-1]
    start = f"{results['memory']['initialize_s']:.2f} s" if "memory" in results else "not measured"
    note = f"CPU time, best of seven; {last['machine']}, {last['date']}. One more instance starts in {start}."
    return "\n".join([*lines, "", note]) + "\n"


def main() -> None:
    """Measure one case, or every case in a process of its own."""
    if len(sys.argv) == 2:
        print(json.dumps(measure(sys.argv[1])))
        return
    results = {}
    for case in TARGETS:
        done = subprocess.run([sys.executable, __file__, case], capture_output=True, text=True, check=True)
        result = json.loads(done.stdout.strip().splitlines()[-1])
        results[case] = result | {"machine": page.machine(), "date": datetime.date.today().isoformat()}
        print(case, results[case], flush=True)
    RESULTS.write_text(json.dumps(results, indent=1) + "\n")
    page.put("bmi", table(results))


if __name__ == "__main__":
    main()
