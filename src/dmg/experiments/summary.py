"""Table and figures of what is finished of an experiment."""

from __future__ import annotations

from pathlib import Path
from textwrap import fill
from typing import TYPE_CHECKING

import numpy as np

from dmg.core.utils.atomic import write_text
from dmg.experiments import learning_curve
from dmg.experiments.peaks import peak_errors
from dmg.experiments.table import as_csv, as_markdown, site_scores, table_rows
from dmg.trainers.report import write_report
from dmg.trainers.site_table import places_in

if TYPE_CHECKING:
    from dmg.experiments.columns import Column
    from dmg.experiments.learning_curve import Point
    from dmg.experiments.plan import Plan

Peaks = dict[str, dict[str, np.ndarray]]


def summarise(plan: Plan) -> Path:
    """Write ``table.csv``, ``table.md``, ``site_scores.csv`` and ``figures/`` into the folder of an experiment.

    Only models of which every fold of a seed is finished have a column; the notes name what is left to do.

    Returns
    -------
    Path
        The table, Markdown.
    """
    from dmg.experiments.columns import own_columns, published_columns

    experiment = plan.experiment
    ours = own_columns(plan)
    others, left_out = published_columns(experiment.published, experiment.published_dir)
    columns = [*ours, *others]
    peaks = _peaks(plan, ours)
    rows = table_rows(columns, experiment.metrics, peaks)
    curves = _curves(plan) if experiment.curves else {}
    notes = [*plan.notes, *left_out, *_progress(plan), *_learned(curves), *_reports(plan), *_origin(plan)]
    write_text(plan.root / "table.csv", as_csv(columns, rows))
    write_text(plan.root / "table.md", as_markdown(experiment.title, columns, rows, notes))
    write_text(plan.root / "site_scores.csv", site_scores(columns, experiment.metrics))
    if curves:
        write_text(plan.root / "learning_curves.csv", learning_curve.as_csv(curves))
        _draw_curves(plan, curves)
    if ours:
        _draw(plan, columns, ours, peaks)
    return plan.root / "table.md"


def _curves(plan: Plan) -> dict[str, list[Point]]:
    """Return the learning curve of every model by its label, the mean over its finished runs."""
    found = {}
    for model, contender in plan.experiment.models.items():
        runs = [learning_curve.learning_curve(m) for m in plan.of(model) if m.is_finished]
        if curve := learning_curve.mean_curve(runs) if runs else []:
            found[contender.label] = curve
    return found


def _learned(curves: dict[str, list[Point]]) -> list[str]:
    return learning_curve.notes(curves) if curves else []


def _draw_curves(plan: Plan, curves: dict[str, list[Point]]) -> None:
    from dmg.core.post import plot_curves

    plot_curves(
        {label: [(p.cpu_s / 60, p.nse) for p in points] for label, points in curves.items()},
        xlabel="CPU time of the training (min)",
        ylabel="median NSE of the test",
        title=fill(plan.experiment.title, 70),
        save_path=plan.root / "figures" / "learning_curves.png",
    )


def _peaks(plan: Plan, columns: list[Column]) -> Peaks:
    """Return the errors of peaks by label and class; those of several single runs together."""
    spatial = any(member.fold is not None for member in plan.members)
    found: Peaks = {}
    for column in columns if plan.events else ():
        classes = [
            peak_errors(simulated, events, plan.experiment.peaks.bins, spatial=spatial)
            for events in plan.events
            for simulated in column.series
        ]
        # The same events in every run: the median over them is that of one run.
        found[column.label] = {name: np.mean([c[name] for c in classes], axis=0) for name in classes[0]}
    return found


def _progress(plan: Plan) -> list[str]:
    missing = [member.name for member in plan.members if not member.is_finished]
    if not missing:
        return []
    some = ", ".join(missing[:3]) + (f" and {len(missing) - 3} more" if len(missing) > 3 else "")
    return [f"Not finished: {len(missing)} of {len(plan.members)} runs ({some})"]


def _reports(plan: Plan) -> list[str]:
    """Return links to the reports of the finished runs; what has none gets one."""
    links = []
    for member in (m for m in plan.members if m.is_finished):
        if not member.files.report.is_file():
            write_report(member.files)
        links.append(f"[{member.name.removeprefix('runs/')}]({member.name}/{member.files.report.name})")
    return [f"Reports of the runs: {', '.join(links)}"] if links else []


def _origin(plan: Plan) -> list[str]:
    """Return versions, commits and machine of the finished runs."""
    records = [m.files.read_record() for m in plan.members if m.is_finished]
    if not records:
        return []
    versions = sorted({str(record.get("versions", {}).get("dmg")) for record in records})
    commits = sorted({commit for record in records if (commit := (record.get("git") or {}).get("dmg"))})
    hours = sum(sum(record.get("timings", {}).values()) for record in records) / 3600
    made = f"dmg {', '.join(versions)}" + (f", commit {', '.join(c[:12] for c in commits)}" if commits else "")
    return [f"Made with {made}; {hours:.2f} hours in all. Each run's folder has its configuration and record."]


def _draw(plan: Plan, columns: list[Column], ours: list[Column], peaks: Peaks) -> None:
    """Draw distributions, maps and errors of peaks."""
    from dmg.core.post import geoplot_single_metric, plot_boxes, plot_cdf

    folder, metric = plan.root / "figures", plan.experiment.metrics[0]
    scored = [column for column in columns if metric in column.scores]
    values = np.concatenate([column.scores[metric] for column in scored])
    bounds = (0.0, 1.0) if (values[np.isfinite(values)] >= 0).any() and metric in ("nse", "kge", "corr") else None
    # The forcing stands in the title if there is one, else with every name.
    forcings = {column.forcing for column in scored}
    labels = [c.label if len(forcings) == 1 else fill(f"{c.label} ({c.forcing})", 45) for c in scored]
    title = fill("; ".join([plan.experiment.title, *(forcings if len(forcings) == 1 else ())]), 70)
    size = (7.5, 5.0)
    plot_cdf([c.scores for c in scored], metric, labels, title=title, xbounds=bounds, save_path=folder, figsize=size)
    if places := _places(plan):
        for column in ours:
            rows = [places[site] for site in column.sites]
            table = {"lat": [r[0] for r in rows], "lon": [r[1] for r in rows], metric: column.scores[metric]}
            text = fill(f"{column.label}, {len(rows)} sites; {column.forcing}", 80)
            geoplot_single_metric(table, metric, folder / f"map_{metric}_{column.key}.png", title=text)
    if any(errors.size for classes in peaks.values() for errors in classes.values()):
        plot_boxes(
            peaks,
            medians={column.label: column.peaks for column in columns if column.peaks},
            xlabel="return period of the annual peak (years)",
            ylabel="|simulated − observed| / observed peak",
            title=title,
            save_path=folder / "peak_errors.png",
        )


def _places(plan: Plan) -> dict[str, tuple[float, float]]:
    """Return latitude and longitude of the sites, where the store has them."""
    from dmg.core.data.loaders.site_data import SiteData

    data = SiteData(plan.members[0].config)
    names = places_in(data)
    if not names:
        return {}
    everywhere = np.ones(len(data.sites), dtype=bool)
    lat, lon = (data.attribute(name, everywhere) for name in names)
    return {site: (float(lat[i]), float(lon[i])) for i, site in enumerate(data.sites)}
