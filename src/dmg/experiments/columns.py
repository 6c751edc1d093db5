"""The columns of an experiment's table: our models, their ensembles, and what others published."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from dmg.core.calc.metrics import Metrics
from dmg.core.data.loaders.site_data import SiteData
from dmg.core.data.text_files import read_table
from dmg.errors import DataError

if TYPE_CHECKING:
    import xarray as xr

    from dmg.conf.config import Config
    from dmg.conf.experiment import Published
    from dmg.experiments.plan import Member, Plan


@dataclass(frozen=True)
class Column:
    """One column of the table.

    Attributes
    ----------
    key
        Name for files.
    label, forcing, split, source
        What it is, what it was driven with, on which sites and periods, and where it comes from.
    seeds
        What stands behind it, in words.
    n_sites
        Number of sites; None where that was not published.
    medians
        Median over the sites, by metric; of several single runs the mean of their medians.
    spread
        Standard deviation of those medians over the runs.
    sites
        Ids of the sites; empty where only medians were published.
    scores
        Values [N] by metric; of several single runs their mean.
    peaks
        Median relative error of annual peaks by class of return period, where only that was published.
    cpu_minutes
        CPU minutes of one training, all its folds; None where that is not known.
    series
        Simulations over (time, site), one for every single run, of which peaks are taken; empty for published ones.
    """

    key: str
    label: str
    forcing: str
    split: str
    seeds: str = ""
    source: str = ""
    n_sites: int | None = None
    medians: dict[str, float] = field(default_factory=dict)
    spread: dict[str, float] = field(default_factory=dict)
    sites: tuple[str, ...] = ()
    scores: dict[str, np.ndarray] = field(default_factory=dict)
    peaks: dict[str, float] = field(default_factory=dict)
    cpu_minutes: float | None = None
    series: tuple[xr.DataArray, ...] = ()


LAST = "nse, static parameters of the last step"


def own_columns(plan: Plan) -> list[Column]:
    """Return a column for every finished model, for the mean over its seeds if it has several, and for ensembles."""
    found: list[Column] = []
    means: dict[str, tuple[xr.DataArray, int]] = {}
    observed: xr.DataArray | None = None
    for model, contender in plan.experiment.models.items():
        runs = _finished_seeds(plan, model)
        if not runs:
            continue
        pairs = [_pool(members) for members in runs.values()]
        observed = pairs[0][1] if observed is None else observed
        singles = tuple(simulated for simulated, _ in pairs)
        about = _about(plan, runs)
        column = _scored(
            model, contender.label, about, singles, pairs[0][1], plan.experiment.metrics, _seeds_text(runs)
        )
        found.append(replace(_with_last(column, runs), cpu_minutes=_cpu_minutes(runs)))
        means[model] = _mean(singles), len(singles)
        if len(singles) > 1:
            text = f"mean of {len(singles)} simulations"
            label = f"{contender.label}, ensemble"
            found.append(
                _scored(
                    f"{model}_ensemble", label, about, (means[model][0],), pairs[0][1], plan.experiment.metrics, text
                )
            )
    for key, ensemble in plan.experiment.ensembles.items():
        if observed is None or not all(model in means for model in ensemble.models):
            continue
        simulated = _mean([means[model][0] for model in ensemble.models])
        counts = [means[model][1] for model in ensemble.models]
        text = f"mean of {sum(counts)} simulations"
        about = _about(plan, _finished_seeds(plan, ensemble.models[0]))
        common = observed.reindex_like(simulated)
        found.append(_scored(key, ensemble.label, about, (simulated,), common, plan.experiment.metrics, text))
    return found


def published_columns(entries: Sequence[Published], folder: str | None) -> tuple[list[Column], list[str]]:
    """Return the published columns, and notes on those that could not be read.

    Parameters
    ----------
    entries
        What was published.
    folder
        Folder of the scores by site; None leaves those entries out that have only such.

    Raises
    ------
    DataError
        If folder, file or column is missing, or a score is no number.
    """
    if folder is not None and not Path(folder).expanduser().is_dir():
        raise DataError(
            "there is no folder of published scores", where=f"experiment.published_dir: {folder}", hint="correct it"
        )
    columns, notes = [], []
    for entry in entries:
        sites: tuple[str, ...] = ()
        scores: dict[str, np.ndarray] = {}
        if entry.path is not None and folder is not None:
            sites, scores = _read_scores(entry, Path(folder).expanduser() / entry.path)
        medians = {name: float(np.nanmedian(values)) for name, values in scores.items()} | entry.scores
        if not medians and not entry.peaks:
            notes.append(f"{entry.label}: left out, experiment.published_dir does not say where {entry.path} is")
            continue
        n_sites = len(sites) or entry.sites
        about = ("", entry.label, entry.forcing, entry.split, "published", entry.source, n_sites)
        columns.append(Column(*about, medians=medians, sites=sites, scores=scores, peaks=entry.peaks))
    return columns, notes


def on_common_sites(columns: Sequence[Column], metric: str) -> tuple[int, dict[str, float]]:
    """Return how many sites all columns with scores by site have in common, and the medians there, by label."""
    scored = [column for column in columns if metric in column.scores]
    if len(scored) < 2:
        return 0, {}
    # As everywhere, ids are the same with and without leading zeros.
    ids = [{site.lstrip("0"): i for i, site in enumerate(column.sites)} for column in scored]
    common = sorted(set.intersection(*(set(known) for known in ids)))
    if not common:
        return 0, {}
    picked = {c.label: c.scores[metric][[known[site] for site in common]] for c, known in zip(scored, ids, strict=True)}
    return len(common), {label: float(np.nanmedian(values)) for label, values in picked.items()}


def _finished_seeds(plan: Plan, model: str) -> dict[int, list[Member]]:
    """Return the runs of a model by seed, those seeds of which every fold is finished."""
    by_seed: dict[int, list[Member]] = {}
    for member in plan.of(model):
        by_seed.setdefault(member.seed, []).append(member)
    return {seed: members for seed, members in by_seed.items() if all(m.is_finished for m in members)}


def _pool(members: Sequence[Member]) -> tuple[xr.DataArray, xr.DataArray]:
    """Return simulation and observation (time, site) of one seed, the sites of all folds together, sorted by id."""
    import xarray as xr

    target = members[0].config.train.target[0]
    parts = []
    for member in members:
        with xr.open_dataset(member.files.simulation, engine="h5netcdf") as opened:
            parts.append(opened[[target, f"{target}_obs"]].load())
    pooled = xr.concat(parts, dim="site").sortby("site")
    return pooled[target], pooled[f"{target}_obs"]


def _mean(series: Sequence[xr.DataArray]) -> xr.DataArray:
    import xarray as xr

    return xr.concat(xr.align(*series, join="inner"), dim="run").mean("run")


def _scored(
    key: str,
    label: str,
    about: tuple[str, str],
    series: tuple[xr.DataArray, ...],
    observed: xr.DataArray,
    metrics: Sequence[str],
    seeds: str,
) -> Column:
    target = observed.transpose("site", "time").values
    sites = tuple(str(site) for site in observed["site"].values)
    runs = []
    for simulated in series:
        found = Metrics(simulated.transpose("site", "time").values, target, sites=sites, names=metrics)
        runs.append({name: np.asarray(getattr(found, name)) for name in metrics})
    medians = {name: [_median(run[name]) for run in runs] for name in metrics}
    return Column(
        key,
        label,
        *about,
        seeds=seeds,
        source="this run",
        n_sites=len(sites),
        medians={name: float(np.mean(values)) for name, values in medians.items()},
        spread={name: float(np.std(values, ddof=1)) for name, values in medians.items()} if len(series) > 1 else {},
        sites=sites,
        scores={name: np.mean([run[name] for run in runs], axis=0) for name in metrics},
        series=series,
    )


def _with_last(column: Column, runs: dict[int, list[Member]]) -> Column:
    """Add the score with static parameters of the last step, as published models are scored."""
    medians = []
    for members in runs.values():
        values: list[float | None] = []
        for member in members:
            scores = json.loads(member.files.metrics.read_text(encoding="utf-8"))
            values += scores["last"][member.config.train.target[0]]["nse"]
        medians.append(_median(np.array([np.nan if value is None else value for value in values])))
    column.medians[LAST] = float(np.mean(medians))
    return column


def _cpu_minutes(runs: dict[int, list[Member]]) -> float | None:
    """Return the mean over seeds of the CPU minutes of the training of all folds."""
    timings = [[m.files.read_record().get("cpu_timings", {}) for m in members] for members in runs.values()]
    known = [sum(t["train_s"] for t in parts) for parts in timings if all("train_s" in t for t in parts)]
    return float(np.mean(known)) / 60 if known else None


def _median(values: np.ndarray) -> float:
    known = values[np.isfinite(values)]
    return float(np.median(known)) if known.size else float("nan")


def _about(plan: Plan, runs: dict[int, list[Member]]) -> tuple[str, str]:
    """Return the forcing and the split of a model's runs in words."""
    config: Config = next(iter(runs.values()))[0].config
    forcing = plan.experiment.forcing or SiteData(config).title
    text = f"train {_period(config.train.span)}, test {_period(config.test.span)}"
    if config.test.type == "spatial":
        text += f", {config.test.extent} in {len(config.test.folds)} folds"
    if config.train.mask or config.test.mask:
        text += ", masked by site and time"
    return forcing, text


def _period(span: Sequence[str]) -> str:
    return " to ".join(day.replace("/", "-") for day in span)


def _seeds_text(runs: dict[int, list[Member]]) -> str:
    seeds = ", ".join(map(str, runs))
    return f"seed {seeds}" if len(runs) == 1 else f"mean of {len(runs)} runs (seeds {seeds})"


def _read_scores(entry: Published, path: Path) -> tuple[tuple[str, ...], dict[str, np.ndarray]]:
    table = read_table(path, [entry.site_column, *entry.columns.values()])
    scores = {}
    for name, column in entry.columns.items():
        try:
            scores[name] = np.array([float(cell) if cell else np.nan for cell in table[column]])
        except ValueError as error:
            raise DataError(f"column '{column}': {error}", where=str(path)) from error
    sites = tuple(table[entry.site_column])
    return sites, scores
