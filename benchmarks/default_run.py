"""The default run, `python -m dmg`, measured: time, skill against that of the truth, and recovered parameters.

    python benchmarks/default_run.py [overrides …]   # writes benchmarks/results/default_run.json if there are none

Skill is the median over sites of the NSE in the test period, compared with what the true parameters of the embedded
sample reach against the same noisy observations. Recovery is the rank correlation between true and learned values
over the sites that the run holds out, for the parameters that `identifiability.json` calls identifiable.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

RESULTS = Path(__file__).with_name("results")


def main() -> None:
    """Run, measure, print and save."""
    overrides = sys.argv[1:]
    with tempfile.TemporaryDirectory() as folder:
        wall = time.perf_counter()
        command = [sys.executable, "-m", "dmg", f"run_dir={folder}/run", *overrides]
        subprocess.run(command, cwd=folder, check=True)
        wall = time.perf_counter() - wall
        usage = resource.getrusage(resource.RUSAGE_CHILDREN)
        result = {
            "command": "python -m dmg",
            "overrides": overrides,
            "cpu_s": round(usage.ru_utime + usage.ru_stime, 1),
            "wall_s": round(wall, 1),
            "peak_mb": round(usage.ru_maxrss / 1024),
            **score(Path(folder) / "run"),
        }
    print(json.dumps(result, indent=1))
    if not overrides:
        (RESULTS / "default_run.json").write_text(json.dumps(result, indent=1) + "\n")


def score(path: Path) -> dict:
    """Return skill and recovered parameters of a run."""
    import dmg
    from dmg.core.calc import Metrics
    from dmg.trainers import Trainer
    from dmg.trainers.site_table import learned_parameters
    from hydrodl2.calc.identifiability import spearman_of_parameters
    from hydrodl2.data.sample import PREFIX, generate_sample

    run = dmg.load_run(path)
    trainer = Trainer(run.config, model=run.model, write_out=False)
    data = trainer.eval_dataset
    truth = generate_sample(**run.config.observations.sample.model_dump()).sel(site=list(data.sites))
    period = slice(run.config.test.start, run.config.test.end)
    flows = truth.sel(time=period)
    ceiling = Metrics(flows["streamflow_true"].values.T, flows["streamflow"].values.T, names=["nse"]).nse
    identifiable = json.loads((RESULTS / "identifiability.json").read_text())["identifiable"]
    true = {name: truth[PREFIX + name].values for name in identifiable}
    spearman = spearman_of_parameters(true, learned_parameters(trainer, "Hbv"), data.holdout)
    best = float(np.median(ceiling))
    reached = {
        static: {group: metrics["nse"]["median"] for group, metrics in run.metrics[static]["streamflow"].items()}
        for static in ("last", "held")
    }
    return {
        "median_nse": reached,
        "median_nse_of_truth": round(best, 4),
        "ratio": round(reached["last"]["all"] / best, 4),
        "median_spearman_holdout": round(float(np.median(list(spearman.values()))), 3),
        "spearman_holdout": {name: round(value, 3) for name, value in spearman.items()},
    }


if __name__ == "__main__":
    main()
