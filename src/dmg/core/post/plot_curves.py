"""Lines of a score against an effort: learning curves of several models on one figure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from dmg.core.post.figure import COLORS, new_figure, save_figure, strip_spines

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def plot_curves(
    curves: Mapping[str, Sequence[tuple[float, float]]],
    *,
    xlabel: str,
    ylabel: str,
    title: str | None = None,
    figsize: tuple[float, float] = (7.5, 5.0),
    dpi: int = 120,
    save_path: str | Path | None = None,
) -> Figure:
    """Draw one line for every entry, the effort on a logarithmic axis, the best point of each marked.

    Parameters
    ----------
    curves
        Label to points (effort, score).
    xlabel, ylabel, title, figsize, dpi
        Appearance.
    save_path
        Where to write the figure as well.
    """
    from matplotlib.ticker import LogLocator

    figure = new_figure(figsize, dpi)
    axes = figure.subplots()
    for i, (label, points) in enumerate(curves.items()):
        x, y = np.asarray(points, dtype=float).reshape(-1, 2).T
        color = COLORS[i % len(COLORS)]
        best = int(np.nanargmax(y))
        axes.plot(x, y, color=color, marker=".", markersize=4, linewidth=1.3, label=f"{label} ({y[best]:.3f})")
        axes.plot(x[best], y[best], color=color, marker="o", markersize=6)
    axes.set_xscale("log", subs=[])
    axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axes.xaxis.set_major_formatter("{x:g}")
    axes.set(xlabel=xlabel, ylabel=ylabel, title=title or "")
    strip_spines(axes)
    axes.legend(frameon=False, fontsize=9, loc="lower right")
    if save_path is not None:
        save_figure(figure, save_path)
    return figure
