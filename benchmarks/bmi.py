"""Seconds per update and memory per instance of the BMI component.

δHBV 2.0 with 16 components, an LSTM of 256 for the dynamic and a perceptron of 7 × 1024 for the static parameters,
random weights, daily steps, float32, one thread: an update sets every input, goes on by a day and reads every output.

    python benchmarks/bmi.py            # every case: one JSON line each; updates results/bmi.json
    python benchmarks/bmi.py one        # some cases
    python benchmarks/bmi.py --docs     # puts the table into docs/benchmarks.md
"""

from __future__ import annotations

import json
import os
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from suite import Case, Figure, Suite

FORCINGS = ["prcp", "tmean", "pet"]
ATTRIBUTES = [f"a{i}" for i in range(28)]
INSTANCES, REPEATS = 40, 7


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


def updates(sites: int, steps: int) -> Callable[[], dict[str, float]]:
    """Return a measurement of so many updates of so many catchments in one component."""

    def measure() -> dict[str, float]:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            component = started(make_config(folder, make_run(folder), sites))
            walls, cpus = [], []
            for _ in range(REPEATS):
                wall, cpu = time.perf_counter(), time.process_time()
                step(component, steps)
                walls.append((time.perf_counter() - wall) / steps)
                cpus.append((time.process_time() - cpu) / steps)
        found = {"cpu_ms": min(cpus) * 1e3, "wall_ms": min(walls) * 1e3, "cpu_us_each": min(cpus) / sites * 1e6}
        return {key: round(value, 3) for key, value in found.items()}

    return measure


def instances() -> dict[str, float]:
    """Return what one more instance costs."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        run = make_run(folder)
        begin = time.process_time()
        first = started(make_config(folder, run, 1))
        alone = time.process_time() - begin
        before, begin = resident(), time.process_time()
        more = [started(make_config(folder, run, 1, f"c{i}")) for i in range(INSTANCES)]
        took = (time.process_time() - begin) / INSTANCES
        per = (resident() - before) / INSTANCES
        assert first.get_component_name() == more[-1].get_component_name()
    return {"mb": round(per, 3), "start_s": round(took, 3), "first_s": round(alone, 2)}


def resident() -> float:
    """Return the resident memory of the process in MB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


CASES: Mapping[str, Case] = {
    "one": Case(
        "one catchment",
        updates(1, 100),
        (Figure("cpu_ms", "CPU time per update", "ms", at_most=5),),
    ),
    "thousand": Case(
        "1000 catchments in one instance",
        updates(1000, 10),
        (Figure("cpu_us_each", "CPU time per update and catchment", "µs", at_most=50),),
    ),
    "memory": Case(
        "one more instance of one catchment",
        instances,
        (
            Figure("mb", "memory, after some steps", "MB", at_most=5),
            Figure("start_s", "CPU time to start", "s"),
            Figure("first_s", "CPU time to start the first, weights and kernels loaded", "s"),
        ),
    ),
}

SUITE = Suite(Path(__file__), __doc__, CASES)

if __name__ == "__main__":
    SUITE.main()
