"""Predicted and observed series of one site, or of several in a grid."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dmg.core.post.figure import COLORS, new_figure, save_figure, strip_spines, to_array
from dmg.core.utils.resample_interval import format_resample_interval
from dmg.errors import ConfigError

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def plot_hydrograph(
    timesteps: Any,
    predictions: Any,
    obs: Any = None,
    resample: str = "D",
    title: str | None = None,
    ylabel: str | None = None,
    minor_ticks: bool = False,
    figsize: tuple[float, float] = (12, 5),
    fontsize: int = 11,
    dpi: int = 100,
    save_path: str | Path | None = None,
) -> Figure:
    """Draw a simulated series, or several, and what was observed.

    Parameters
    ----------
    timesteps
        Times [T].
    predictions
        Series [T] (or [T, 1]), or a mapping of labels to such series.
    obs
        Observed series; where it is missing (NaN) nothing is drawn. None draws predictions alone.
    resample
        Means over this interval (``D``, ``W``, ``monthly`` …; `format_resample_interval`) are drawn; the score counts
        the intervals in which both predictions and observations have a value.
    title, ylabel, minor_ticks, figsize, fontsize, dpi
        Appearance.
    save_path
        Where to write the figure as well.

    Returns
    -------
    Figure
        The Nash–Sutcliffe efficiency (of the resampled series) stands in the legend when there are observations.
    """
    figure = new_figure(figsize, dpi)
    axes = figure.subplots()
    _draw(axes, timesteps, predictions, obs, resample, fontsize)
    axes.set_title(title or "", fontsize=fontsize + 2)
    axes.set_ylabel(ylabel or "", fontsize=fontsize)
    if minor_ticks:
        axes.minorticks_on()
    if save_path is not None:
        save_figure(figure, save_path)
    return figure


def plot_hydrograph_grid(
    timesteps: Any,
    predictions: Any,
    obs: Any = None,
    resample: str = "D",
    titles: Sequence[str] | None = None,
    ylabel: str | None = None,
    ncols: int = 1,
    figsize: tuple[float, float] | None = None,
    fontsize: int = 9,
    dpi: int = 100,
    save_path: str | Path | None = None,
) -> Figure:
    """Draw one panel for every site.

    Parameters
    ----------
    timesteps
        Times [T].
    predictions
        Array [T, N], or a mapping of labels to such arrays.
    obs
        Array [T, N] or None.
    titles
        One for every site.
    resample, ylabel, ncols, figsize, fontsize, dpi, save_path
        As in `plot_hydrograph`.
    """
    series = {k: _as_columns(v) for k, v in _labelled(predictions).items()}
    observed = None if obs is None else _as_columns(obs)
    n_sites = next(iter(series.values())).shape[1]
    nrows = -(-n_sites // ncols)
    figure = new_figure(figsize or (11 / ncols + 2, 2.4 * nrows + 0.6), dpi)
    panels = figure.subplots(nrows, ncols, squeeze=False).ravel()
    for i, axes in enumerate(panels):
        if i >= n_sites:
            axes.set_visible(False)
            continue
        site_obs = None if observed is None else observed[:, i]
        _draw(axes, timesteps, {k: v[:, i] for k, v in series.items()}, site_obs, resample, fontsize)
        axes.set_title(titles[i] if titles is not None else "", fontsize=fontsize + 1, loc="left")
        axes.set_ylabel(ylabel or "", fontsize=fontsize)
    if save_path is not None:
        save_figure(figure, save_path)
    return figure


def _draw(axes: Axes, timesteps: Any, predictions: Any, obs: Any, resample: str, fontsize: int) -> None:
    """Draw the series of one site."""
    observed = None
    if obs is not None:
        observed = _resampled(timesteps, obs, resample)
        axes.plot(observed.index, observed.to_numpy(), color="0.25", linewidth=1.1, label="observed")
    for i, (label, values) in enumerate(_labelled(predictions).items()):
        line = _resampled(timesteps, values, resample)
        if observed is not None:
            label = f"{label}, NSE {_nse(line.to_numpy(), observed.to_numpy()):.2f}"
        axes.plot(line.index, line.to_numpy(), color=COLORS[i % len(COLORS)], linewidth=1.1, label=label)
    strip_spines(axes)
    axes.margins(x=0.01)
    axes.tick_params(labelsize=fontsize - 1)
    axes.legend(framealpha=0.8, edgecolor="none", fontsize=fontsize - 1, loc="upper right", ncols=3)


def _labelled(predictions: Any) -> dict[str, Any]:
    return dict(predictions) if isinstance(predictions, Mapping) else {"simulated": predictions}


def _as_columns(values: Any) -> np.ndarray:
    array = to_array(values)
    return array[:, None] if array.ndim == 1 else array.reshape(array.shape[0], array.shape[1])


def _resampled(timesteps: Any, values: Any, resample: str) -> pd.Series:
    """Return the means over the periods of `resample`; a period without any value stays missing."""
    import pandas as pd

    times = pd.DatetimeIndex(np.asarray(timesteps, dtype="datetime64[ns]"))
    array = to_array(values).reshape(-1)
    if len(times) != len(array):
        raise ConfigError(
            f"{len(times)} time steps but {len(array)} values",
            hint="predictions start after the warm-up: cut the time axis to timesteps[warmup:]",
        )
    return pd.Series(array, index=times).resample(format_resample_interval(resample)).mean()


def _nse(predicted: np.ndarray, observed: np.ndarray) -> float:
    both = np.isfinite(predicted) & np.isfinite(observed)
    spread = np.sum((observed[both] - observed[both].mean()) ** 2) if both.any() else 0.0
    return float(1 - np.sum((predicted[both] - observed[both]) ** 2) / spread) if spread > 0 else float("nan")
