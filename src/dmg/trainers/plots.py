"""Plots and printed scores of a run."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import numpy as np

from dmg.core.calc.quantiles import quantile_reliability
from dmg.core.post import (
    geoplot_single_metric,
    plot_cdf,
    plot_hydrograph_grid,
    plot_loss,
    plot_parameters,
    plot_reliability,
    print_metrics,
)
from dmg.trainers.site_table import TRUE

if TYPE_CHECKING:
    import xarray as xr

    from dmg.trainers.evaluate import Scores
    from dmg.trainers.run_directory import RunDirectory
    from dmg.trainers.simulate import Simulation
    from dmg.trainers.trainer import Trainer

logger = logging.getLogger(__name__)

SHOWN = ("nse", "kge", "corr", "rmse", "pbias", "crps", "coverage_0.9")


def draw_loss(run: RunDirectory, losses: dict[int, float], scores: dict[int, float]) -> None:
    """Draw the training loss, linear and logarithmic."""
    if not losses:
        return
    epochs, values = list(losses), list(losses.values())
    plot_loss(epochs, values, scores, save_path=run.plot_dir / "loss_plot.png")
    plot_loss(epochs, values, scores, log=True, save_path=run.plot_dir / "loss_plot_log.png")


def draw_evaluation(
    trainer: Trainer,
    runs: dict[str, Simulation],
    observed: dict[str, np.ndarray],
    scores: dict[str, Scores],
    table: xr.Dataset,
) -> None:
    """Draw hydrographs, distributions and maps of scores, and learned against true parameters where these are known.

    Parameters
    ----------
    trainer
        After an evaluation.
    runs
        Simulation by convention of the static parameters.
    observed
        Observations by target, [T, N].
    scores
        Values by convention, target and metric.
    table
        Places and parameters of the sites.
    """
    simulation = runs[trainer.config.model.static]
    folder, several = trainer.run_dir.plot_dir, len(scores[trainer.config.model.static]) > 1
    for name, metrics in scores[simulation.static].items():
        suffix = f"_{name}" if several else ""
        labels = [f"{name}, static {static}" for static in scores]
        by_static = [values[name] for values in scores.values()]
        for metric in ("nse", "kge"):
            bounds = _bounds([values[metric] for values in by_static])
            figure = plot_cdf(by_static, metric, labels, title="Test sites", xbounds=bounds)[metric]
            _save(figure, folder / f"cdf_{metric}{suffix}.png")
        _draw_hydrographs(simulation, observed, name, metrics["nse"], folder / f"hydrographs{suffix}.png")
        if {"lat", "lon"} <= table.coords.keys():
            places = {"lat": table["lat"].values, "lon": table["lon"].values, "nse": metrics["nse"]}
            title = f"{name}: NSE at {len(simulation.sites)} sites"
            geoplot_single_metric(places, "nse", folder / f"map_nse{suffix}.png", title=title)
    _draw_parameters(trainer, table)
    _draw_reliability(trainer, simulation, observed)


def print_scores(summary: dict[str, Any]) -> str:
    """Print, and return, the medians of the usual metrics, one column for every group and convention."""
    columns, labels = [], []
    for static, targets in summary.items():
        for target, by_group in targets.items():
            for group, metrics in by_group.items():
                columns.append({m: _median(metrics[m]) for m in SHOWN if m in metrics})
                labels.append(f"{target} {group} ({static})" if len(targets) > 1 else f"{group} ({static})")
    names = [m for m in SHOWN if all(m in column for column in columns)]
    return print_metrics(columns, names, model_labels=labels)


def _median(entry: dict[str, Any]) -> list[float]:
    return [np.nan if entry["median"] is None else entry["median"]]


def _bounds(scores: list[np.ndarray]) -> tuple[float, float] | None:
    """Return the limits of an efficiency: its best value, 1, and at the other end no less than -1."""
    known = np.concatenate([values[np.isfinite(values)] for values in scores])
    return (max(float(known.min()) - 0.02, -1.0), 1.0) if known.size and known.max() > -1 else None


def _save(figure: Any, path: Any) -> None:
    from dmg.core.post.figure import save_figure

    save_figure(figure, path)


def _draw_hydrographs(
    simulation: Simulation, observed: dict[str, np.ndarray], name: str, nse: np.ndarray, path: Any
) -> None:
    """Draw the sites with the best, the median and the worst score over the last years."""
    ranked = np.argsort(np.where(np.isfinite(nse), nse, -np.inf))
    ranked = ranked[np.isfinite(nse[ranked])]
    if not ranked.size:
        return
    chosen = {"best": ranked[-1], "median": ranked[(ranked.size - 1) // 2], "worst": ranked[0]}
    chosen = {word: i for k, (word, i) in enumerate(chosen.items()) if i not in list(chosen.values())[:k]}
    columns = list(chosen.values())
    last = simulation.times > simulation.times[-1] - np.timedelta64(2 * 365, "D")
    plot_hydrograph_grid(
        simulation.times[last],
        simulation.series[name][last][:, columns],
        observed[simulation.outputs.get(name, name)][last][:, columns],
        titles=[f"{word}: site {simulation.sites[i]} (NSE of the period {nse[i]:.2f})" for word, i in chosen.items()],
        ylabel=f"{name} ({simulation.units[name]})",
        save_path=path,
    )


def _draw_reliability(trainer: Trainer, simulation: Simulation, observed: dict[str, np.ndarray]) -> None:
    """Draw how many observations lie below each quantile, if the model tells quantiles."""
    head = trainer.model.head
    curves = {}
    for target, series in observed.items():
        names = [name for name in head.reported(target) if name in simulation.series]
        if names and np.isfinite(series).any():
            quantiles = np.stack([simulation.series[name] for name in names])
            curves[target] = (np.array(head.levels), quantile_reliability(quantiles, head.levels, series))
    if curves:
        plot_reliability(curves, save_path=trainer.run_dir.plot_dir / "reliability.png")


def _draw_parameters(trainer: Trainer, table: xr.Dataset) -> None:
    """Draw learned against true parameters if the data know the truth."""
    several = len(trainer.model.models) > 1
    for name in trainer.model.models:
        prefix = f"{name}_" if several else ""
        true = {k.removeprefix(TRUE): v.values for k, v in table.items() if k.startswith(f"{TRUE}{prefix}")}
        if true:
            plot_parameters(
                {key.removeprefix(prefix): values for key, values in true.items()},
                {key.removeprefix(prefix): table[key].values for key in true},
                trainer.eval_dataset.holdout,
                title="True and learned parameters (means over time and components)",
                save_path=trainer.run_dir.plot_dir / f"parameters{f'_{name}' if several else ''}.png",
            )
