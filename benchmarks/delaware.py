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

DATA = Path(__file__).parents[2] / "shared" / "data" / "river_networks" / "pywatershed_drb"
RESULTS = Path(__file__).with_name("results") / "delaware.json"
VARIANTS: dict[str, dict[str, Any]] = {
    "unrouted": {"routing": False},
    "gamma unit hydrograph of each gauge": {"routing": True},
    "Muskingum–Cunge": {"router": "MuskingumCunge"},
}
FORCINGS = ["prcp", "tmean", "pet"]
LARGE = 1000.0  # km²
ITERATIONS, EPOCHS = 60, 10


def configuration(folder: Path, routing: dict[str, Any], iterations: int, epochs: int) -> dict[str, Any]:
    """Return the configuration of a run in a folder that has the stores."""
    return {
        "mode": "train_test",
        "seed": 0,
        "device": "cpu",
        "output_dir": str(folder / "run"),
        "data_loader": "MsHydroLoader",
        "data_sampler": "MsHydroSampler",
        "trainer": "MsTrainer",
        "train": {
            "start_time": "1979/04/01",
            "end_time": "1980/02/29",
            "target": ["streamflow"],
            "optimizer": {"name": "Adam"},
            "lr": 0.01,
            "lr_scheduler": {"name": "CosineAnnealingLR", "T_max": epochs},
            "loss_function": {"name": "NseBatchLoss"},
            "batch_size": 16,
            "epochs": epochs,
            "iterations": iterations,
        },
        "test": {"start_time": "1980/03/01", "end_time": "1980/12/31", "batch_size": 200},
        "model": {
            "rho": 90,
            "warmup": 90,
            "phy": {
                "name": ["Hbv_2"],
                "nmul": 4,
                "dynamic_params": {"Hbv_2": ["parBETA", "parBETAET"]},
                "forcings": FORCINGS,
                **routing,
            },
            "nn": {
                "name": "LstmMlpModel",
                "hidden_size": 32,
                "dropout": 0.2,
                "forcings": FORCINGS,
                "attributes": ["area", "upstream_area", "elev_mean", "slope_mean", "reach_slope", "reach_width"],
            },
        },
        "observations": {
            "name": "delaware",
            "data_path": str(folder / "segments.nc"),
            "gauge_path": str(folder / "gauges.nc"),
            "topology_path": str(DATA / "parameters_dis_both.nc"),
            "subbasin_area_name": "area",
            "upstream_area_name": "upstream_area",
            "elevation_name": "elev_mean",
            "reach_length_name": "reach_length",
            "reach_slope_name": "reach_slope",
        },
    }


def write_stores(folder: Path) -> None:
    """Write segments and gauges as `dmg data` does."""
    from dmg.cli import main

    observed = [str(DATA / "drb_2yr_gage_poi_obs.nc"), str(folder / "gauges.nc")]
    options = ["--site-dim", "poi_id", "--rename", "discharge=streamflow", "--keep", "streamflow"]
    for words in (["prms", str(DATA), str(folder / "segments.nc")], ["netcdf", *observed, *options]):
        if main(["data", *words]):
            raise SystemExit("the stores could not be written")


def train_and_score(folder: Path, name: str, iterations: int = ITERATIONS, epochs: int = EPOCHS) -> dict[str, Any]:
    """Train a variant and return its scores at the gauges in the held-out months."""
    from dmg import as_config
    from dmg.trainers import MsTrainer, evaluate
    from dmg.trainers.simulate import simulate_sites

    config = as_config(configuration(folder, VARIANTS[name], iterations, epochs))
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
        write_stores(Path(folder))
        for name in VARIANTS:
            results.append(train_and_score(Path(folder), name))
            print(json.dumps(results[-1], ensure_ascii=False), flush=True)
    lines = ",\n".join(json.dumps(r, ensure_ascii=False) for r in results)
    RESULTS.write_text(f"[\n{lines}\n]\n", encoding="utf-8")


if __name__ == "__main__":
    main()
