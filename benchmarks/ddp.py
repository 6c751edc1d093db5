"""An epoch of training with one process and with two, started by torchrun: wall and CPU seconds.

    python benchmarks/ddp.py   # writes benchmarks/results/ddp.json and the table in docs/benchmarks.md

Every process has one thread. An epoch is the mean of all but the first, from training_log.csv; CPU seconds are those
of all processes together, the difference between a long and a short training, so that starting up does not count.
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
from safetensors.numpy import load_file

RESULTS = Path(__file__).with_name("results") / "ddp.json"
DOCS = Path(__file__).parents[1] / "docs" / "benchmarks.md"
MARKS = ("<!-- ddp: begin -->", "<!-- ddp: end -->")
ITERATIONS = 4
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
        one, two = (load_file(Path(folder) / f"{n}_long/model/hbv_ep4.safetensors") for n in (1, 2))
    result = {
        "settings": SETTINGS,
        "date": date.today().isoformat(),
        "cores": os.cpu_count(),
        "load": round(os.getloadavg()[0], 1),
        "processes": measured,
        "largest_difference_of_a_weight": float(max(np.abs(one[k] - two[k]).max() for k in one)),
    }
    RESULTS.write_text(json.dumps(result, indent=1) + "\n")
    before, _, rest = DOCS.read_text(encoding="utf-8").partition(MARKS[0])
    after = rest.partition(MARKS[1])[2]
    DOCS.write_text(f"{before}{MARKS[0]}\n{table(result)}{MARKS[1]}{after}", encoding="utf-8")
    print(table(result))


def measure(processes: int, folder: Path) -> dict[str, float]:
    """Return wall and CPU seconds of an epoch."""
    cpu = {}
    for name, epochs in (("short", 1), ("long", 4)):
        run = folder / f"{processes}_{name}"
        start = [sys.executable] if processes == 1 else [*TORCHRUN, f"--nproc-per-node={processes}"]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        before = _cpu()
        words = ["-m", "dmg", *SETTINGS, f"train.epochs={epochs}", f"output_dir={run}"]
        subprocess.run([*start, *words], check=True, env=environment, capture_output=True)
        cpu[name] = _cpu() - before
    with (folder / f"{processes}_long/training_log.csv").open() as handle:
        seconds = [float(row["time_s"]) for row in csv.DictReader(handle) if row["epoch"] != "1"]
    return {"epoch_wall_s": round(sum(seconds) / 3, 2), "epoch_cpu_s": round((cpu["long"] - cpu["short"]) / 3, 2)}


def table(result: dict) -> str:
    """Return the measurements as Markdown."""
    lines = ["| processes | wall per epoch | CPU per epoch, all processes |", "|---|---|---|"]
    for n, found in result["processes"].items():
        lines.append(f"| {n} | {found['epoch_wall_s']:.2f} s | {found['epoch_cpu_s']:.2f} s |")
    lines.append("")
    lines.append(
        f"{ITERATIONS} minibatches of 40 windows of 180 + 180 days, LSTM of 128, 8 components; {result['cores']} cores "
        f"(load {result['load']} by other work), {result['date']}. After four epochs no weight differs by more than "
        f"{result['largest_difference_of_a_weight']:.0e}."
    )
    return "\n".join(lines) + "\n"


def _cpu() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


if __name__ == "__main__":
    main()
