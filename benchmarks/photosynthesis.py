"""Leaf photosynthesis: parameters recovered from made-up leaves, measured A-Ci curves, and leaves by the million.

Curves are those of `manyacidat` of the R package plantecophys, beside the project in ``../shared``. All of them are
fitted at once, by `LeafBiochemistry` with values of its parameters for every curve, and for comparison one by one with
SciPy, by equations written here: limits by a sharp minimum, nothing of this project.

    python benchmarks/photosynthesis.py           # every case, one JSON line each; updates results/photosynthesis.json
    python benchmarks/photosynthesis.py curves    # some cases; this one draws docs/images/photosynthesis.png
    python benchmarks/photosynthesis.py --docs    # puts the table into docs/benchmarks.md
"""

from __future__ import annotations

import math
import resource
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from suite import Case, Figure, Suite

from diffecosys import assimilation
from diffecosys.data import PLANT_TYPES, sample_leaves
from diffecosys.models import LeafPhotosynthesis
from dmg.conf.compose import compose
from dmg.conf.config import as_config
from dmg.core.data.loaders import TableLoader
from dmg.engine import RawParameters
from dmg.trainers import TableTrainer

ROOT = Path(__file__).parents[1]
CURVES = ROOT.parent / "shared" / "data" / "photosynthesis" / "plantecophys" / "manyacidat.csv"
FIGURE = ROOT / "docs" / "images" / "photosynthesis.png"
PRESSURE = 101.3  # kPa; the data do not say
FITTED = ("Vcmax25", "jmax_ratio", "rd_ratio")
# As good as a sharp minimum.
SHARP = 1.0 - 1e-7
SHOWN = ("1000_7_2", "20_5_5", "5_1_8")
# A grid of 0.5 degrees has 67 000 cells on land; twelve months of them.
ROWS, CHUNK = 1_000_000, 20_000


def read_curves() -> pd.DataFrame:
    """Return the curves under the names of the model."""
    found = pd.read_csv(CURVES).rename(columns={"Photo": "An", "PARi": "PARin"})
    return found.assign(c3=1.0, Patm=PRESSURE)


def joint_config(curves: list[str], holdout: list[str] | None = None) -> Any:
    """Return the configuration of the joint fit."""
    return as_config(
        {
            "mode": "train",
            "seed": 0,
            "data_loader": "TableLoader",
            "train": {
                "target": ["An"],
                "lr": 1.0,
                "optimizer": {"name": "LBFGS", "max_iter": 100, "line_search_fn": "strong_wolfe"},
                "loss_function": "MseLoss",
                "batch_size": 10_000,
                "epochs": 4,
            },
            "test": {"batch_size": 10_000, "holdout_sites": holdout},
            "model": {
                "outputs": list(FITTED),
                "phy": {
                    "name": ["LeafBiochemistry"],
                    "dynamic_params": {"LeafBiochemistry": ["jmax_ratio", "rd_ratio"]},
                },
                "nn": {
                    "name": "ParameterNetworks",
                    "categories": {"Curve": curves},
                    "networks": {"curve": {"parameters": list(FITTED), "categories": ["Curve"]}},
                },
            },
            "observations": {"name": "manyacidat"},
        }
    )


def fit_jointly(table: pd.DataFrame, holdout: list[str] | None = None) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Return predictions and parameters of every point, and the scores."""
    config = joint_config(sorted(table.Curve.unique()), holdout)
    loader = TableLoader(config, store=table)
    trainer = TableTrainer(
        config, train_dataset=loader.train_dataset, eval_dataset=loader.eval_dataset, write_out=False
    )
    trainer.train()
    scores = trainer.evaluate()["last"]["An"]
    found = pd.DataFrame({n: v[0] for n, v in trainer.simulation.series.items()}, index=table.index)
    return found, scores


def independent_assimilation(fit: np.ndarray, curve: pd.DataFrame) -> np.ndarray:
    """Return net assimilation after Farquhar et al. (1980) with the kinetics of Bernacchi et al. (2001)."""
    vcmax25, jmax25, rd25 = fit
    gas, warm = 8.3144598e-3, curve.Tleaf.to_numpy() + 273.15
    span = (warm - 298.15) / (298.15 * gas * warm)

    def rises(energy: float) -> np.ndarray:
        return np.exp(energy * span)

    def falls(energy: float, entropy: float) -> np.ndarray:
        at = 1.0 + math.exp((298.15 * entropy - energy) / (gas * 298.15))
        return at / (1.0 + np.exp((warm * entropy - energy) / (gas * warm)))

    kc, ko, gamma = 404.9 * rises(79.43), 278.4 * rises(36.38), 42.75 * rises(37.83)
    vcmax = vcmax25 * rises(65.33) * falls(149.25, 0.485)
    jmax = jmax25 * rises(43.54) * falls(152.04, 0.495)
    rd = rd25 * rises(46.39) * falls(150.65, 0.490)
    light = 0.425 * curve.PARin.to_numpy()
    j = (light + jmax - np.sqrt((light + jmax) ** 2 - 2.8 * light * jmax)) / 1.4
    ci = curve.Ci.to_numpy()
    by_rubisco = vcmax * (ci - gamma) / (ci + kc * (1.0 + 209.0 / ko))
    by_light = j * (ci - gamma) / (4.0 * ci + 8.0 * gamma)
    return np.minimum(by_rubisco, by_light) - rd


def fit_one_by_one(table: pd.DataFrame) -> pd.DataFrame:
    """Return Vcmax25, Jmax25 and Rd25 of every curve by least squares."""
    from scipy.optimize import least_squares

    rows = {}
    for name, curve in table.groupby("Curve"):
        starts = [(v, ratio * v, 0.01 * v) for v in (40.0, 90.0) for ratio in (1.2, 2.0)]
        fits = [
            least_squares(
                lambda fit, curve=curve: independent_assimilation(fit, curve) - curve.An.to_numpy(),
                start,
                bounds=([5.0, 5.0, 0.0], [300.0, 600.0, 10.0]),
                x_scale=(50.0, 100.0, 1.0),
            )
            for start in starts
        ]
        rows[name] = min(fits, key=lambda fit: fit.cost).x
    return pd.DataFrame(rows, index=["Vcmax25", "Jmax25", "Rd25"]).T


def curves() -> dict[str, Any]:
    """Fit the measured curves both ways, and once more without every fourth point of each."""
    torch.manual_seed(0)
    table = read_curves()
    began = time.process_time()
    found, scores = fit_jointly(table)
    seconds = time.process_time() - began
    joint = found.groupby(table.Curve).first()
    joint["Jmax25"] = joint.Vcmax25 * joint.jmax_ratio
    alone = fit_one_by_one(table)
    differs = {n: (joint[n] / alone[n] - 1.0).abs() for n in ("Vcmax25", "Jmax25")}
    predicted = np.concatenate([independent_assimilation(alone.loc[n], c) for n, c in table.groupby("Curve")])
    measured = np.concatenate([c.An for _, c in table.groupby("Curve")])
    spared = table.index[table.groupby("Curve").cumcount() % 4 == 2]
    _, without = fit_jointly(table, [str(i) for i in spared])
    draw(table, found, joint, alone)
    assimilation.THETA_COLIMITATION = SHARP
    sharp = fit_jointly(table)[0].Vcmax25.groupby(table.Curve).first()
    return {
        "curves": len(joint),
        "points": len(table),
        **{f"{n}_{what}": round(100 * float(value), 2) for n in differs for what, value in _spread(differs[n])},
        "sharp_median": round(100 * float((sharp / alone.Vcmax25 - 1.0).abs().median()), 3),
        "rmse": round(scores["all"]["rmse"]["median"], 3),
        "rmse_alone": round(float(np.sqrt(np.mean((predicted - measured) ** 2))), 3),
        "held_out_r2": round(without["holdout"]["nse"]["median"], 4),
        "cpu_s": round(seconds, 2),
    }


def _spread(values: pd.Series) -> list[tuple[str, float]]:
    return [("median", values.median()), ("greatest", values.max())]


def draw(table: pd.DataFrame, found: pd.DataFrame, joint: pd.DataFrame, alone: pd.DataFrame) -> None:
    """Draw some curves, and the parameters of both fits."""
    from dmg.core.post.figure import COLORS, new_figure, save_figure, strip_spines

    figure = new_figure((10.0, 3.4), 110)
    left, *right = figure.subplots(1, 3)
    for name, color in zip(SHOWN, COLORS, strict=False):
        curve = table[table.Curve == name].sort_values("Ci")
        left.plot(curve.Ci, curve.An, "o", color=color, markersize=3.5)
        left.plot(curve.Ci, found.An[curve.index], color=color, linewidth=1.2, label=name)
    left.set(xlabel="Ci (ppm)", ylabel="An (µmol m⁻² s⁻¹)", title="Three of the curves, joint fit")
    left.legend(frameon=False, title="curve")
    for axes, name in zip(right, ("Vcmax25", "Jmax25"), strict=True):
        axes.plot(alone[name], joint[name], "o", color=COLORS[0], markersize=4)
        ends = [alone[name].min() * 0.9, alone[name].max() * 1.05]
        axes.plot(ends, ends, color="0.4", linewidth=0.8)
        axes.set(xlabel="curve by curve, SciPy", ylabel="all at once, δMG", title=f"{name} (µmol m⁻² s⁻¹)")
    for axes in (left, *right):
        strip_spines(axes)
    save_figure(figure, FIGURE)


def twin() -> dict[str, Any]:
    """Train the packaged configuration and compare with the truth."""
    config = as_config(compose("leaves", None, []))
    torch.manual_seed(config.seed)
    loader = TableLoader(config)
    trainer = TableTrainer(
        config, train_dataset=loader.train_dataset, eval_dataset=loader.eval_dataset, write_out=False
    )
    began = time.process_time()
    trainer.train()
    seconds = time.process_time() - began
    trainer.evaluate()
    truth = sample_leaves(config.observations.sample.sites, config.observations.sample.seed)
    found = {name: trainer.simulation.series[name][0] for name in ("Vcmax25", "B_1")}
    types = [float(found["Vcmax25"][(n == truth.PFT).to_numpy()][0]) / v[0] - 1.0 for n, v in PLANT_TYPES.items()]
    error = np.abs(found["B_1"] - truth.true_B_1.to_numpy())
    return {
        "vcmax25": round(100 * max(map(abs, types)), 2),
        "b_greatest": round(float(error.max()), 4),
        "b_p95": round(float(np.quantile(error, 0.95)), 4),
        "cpu_s": round(seconds, 1),
    }


def forward() -> dict[str, Any]:
    """Run a million leaves, a chunk at once."""
    model = LeafPhotosynthesis({"layers": 1, "given": ["g1"], "engine": "fused"})
    table = sample_leaves(CHUNK)
    x = torch.tensor(table[[f.name for f in model.forcings]].to_numpy(np.float32))[None]
    raw = RawParameters(x[..., :0], torch.zeros(CHUNK, 2))
    model.run(x, raw, outputs=["An", "gs"])
    began, failed = time.process_time(), 0.0
    for _ in range(ROWS // CHUNK):
        series, _ = model.run(x, raw, outputs=["An", "gs", "unconverged"])
        failed += float(series["unconverged"].sum())
    seconds = time.process_time() - began
    return {
        "cpu_s": round(seconds, 3),
        "ns": round(seconds / ROWS * 1e9, 1),
        "unconverged": failed,
        "peak_gb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, 3),
    }


CASES: Mapping[str, Case] = {
    "twin": Case(
        "2000 made-up leaves, errors of 2.5 %: Vcmax25 of 7 plant types and B of every soil from An",
        twin,
        (
            Figure("vcmax25", "error of Vcmax25, the worst plant type", "%", at_most=2),
            Figure("b_greatest", "error of B, the worst soil", "", at_most=0.05),
            Figure("b_p95", "error of B, 95 % of the soils", ""),
            Figure("cpu_s", "CPU time, 450 minibatches of all leaves", "s"),
        ),
    ),
    "curves": Case(
        "28 measured A–Ci curves, 390 points, all at once, against SciPy curve by curve",
        curves,
        (
            Figure("Vcmax25_median", "difference of Vcmax25, median curve", "%", at_most=2),
            Figure("Vcmax25_greatest", "difference of Vcmax25, greatest", "%"),
            Figure("sharp_median", "the same with a sharp minimum in δMG too, median curve", "%"),
            Figure("Jmax25_median", "difference of Jmax25, median curve", "%", at_most=2),
            Figure("Jmax25_greatest", "difference of Jmax25, greatest", "%"),
            Figure("rmse", "RMSE of An", "µmol m⁻² s⁻¹"),
            Figure("rmse_alone", "RMSE of An, SciPy", "µmol m⁻² s⁻¹"),
            Figure("held_out_r2", "R² of every fourth point, kept out of another fit", ""),
            Figure("cpu_s", "CPU time", "s"),
        ),
    ),
    "forward": Case(
        "1 000 000 leaves in chunks of 20 000, coupled solution, float32",
        forward,
        (
            Figure("cpu_s", "CPU time", "s"),
            Figure("ns", "CPU time", "ns per leaf"),
            Figure("unconverged", "leaves without a solution", ""),
            Figure("peak_gb", "peak memory", "GB"),
        ),
    ),
}

SUITE = Suite(Path(__file__), __doc__, CASES)

if __name__ == "__main__":
    SUITE.main()
