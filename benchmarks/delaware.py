"""The Delaware: δHBV 2.0 on 456 segments, trained on discharge at gauges, unrouted and through two routers.

    python benchmarks/delaware.py                # writes results/delaware.json
    python benchmarks/delaware.py --docs         # puts its table into docs/benchmarks.md

Training is on April 1979 to February 1980, with three months of warm-up, at all gauges with observations; the scores
are of the held-out months March to December 1980. The data are a model of pywatershed, beside the project.
"""

from __future__ import annotations

import argparse
import datetime
import json
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import page

from example.hydrology.delaware import EPOCHS, ITERATIONS, THROUGH_THE_RIVER, configuration, convert

DATA = Path(__file__).parents[2] / "shared" / "data" / "river_networks" / "pywatershed_drb"
RESULTS = Path(__file__).with_name("results") / "delaware.json"
VARIANTS: dict[str, dict[str, Any]] = {
    "unrouted": {"routing": False},
    "gamma unit hydrograph of each gauge": {"routing": True},
    "Muskingum–Cunge": THROUGH_THE_RIVER,
}
LARGE = 1000.0  # km²


def train_and_score(folder: Path, name: str, iterations: int = ITERATIONS, epochs: int = EPOCHS) -> dict[str, Any]:
    """Train a variant and return its scores at the gauges in the held-out months."""
    from dmg import as_config
    from dmg.trainers import MsTrainer, evaluate
    from dmg.trainers.simulate import simulate_sites

    config = as_config(configuration(DATA, folder, VARIANTS[name], iterations=iterations, epochs=epochs))
    cpu = time.process_time()
    trainer = MsTrainer(config, verbose=False)
    trainer.train()
    cpu = time.process_time() - cpu
    data = trainer.eval_dataset
    run = simulate_sites(
        trainer.model, data, trainer.sampler, batch_size=200, outputs=["streamflow"], description="testing"
    )
    scores = evaluate.score(run, evaluate.observations(data, len(run.times)), ["nse", "kge"])["streamflow"]
    area = np.asarray(trainer.loader.areas)
    known = np.isfinite(scores["nse"])
    large = known & (area > LARGE)
    return {
        "variant": name,
        "gauges": int(known.sum()),
        "large": int(large.sum()),
        **{k: round(float(np.nanmedian(scores[k][known])), 3) for k in ("nse", "kge")},
        **{f"{k}_large": round(float(np.nanmedian(scores[k][large])), 3) for k in ("nse", "kge")},
        "minibatches": iterations * epochs,
        "cpu_s": round(cpu, 0),
        "machine": page.machine(),
        "date": datetime.date.today().isoformat(),
    }


def table(results: list[dict[str, Any]]) -> str:
    """Return the results as a Markdown table."""
    first = results[0]
    rows = [
        f"| flow at the gauge | NSE, {first['gauges']} gauges | KGE | NSE, {first['large']} above {LARGE:g} km² | KGE "
        "| training, CPU |",
        "|---|---|---|---|---|---|",
    ]
    rows += [
        f"| {r['variant']} | {r['nse']:.3f} | {r['kge']:.3f} | {r['nse_large']:.3f} | {r['kge_large']:.3f} "
        f"| {r['cpu_s']:.0f} s |"
        for r in results
    ]
    return "\n".join(rows) + f"\n\nMedians; {first['minibatches']} minibatches, {first['machine']}, {first['date']}.\n"


def main() -> None:
    """Train, score, print and save; or show what was found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--docs", action="store_true", help="put the saved table into docs/benchmarks.md")
    if parser.parse_args().docs:
        page.put("delaware", table(json.loads(RESULTS.read_text(encoding="utf-8"))))
        return
    results = []
    with tempfile.TemporaryDirectory() as folder:
        convert(DATA, Path(folder))
        for name in VARIANTS:
            results.append(train_and_score(Path(folder), name))
            print(json.dumps(results[-1], ensure_ascii=False), flush=True)
    lines = ",\n".join(json.dumps(r, ensure_ascii=False) for r in results)
    RESULTS.write_text(f"[\n{lines}\n]\n", encoding="utf-8")


if __name__ == "__main__":
    main()
