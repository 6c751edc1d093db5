"""Boxes of errors: one group for every class, one box in it for every model."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from dmg.core.post.figure import COLORS, new_figure, save_figure, strip_spines

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MARKERS, BESIDE = "Ds^vo", 0.46


def plot_boxes(
    values: Mapping[str, Mapping[str, np.ndarray]],
    *,
    medians: Mapping[str, Mapping[str, float]] | None = None,
    xlabel: str = "",
    ylabel: str = "",
    title: str = "",
    save_path: str | Path | None = None,
) -> Figure:
    """Draw the distributions of some values by model and class: median, quartiles, 5th and 95th percentile.

    Parameters
    ----------
    values
        Values by model and class; the classes are those of the first model.
    medians
        Medians by class of others, whose values are not known: drawn as marks.
    xlabel, ylabel, title
        Texts.
    save_path
        Where to write the figure as well.
    """
    from matplotlib.patches import Patch

    classes = list(next(iter(values.values())))
    width = 0.8 / len(values)
    figure = new_figure((4.0 + 1.5 * len(classes), 4.5), 120)
    axes = figure.subplots()
    for k, by_class in enumerate(values.values()):
        filled = [(i, by_class[name]) for i, name in enumerate(classes) if by_class[name].size]
        axes.boxplot(
            [errors for _, errors in filled],
            positions=[i + (k - (len(values) - 1) / 2) * width for i, _ in filled],
            widths=0.85 * width,
            whis=(5, 95),
            showfliers=False,
            patch_artist=True,
            boxprops={"facecolor": COLORS[k % len(COLORS)], "alpha": 0.75, "linewidth": 0.6},
            medianprops={"color": "black"},
            whiskerprops={"linewidth": 0.8},
            capprops={"linewidth": 0.8},
            manage_ticks=False,
        )
    marks = []
    for k, (label, by_class) in enumerate((medians or {}).items()):
        known = {i + BESIDE: by_class[name] for i, name in enumerate(classes) if name in by_class}
        style = {"color": "black", "marker": MARKERS[k % len(MARKERS)], "markersize": 5, "linestyle": "none"}
        marks += axes.plot(list(known), list(known.values()), label=label, **style)
    first = next(iter(values.values()))
    axes.set_xticks(range(len(classes)), [f"{name}\n(n = {first[name].size})" for name in classes])
    axes.set_xlim(-0.6, len(classes) - 0.4)
    axes.set_ylim(bottom=0)
    axes.set(xlabel=xlabel, ylabel=ylabel, title=title)
    strip_spines(axes)
    axes.legend(
        handles=[
            *(Patch(facecolor=COLORS[k % len(COLORS)], alpha=0.75, label=name) for k, name in enumerate(values)),
            *marks,
        ],
        frameon=False,
        fontsize=8,
        loc="upper left",
        bbox_to_anchor=(1.0, 1.0),
    )
    if save_path is not None:
        save_figure(figure, save_path)
    return figure
