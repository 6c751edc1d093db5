"""The report of a run, one page that needs nothing beside it, made from the files of the run alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any

import numpy as np

from dmg._version import __version__
from dmg.conf.derive import is_timeless
from dmg.core.utils.atomic import write_text
from dmg.errors import RunError
from dmg.trainers.plots import SHOWN
from dmg.trainers.report_charts import chart_data, of_training, read_json

if TYPE_CHECKING:
    from dmg.trainers.run_directory import RunDirectory

_KINDS = {
    "inflow": "Inflow",
    "declared": "Declared terms",
    "outflow": "Outflow",
    "storage": "Gain of the stores",
    "routed": "After routing",
    "river": "Gain of the river",
}
_STEPS = {"train": "training", "evaluate": "test", "simulate": "simulation"}


def write_report(files: RunDirectory) -> Path:
    """Write ``report.html`` into the directory of a run.

    It has scores, a map, series, parameters, the budget, the course of the training and the configuration, as far as
    the run has left them.

    Parameters
    ----------
    files
        Of the run.

    Raises
    ------
    RunError
        If the directory holds no run.
    """
    from dmg.core.post.page import render_page

    if not files.record.is_file():
        raise RunError(
            "there is no run in this directory",
            where=str(files.root),
            hint="a run has a file run.json; give its folder",
        )
    record, metrics, summary = (read_json(path) for path in (files.record, files.metrics, files.metrics_aggregate))
    config = _read_yaml(files.config)
    data = chart_data(files, config, metrics)
    content = {
        "title": _title(config),
        "folder": files.root.resolve().name,
        "about": _about(files, record, metrics, config),
        "tiles": list(_tiles(record, metrics, summary, data)),
        "table": _scores(summary, data) if data["order"] else None,
        "budgets": [_budget(name, budget) for name, budget in metrics.get("budget", {}).items()],
        "timings": list(_timings(files, record)),
        "facts": list(_facts(record, config)),
        "texts": [(path.name, path.read_text(encoding="utf-8")) for path in sorted(files.root.glob("config*.yaml"))],
        "shown_sites": len(data["series"]["targets"][0]["sites"]) if data["series"] else 0,
        "n_sites": len(data["sites"]["id"]),
        "has_truth": any(p["truth"] for p in data["parameters"]),
        "version": __version__,
        "data": data,
    }
    write_text(files.report, render_page("run.html", **content))
    return files.report


def _read_yaml(path: Path) -> dict[str, Any]:
    import yaml

    return yaml.safe_load(path.read_text(encoding="utf-8")) if path.is_file() else {}


def _title(config: Mapping[str, Any]) -> str:
    """Return the models and the network of a run."""
    model = config.get("model") or {}
    process, network = (model.get("phy") or {}).get("name") or [], (model.get("nn") or {}).get("name")
    several = f" ({config.get('multimodel_type')})" if len(process) > 1 and config.get("multimodel_type") else ""
    return " with ".join(part for part in (" and ".join(process) + several, network) if part) or "Run"


def _about(files: RunDirectory, record: Mapping, metrics: Mapping, config: Mapping) -> str:
    parts = [f"Run {files.root.resolve().name}", f"begun {str(record.get('started', ''))[:16].replace('T', ' ')}"]
    train = config.get("train") or {}
    if train and not is_timeless(config.get("data_loader")):
        parts.append(f"trained {train['start_time']} to {train['end_time']}".replace("/", "-"))
    if metrics.get("period"):
        parts.append(" to ".join(day.removesuffix("T00:00") for day in metrics["period"]).join(["tested ", ""]))
    return " · ".join(parts)


def _tiles(record: Mapping, metrics: Mapping, summary: Mapping, data: Mapping) -> Iterator[dict[str, str]]:
    """Yield the figures that a reader wants first."""
    if data["order"]:
        groups = summary[data["static"]][data["names"][0]]
        words = "{}, {} {}samples" if data["samples"] else "median {}, {} {}sites"
        for metric in ("nse", "kge"):
            if entry := groups["all"].get(metric):
                yield {"value": _number(entry["median"]), "text": words.format(metric.upper(), entry["n"], "")}
        if entry := groups.get("holdout", {}).get("nse"):
            yield {"value": _number(entry["median"]), "text": words.format("NSE", entry["n"], "held-out ")}
    for name, budget in metrics.get("budget", {}).items():
        value = budget["greatest_residual"]["value"]
        yield {"value": f"{value:.0e}", "text": f"{budget['unit']}, greatest residual of the budget of {name}"}
    if training := record.get("training"):
        yield {"value": str(training["epochs"]), "text": f"epochs of {training['batches_per_epoch']} minibatches"}
    seconds = record.get("timings", {}).get("train_s")
    if seconds is not None:
        yield {"value": _duration(seconds), "text": "training"}


def _scores(summary: Mapping, data: Mapping) -> dict[str, Any]:
    """Return the table of medians: one column by prediction, group of sites and convention."""
    columns, values = [], []
    of = "samples" if data["samples"] else "sites"
    conventions = list(dict.fromkeys([data["static"], *summary]))
    for name in data["names"]:
        for static in conventions:
            for group, metrics in summary[static][name].items():
                words = {"all": f"all {of}", "trained": "trained", "holdout": "held out"}[group]
                parts = [name] * (len(data["names"]) > 1) + [words] + [static] * (len(conventions) > 1)
                columns.append(", ".join(parts))
                values.append(metrics)
    rows = []
    for metric in data["order"]:
        about = data["metrics"][metric]
        best = "–" if about["perfect"] is None else f"{about['perfect']:g}"
        cells = [_number((column.get(metric) or {}).get("median")) for column in values]
        rows.append({"name": metric, "best": best, "cells": cells, "about": about["about"]})
    usual = [row for row in rows if row["name"] in SHOWN]
    others = [row for row in rows if row["name"] not in SHOWN]
    heading = "Scores over all samples" if data["samples"] else "Medians over the sites"
    return {"columns": columns, "parts": [(heading, usual), ("Other metrics", others)]}


def _budget(name: str, budget: Mapping[str, Any]) -> dict[str, Any]:
    """Return the terms of a budget over the sites, and bars that share one scale."""
    terms = [(kind, term, np.asarray(values)) for kind in _KINDS for term, values in (budget.get(kind) or {}).items()]
    largest = max((abs(values.mean()) for _, _, values in terms), default=0.0) or 1.0
    rows, before = [], None
    for kind, term, values in terms:
        mean = float(values.mean())
        rows.append(
            {
                "kind": _KINDS[kind] if kind != before else None,
                "name": term,
                "mean": _number(mean),
                "least": _number(float(values.min())),
                "greatest": _number(float(values.max())),
                "share": round(220 * abs(mean) / largest, 1),
            }
        )
        before = kind
    worst = budget["greatest_residual"]
    return {
        "model": name,
        "unit": budget["unit"],
        "years": f"{budget['years']:.2f}",
        "residual": f"{worst['value']:.1e}",
        "site": f"site {worst['site']}",
        "rows": rows,
    }


def _timings(files: RunDirectory, record: Mapping[str, Any]) -> Iterator[dict[str, str]]:
    wall, cpu = record.get("timings", {}), record.get("cpu_timings", {})
    for key, seconds in wall.items():
        step = key.removesuffix("_s")
        yield {"name": _STEPS.get(step, step), "wall": _duration(seconds), "cpu": _duration(cpu.get(key))}
    rows = of_training(files)
    if rows:
        clock, processor = ([row[name] for row in rows if name in row] for name in ("time_s", "cpu_s"))
        yield {"name": "a minibatch, mean", "wall": _duration(_mean(clock)), "cpu": _duration(_mean(processor))}


def _mean(values: list[float]) -> float | None:
    return fmean(values) if values else None


def _facts(record: Mapping[str, Any], config: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield what made the run."""
    versions = record.get("versions") or {}
    training = record.get("training") or {}
    yield "seed, device", f"{record.get('seed')}, {record.get('device')}"
    yield "versions", ", ".join(f"{name} {version}" for name, version in versions.items())
    commits = {name: commit for name, commit in (record.get("git") or {}).items() if commit}
    if commits:
        yield "git commits", ", ".join(f"{name} {commit[:12]}" for name, commit in commits.items())
    observations = config.get("observations") or {}
    yield "data", ", ".join(str(observations[key]) for key in ("name", "data_path") if observations.get(key))
    for name, digest in (record.get("data") or {}).items():
        yield f"hash of the data ({name})", digest[:16]
    if training.get("best_epoch"):
        yield "best epoch by validation", str(training["best_epoch"])
    if training.get("skipped_batches"):
        yield "minibatches skipped as not finite", str(training["skipped_batches"])


def _duration(seconds: float | None) -> str:
    if seconds is None:
        return "–"
    if seconds < 1:
        return f"{1000 * seconds:.0f} ms"
    if seconds < 120:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.1f} min" if seconds < 7200 else f"{seconds / 3600:.2f} h"


def _number(value: float | None) -> str:
    if value is None or not np.isfinite(value):
        return "–"
    if value and (abs(value) < 1e-3 or abs(value) >= 1e5):
        return f"{value:.1e}"
    return f"{value:.3f}" if abs(value) < 10 else f"{value:.1f}"
