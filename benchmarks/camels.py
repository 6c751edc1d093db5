"""What a training on CAMELS-US reached, with its learning curve; the run itself is `python -m dmg`.

    time python -m dmg --config-name camels_531_mingru observations.data_path=camels.zarr output_dir=RUN
    python benchmarks/camels.py RUN    # writes benchmarks/results/NAME.json

The file is named after the configuration.
"""

from __future__ import annotations

import argparse
import csv
import json
from collections import defaultdict
from pathlib import Path
from statistics import fmean

from page import machine

RESULTS = Path(__file__).with_name("results")
METRICS = ("nse", "kge", "corr", "fhv", "flv")


def main() -> None:
    """Read the run, print and save."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="folder of the run")
    parser.add_argument("--cpu-minutes", type=float, help="CPU minutes, of a run that does not know them")
    parser.add_argument("--name", default="camels_531_mingru", help="name of the result")
    words = parser.parse_args()
    result = summary(words.run) | {"machine": machine()}
    if words.cpu_minutes is not None:
        result["cpu_minutes"] = words.cpu_minutes
    print(json.dumps(result, indent=1))
    (RESULTS / f"{words.name}.json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


def summary(run: Path) -> dict:
    """Return skill, time and learning curve of a finished run."""
    about = json.loads((run / "run.json").read_text(encoding="utf-8"))
    scores = json.loads((run / "metrics_aggregate.json").read_text(encoding="utf-8"))
    losses: dict[int, list[float]] = defaultdict(list)
    with (run / "training_log.csv").open(encoding="utf-8", newline="") as lines:
        for row in csv.DictReader(lines):
            losses[int(row["epoch"])].append(float(row["loss"]))
    test = {static: found["streamflow"]["all"] for static, found in scores.items()}
    return {
        "sites": test["last"]["nse"]["n"],
        **{
            f"median_{name}": {static: round(found[name]["median"], 4) for static, found in test.items()}
            for name in METRICS
        },
        "seed": about["seed"],
        "minibatches": about["training"]["epochs"] * about["training"]["batches_per_epoch"],
        "wall_s": {name.removesuffix("_s"): value for name, value in about["timings"].items()},
        "cpu_minutes": round(sum(about.get("cpu_timings", {}).values()) / 60, 1),
        "date": about["started"][:10],
        "commit": about["git"]["dmg"],
        "loss_by_epoch": [round(fmean(losses[epoch]), 4) for epoch in sorted(losses)],
    }


if __name__ == "__main__":
    main()
