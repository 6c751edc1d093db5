"""What the charts of a report show, as plain data: scores, places, series, parameters, the course of the training."""

from __future__ import annotations

import base64
import csv
import json
import zlib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any

import numpy as np

from dmg.trainers.plots import SHOWN
from dmg.trainers.train import VALIDATION

if TYPE_CHECKING:
    import xarray as xr

    from dmg.trainers.run_directory import RunDirectory

MOST_VALUES = 1_200_000
"""So many values of series a report holds: about 2 MB."""

MOST_SAMPLES = 4000
"""So many points of samples a report draws."""

_LARGEST, _MISSING = 32767, -32768


def chart_data(files: RunDirectory, config: Mapping[str, Any], metrics: Mapping[str, Any]) -> dict[str, Any]:
    """Return the data of the page's charts.

    Parameters
    ----------
    files
        Of the run.
    config
        Its configuration, plain.
    metrics
        What ``metrics.json`` holds; {} of a run without a test.
    """
    conventions = [key for key in ("held", "last", "mixed") if key in metrics]
    static = (config.get("model") or {}).get("static", "held")
    static = static if static in conventions else next(iter(conventions), "held")
    scores = {key: metrics[key] for key in dict.fromkeys([static, *conventions]) if key in metrics}
    names = list(scores.get(static, {}))
    known = list(scores[static][names[0]]) if names else []
    order = [name for name in SHOWN if name in known] + [name for name in known if name not in SHOWN]
    table = _open(files.sites)
    sites = [str(site) for site in metrics.get("sites", [])]
    fits = table is not None and [str(s) for s in table["site"].values] == sites
    places = {key: _digits(table[key].values, 7) if fits and key in table.coords else None for key in ("lat", "lon")}
    in_time = names and "samples" not in metrics
    return {
        "static": static,
        "names": names,
        "units": metrics.get("units", {}),
        "order": order,
        "metrics": {name: _about(name) for name in order},
        "scores": {
            s: {n: {m: _digits(v) for m, v in m_by.items()} for n, m_by in by.items()} for s, by in scores.items()
        },
        "sites": {"id": sites, "holdout": metrics.get("holdout") or None, **places},
        "series": _series(files, metrics, names, static) if in_time else None,
        "samples": [] if in_time else _samples(files, names),
        "parameters": _parameters(table) if fits else [],
        "training": _training(files),
    }


def read_json(path: Path) -> dict[str, Any]:
    """Return what a JSON file holds, {} if there is none."""
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


def of_training(files: RunDirectory) -> list[dict[str, float]]:
    """Return the rows of the training log as numbers; cells without one are left out."""
    if not files.training_log.is_file():
        return []
    with files.training_log.open(encoding="utf-8", newline="") as handle:
        return [{key: float(cell) for key, cell in row.items() if cell} for row in csv.DictReader(handle)]


def _about(name: str) -> dict[str, Any]:
    """Return what is known of a metric; of one that is no longer registered, nothing but that larger is better."""
    from dmg.registry import metrics

    if name not in metrics:
        return {"best": "max", "perfect": None, "bounds": [None, None], "unit": "", "about": ""}
    metric = metrics.get(name)
    finite = [value if np.isfinite(value) else None for value in (metric.perfect, *metric.bounds)]
    about = (metric.__doc__ or "").strip().partition("\n")[0].rstrip(".").replace("``", "")
    unit = "" if metric.unit in ("1", "") else metric.unit
    return {"best": metric.best, "perfect": finite[0], "bounds": finite[1:], "unit": unit, "about": about}


def _digits(values: Any, digits: int = 5) -> list[float | None]:
    """Return numbers with some significant digits; what is not finite becomes None."""
    array = np.array([np.nan if v is None else v for v in np.asarray(values, dtype=object)], dtype=np.float64)
    return [float(f"{v:.{digits}g}") if np.isfinite(v) else None for v in array]


def _open(path: Path) -> xr.Dataset | None:
    import xarray as xr

    if not path.is_file():
        return None
    with xr.open_dataset(path, engine="h5netcdf", decode_timedelta=False) as opened:
        return opened.load()


def _samples(files: RunDirectory, names: Sequence[str]) -> list[dict[str, Any]]:
    """Return pairs of observed and simulated values of samples, evenly some of them where there are many."""
    table = _open(files.simulation) if names else None
    found = []
    for name in names if table is not None and "sample" in table.sizes else ():
        if not (target := _observed(table, name)):
            continue
        observed, simulated = (table[n].values.astype(float) for n in (f"{target}_obs", name))
        known = np.flatnonzero(np.isfinite(observed) & np.isfinite(simulated))
        shown = known[np.unique(np.linspace(0, len(known) - 1, min(len(known), MOST_SAMPLES)).astype(int))]
        pair = {"observed": _digits(observed[shown]), "simulated": _digits(simulated[shown])}
        found.append({"name": name, "unit": str(table[name].attrs.get("units", "")), "n": len(known), **pair})
    return found


def _series(
    files: RunDirectory, metrics: Mapping[str, Any], names: Sequence[str], static: str
) -> dict[str, Any] | None:
    """Return the series of as many sites as there is room for, from the best to the worst."""
    import xarray as xr

    if not files.simulation.is_file():
        return None
    with xr.open_dataset(files.simulation, engine="h5netcdf") as opened:
        if [str(s) for s in opened["site"].values] != [str(s) for s in metrics["sites"]] or opened.sizes["time"] < 2:
            return None
        times = opened["time"].values.astype("datetime64[ms]").astype(np.int64)
        shown = [(name, target) for name in names if (target := _observed(opened, name))]
        targets = []
        for name, target in shown:
            score = metrics[static][name].get("nse") or [None] * opened.sizes["site"]
            sites = _spread(score, max(MOST_VALUES // (2 * len(times) * len(shown)), 3))
            columns = [opened[n].isel(site=sites).transpose("site", "time").values for n in (name, f"{target}_obs")]
            packed, scale = _pack(np.stack(columns, axis=1).reshape(2 * len(sites), len(times)))
            unit = str(opened[name].attrs.get("units", ""))
            targets.append({"name": name, "unit": unit, "sites": sites, "scale": scale, "packed": packed})
    if not targets:
        return None
    return {"start": int(times[0]), "step": int(times[1] - times[0]), "length": len(times), "targets": targets}


def _observed(ds: xr.Dataset, name: str) -> str | None:
    """Return the target that a prediction is of: ``streamflow`` of ``Hbv_streamflow``."""
    known = [str(n).removesuffix("_obs") for n in ds if str(n).endswith("_obs")]
    found = [target for target in known if name == target or name.endswith(f"_{target}")]
    return max(found, key=len) if found and name in ds else None


def _spread(scores: Sequence[float | None], most: int) -> list[int]:
    """Return the positions of sites, at most some, evenly from the best to the worst; unscored ones last."""
    values = np.array([-np.inf if v is None else v for v in scores], dtype=float)
    ranked = np.argsort(-values, kind="stable")
    scored = ranked[: int(np.isfinite(values).sum())] if np.isfinite(values).any() else ranked
    if len(ranked) <= most:
        return [int(i) for i in ranked]
    at = np.unique(np.concatenate([np.linspace(0, len(scored) - 1, most), [(len(scored) - 1) // 2]]).astype(int))
    return [int(scored[k]) for k in at]


def _pack(rows: np.ndarray) -> tuple[str, list[float]]:
    """Return series [N, T] in 16 bits, and the largest size of each.

    Signed square roots keep the digits of low flow; differences in time, deflated, take half the room.
    """
    with np.errstate(invalid="ignore"):
        size = np.nanmax(np.abs(np.where(np.isfinite(rows), rows, 0.0)), axis=1)
        roots = np.sign(rows) * np.sqrt(np.abs(rows) / np.where(size > 0, size, 1.0)[:, None])
        codes = np.where(np.isfinite(rows), np.round(roots * _LARGEST), _MISSING).astype(np.int64)
    steps = np.diff(codes, axis=1, prepend=0).astype(np.uint16).astype("<u2")
    return base64.b64encode(zlib.compress(steps.tobytes(), 6)).decode(), [float(f"{v:.7g}") for v in size]


def _parameters(table: xr.Dataset) -> list[dict[str, Any]]:
    from dmg.trainers.site_table import TRUE

    found = []
    for name, variable in table.data_vars.items():
        if "valid_min" not in variable.attrs:
            continue
        about = variable.attrs
        found.append(
            {
                "name": name,
                "unit": about["units"],
                "about": about.get("long_name", ""),
                "low": float(about["valid_min"]),
                "high": float(about["valid_max"]),
                "values": _digits(variable.values),
                "truth": _digits(table[f"{TRUE}{name}"].values) if f"{TRUE}{name}" in table else None,
            }
        )
    return found


def _training(files: RunDirectory) -> dict[str, Any] | None:
    """Return the mean loss of every epoch, and the scores of the validation."""
    losses: dict[int, list[float]] = defaultdict(list)
    for row in of_training(files):
        if np.isfinite(row.get("loss", np.nan)):
            losses[int(row["epoch"])].append(row["loss"])
    if not losses:
        return None
    path = files.log_dir / "metrics.jsonl"
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.is_file() else []
    scores = [[line["step"], line[VALIDATION]] for line in lines if VALIDATION in line and line["step"] in losses]
    means = [float(f"{fmean(losses[epoch]):.6g}") for epoch in sorted(losses)]
    return {"epochs": sorted(losses), "loss": means, "validation": scores}
