"""Networks compared under one budget: a search for size and rate of each, then the experiment `networks` with them.

    python benchmarks/networks.py search camels.zarr FOLDER --minutes 5    # of CPU time, for every network
    python benchmarks/networks.py train camels.zarr FOLDER                 # trains, tests, draws the learning curves

Both go on where they were interrupted. The search trains on the first years of the training period and is scored on the
last two of them: the years of the test have no part in it. What follows the folder are overrides of every run.
"""

from __future__ import annotations

import argparse
import csv
import json
from pathlib import Path

import yaml

from dmg.cli import main as dmg
from dmg.cli_run import execute
from dmg.conf.compose import compose
from dmg.conf.config import as_config
from dmg.conf.experiment import read_experiment
from dmg.core.utils.atomic import write_text
from dmg.experiments.plan import relevant

SPACE = {
    "train.lr": {"low": 0.0005, "high": 0.02, "log": True},
    "model.nn.hidden_size": [32, 64, 96, 128],
    "model.nn.dropout": {"low": 0.0, "high": 0.5, "step": 0.1},
}
PERIODS = {
    "train.end_time": "2006/09/30",
    "valid": {"start_time": "2006/10/01", "end_time": "2008/09/30", "every": 2},
}
# A trial is a short training: its rate falls to nothing within its own epochs.
TRIAL = {"train.epochs": 4, "train.iterations": 50, "train.save_epoch": 4, "tune.trials": 1000, "tune.warmup_epochs": 1}


def main() -> None:
    """Search, or train."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("step", choices=("search", "train"))
    parser.add_argument("store", help="data of CAMELS-US, as `dmg data` makes them")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--minutes", type=float, default=5.0, help="budget of each network's search (default: 5)")
    parser.add_argument("--experiment", default="networks", help="experiment with the networks (default: networks)")
    parser.add_argument("overrides", nargs="*", metavar="key=value")
    words = parser.parse_intermixed_args()
    overrides = [f"observations.data_path={words.store}", *words.overrides]
    if words.step == "search":
        search(words.folder, words.experiment, words.minutes, overrides)
    else:
        train(words.folder, words.experiment, overrides)


def search(folder: Path, experiment: str, minutes: float, overrides: list[str]) -> None:
    """Search for every network for the same CPU time, and keep the best settings of each."""
    plan = read_experiment(experiment, folder)
    wanted = plan.only or list(plan.models)
    for name in wanted:
        if (folder / "search" / name / "best.yaml").is_file():
            continue
        settings = {**plan.settings, **plan.models[name].settings, **PERIODS, **TRIAL}
        settings |= {"do_tune": True, "mode": "train", "tune.cpu_timeout": minutes / 60, "tune.space": SPACE}
        settings |= {"name": name, "output_dir": str(folder / "search" / name)}
        execute(as_config(compose(plan.base, None, relevant(overrides, settings), settings)))
    chosen = {name: best_of(folder / "search" / name) for name in wanted}
    write_text(folder / "chosen.json", json.dumps(chosen, indent=1) + "\n")
    print(json.dumps(chosen, indent=1))


def train(folder: Path, experiment: str, overrides: list[str]) -> None:
    """Run the experiment with the settings that were found; without any, as it is packaged."""
    own = folder / "chosen.json"
    chosen = json.loads(own.read_text(encoding="utf-8")) if own.is_file() else {}
    models = {name: {"settings": {key: found[key] for key in SPACE}} for name, found in chosen.items()}
    text = yaml.safe_dump({"defaults": [experiment, "_self_"], "models": models}, sort_keys=False)
    write_text(folder / "experiment" / "chosen.yaml", text)
    words = ["--config-path", str(folder), "experiment=chosen", f"output_dir={folder / 'runs'}", *overrides]
    raise SystemExit(dmg(words))


def best_of(folder: Path) -> dict[str, object]:
    """Return the searched settings of the best trial, its score, and how many trials there were."""
    with (folder / "trials.csv").open(encoding="utf-8", newline="") as handle:
        trials = list(csv.DictReader(handle))
    best = yaml.safe_load((folder / "best.yaml").read_text(encoding="utf-8"))
    found: dict[str, object] = {}
    for key in SPACE:
        value = best
        for part in key.split("."):
            value = value[part]
        found[key] = value
    return found | {"valid_nse": float(trials[0]["score"]), "trials": len(trials)}


if __name__ == "__main__":
    main()
