"""Promised against found frequencies, and where the observations lie in their ensembles."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from dmg.core.post.figure import COLORS, new_figure, save_figure, strip_spines

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def plot_reliability(
    curves: Mapping[str, tuple[np.ndarray, np.ndarray]],
    places: Mapping[str, np.ndarray] | None = None,
    *,
    title: str = "",
    save_path: str | Path | None = None,
) -> Figure:
    """Draw reliability curves, and histograms of the probability integral transform beside them if they are given.

    Parameters
    ----------
    curves
        Name to promised and found shares; the diagonal is perfect.
    places
        Name to places between 0 and 1; flat is perfect, a U too narrow, a hump too wide an ensemble.
    title
        Text above.
    save_path
        Where to write the figure as well.
    """
    figure = new_figure((7.2 if places else 3.8, 3.5), 120)
    axes = figure.subplots(1, 2 if places else 1, squeeze=False)[0]
    axes[0].plot([0, 1], [0, 1], color="0.6", linewidth=0.8)
    for k, (name, (promised, found)) in enumerate(curves.items()):
        axes[0].plot(promised, found, marker="o", markersize=3, color=COLORS[k % len(COLORS)], label=name)
    axes[0].set(xlabel="share promised", ylabel="share found", xlim=(0, 1), ylim=(0, 1), aspect="equal")
    axes[0].legend(frameon=False, fontsize=8)
    if places:
        for k, (name, values) in enumerate(places.items()):
            known = values[np.isfinite(values)]
            axes[1].hist(
                known, bins=20, range=(0, 1), density=True, histtype="step", color=COLORS[k % len(COLORS)], label=name
            )
        axes[1].axhline(1.0, color="0.6", linewidth=0.8)
        axes[1].set(xlabel="place of the observation in the ensemble", ylabel="density", xlim=(0, 1))
    for one in axes:
        strip_spines(one)
    figure.suptitle(title, fontsize=10)
    if save_path is not None:
        save_figure(figure, save_path)
    return figure
