"""Cumulative distribution of a score over the sites."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dmg.core.post.figure import COLORS, new_figure, save_figure, strip_spines, to_array
from dmg.errors import UnknownNameError, did_you_mean

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def plot_cdf(
    metrics: Sequence[Mapping[str, Any]] | Mapping[str, Any],
    metric_names: Sequence[str] | str,
    model_labels: Sequence[str] | None = None,
    title: str | None = None,
    xlabel: str | None = None,
    figsize: tuple[float, float] = (6, 4.5),
    xbounds: tuple[float, float] | None = None,
    ybounds: tuple[float, float] = (0.0, 1.0),
    show_arrow: bool = False,
    dpi: int = 120,
    fontsize: int = 11,
    ticksize: int = 9,
    save_path: str | Path | None = None,
) -> dict[str, Figure]:
    """Draw one figure for every metric, with one curve for every model.

    Parameters
    ----------
    metrics
        For every model a mapping of metric names to values [N]; NaN (no score) counts neither above nor below.
    metric_names
        Metrics to draw.
    model_labels
        One for every model.
    title, figsize, ybounds, dpi, fontsize, ticksize
        Appearance.
    xlabel
        Label of the score; the metric's name where it is None.
    xbounds
        Limits of the score; without them, scores below the 2nd percentile are cut off and counted in a note.
    show_arrow
        Point to where better scores lie (to the right).
    save_path
        Directory for ``cdf_<metric>.png``.

    Returns
    -------
    dict
        Figure by metric.

    Raises
    ------
    UnknownNameError
        If a model has no such metric.
    """
    models = [metrics] if isinstance(metrics, Mapping) else list(metrics)
    names = [metric_names] if isinstance(metric_names, str) else list(metric_names)
    labels = model_labels or [f"model {i + 1}" if len(models) > 1 else "" for i in range(len(models))]
    figures = {}
    for name in names:
        figure = new_figure(figsize, dpi)
        axes = figure.subplots()
        lows = []
        for i, (model, label) in enumerate(zip(models, labels, strict=True)):
            if name not in model:
                raise UnknownNameError(f"no metric '{name}' for {label}", hint=did_you_mean(name, model))
            scores = to_array(model[name])
            scores = np.sort(scores[np.isfinite(scores)])
            if not scores.size:
                continue
            share = np.arange(1, scores.size + 1) / scores.size
            text = f"{label} median {np.median(scores):.2f} (n = {scores.size})".strip()
            style = ("-", "--", ":")[i // len(COLORS) % 3]
            axes.step(scores, share, where="post", color=COLORS[i % len(COLORS)], linestyle=style, label=text)
            lows.append((np.percentile(scores, 2), scores))
        _limit(axes, xbounds, lows)
        axes.set_ylim(*ybounds)
        axes.set_xlabel(xlabel or name.upper(), fontsize=fontsize)
        axes.set_ylabel("share of sites", fontsize=fontsize)
        axes.set_title(title or "", fontsize=fontsize + 1)
        axes.tick_params(labelsize=ticksize)
        strip_spines(axes)
        if lows:
            axes.legend(frameon=False, fontsize=ticksize, loc="upper left")
        if show_arrow:
            arrow = {"arrowstyle": "->", "color": "0.4"}
            axes.annotate("better", (0.95, 0.08), (0.72, 0.08), xycoords="axes fraction", arrowprops=arrow)
        if save_path is not None:
            save_figure(figure, Path(save_path) / f"cdf_{name}.png")
        figures[name] = figure
    return figures


def _limit(axes: Any, xbounds: tuple[float, float] | None, lows: list[tuple[float, np.ndarray]]) -> None:
    """Set the limits of the score and say how many scores fall outside."""
    if xbounds is not None:
        axes.set_xlim(*xbounds)
        left = xbounds[0]
    elif lows:
        left = min(low for low, _ in lows)
        right = max(scores[-1] for _, scores in lows)
        pad = 0.03 * (right - left) or 0.05
        axes.set_xlim(left - pad, right + pad)
        left -= pad
    else:
        return
    outside = sum(int((scores < left).sum()) for _, scores in lows)
    if outside:
        axes.text(0.02, 0.6, f"{outside} below {left:.2f}", transform=axes.transAxes, fontsize=8, color="0.4")
