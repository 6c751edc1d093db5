"""An epoch of training with one process and with two, started by torchrun: wall and CPU seconds.

    python benchmarks/ddp.py   # writes benchmarks/results/ddp.json and the table in docs/benchmarks.md

Every process has one thread. The epoch is the fastest of four but the first, from training_log.csv, because other work
disturbs it; CPU seconds are those of all processes together, the difference between a long and a short training, so
that starting up does not count.
"""

from __future__ import annotations

import csv
import json
import os
import resource
import subprocess
import sys
import tempfile
from datetime import date
from pathlib import Path

import numpy as np
import page
from safetensors.numpy import load_file

RESULTS = Path(__file__).with_name("results") / "ddp.json"
ITERATIONS = 12
SETTINGS = [
    *("observations.sample.sites=40", "test.holdout_sites=null", "train.batch_size=40", "mode=train"),
    *("model.rho=180", "model.warmup=180", "model.nn.hidden_size=128", "model.phy.nmul=8", "device=cpu"),
    *(f"train.iterations={ITERATIONS}", "train.save_epoch=100", "logging=null"),
]
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone"]


def main() -> None:
    """Measure, save, and write the table."""
    with tempfile.TemporaryDirectory() as folder:
        measured = {str(n): measure(n, Path(folder)) for n in (1, 2)}
        for n in (1, 2):
            train(n, Path(folder) / f"{n}_sgd", 1, "train.optimizer={name: SGD}")
        apart = {name: difference(Path(folder), run) for name, run in (("Adam", "short"), ("SGD", "sgd"))}
    result = {
        "settings": SETTINGS,
        "date": date.today().isoformat(),
        "machine": page.machine(),
        "load": round(os.getloadavg()[0], 1),
        "processes": measured,
        "largest_difference_of_a_weight": apart,
    }
    RESULTS.write_text(json.dumps(result, indent=1) + "\n")
    page.put("ddp", table(result))
    print(table(result))


def measure(processes: int, folder: Path) -> dict[str, float]:
    """Return wall and CPU seconds of an epoch."""
    cpu = {}
    for name, epochs in (("short", 1), ("long", 4)):
        run = folder / f"{processes}_{name}"
        before = _cpu()
        train(processes, run, epochs)
        cpu[name] = _cpu() - before
    with (folder / f"{processes}_long/training_log.csv").open() as handle:
        rows = list(csv.DictReader(handle))
    wall = min(sum(float(row["time_s"]) for row in rows if row["epoch"] == str(epoch)) for epoch in (2, 3, 4))
    return {"epoch_wall_s": round(wall, 2), "epoch_cpu_s": round((cpu["long"] - cpu["short"]) / 3, 2)}


def train(processes: int, run: Path, epochs: int, *words: str) -> None:
    """Train into a folder."""
    start = [sys.executable] if processes == 1 else [*TORCHRUN, f"--nproc-per-node={processes}"]
    words = ("-m", "dmg", *SETTINGS, f"train.epochs={epochs}", f"output_dir={run}", *words)
    subprocess.run([*start, *words], check=True, env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True)


def difference(folder: Path, run: str) -> float:
    """Return by how much a weight differs at most after one epoch with one process and with two."""
    one, two = (load_file(folder / f"{n}_{run}/model/hbv_ep1.safetensors") for n in (1, 2))
    return float(max(np.abs(one[key] - two[key]).max() for key in one))


def table(result: dict) -> str:
    """Return the measurements as Markdown."""
    lines = ["| processes | wall per epoch | CPU per epoch, all processes |", "|---|---|---|"]
    for n, found in result["processes"].items():
        lines.append(f"| {n} | {found['epoch_wall_s']:.2f} s | {found['epoch_cpu_s']:.2f} s |")
    lines.append("")
    lines.append(
        f"{ITERATIONS} minibatches of 40 windows of 180 + 180 days, LSTM of 128, 8 components; {result['machine']} "
        f"(load {result['load']} by other work), {result['date']}. After one epoch no weight differs by more than "
        + " and ".join(f"{value:.0e} with {name}" for name, value in result["largest_difference_of_a_weight"].items())
        + "."
    )
    return "\n".join(lines) + "\n"


def _cpu() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


if __name__ == "__main__":
    main()
