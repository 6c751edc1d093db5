"""Predictions against observations of samples."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dmg.core.post.figure import COLORS, new_figure, save_figure, strip_spines, to_array

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def plot_scatter(
    observed: Any,
    predicted: Any,
    holdout: Any = None,
    *,
    label: str = "",
    title: str | None = None,
    figsize: tuple[float, float] = (4.5, 4.5),
    dpi: int = 120,
    save_path: str | Path | None = None,
) -> Figure:
    """Draw predictions over observations, held-out samples in another colour, with the line of equality.

    Parameters
    ----------
    observed, predicted
        Values [N]; pairs with a NaN are left out.
    holdout
        Bool [N], true where a sample took no part in training.
    label
        Name and unit of the variable.
    title, figsize, dpi
        Appearance.
    save_path
        File to write.

    Returns
    -------
    Figure
        The figure.
    """
    x, y = to_array(observed), to_array(predicted)
    held = np.zeros(x.shape, dtype=bool) if holdout is None else np.asarray(holdout, dtype=bool)
    known = np.isfinite(x) & np.isfinite(y)
    figure = new_figure(figsize, dpi)
    axes = figure.subplots()
    for k, (name, mask) in enumerate({"trained": ~held, "held out": held}.items()):
        if (mask & known).any():
            axes.scatter(x[mask & known], y[mask & known], s=9, color=COLORS[k], alpha=0.6, linewidths=0, label=name)
    if known.any():
        ends = [min(x[known].min(), y[known].min()), max(x[known].max(), y[known].max())]
        axes.plot(ends, ends, color="0.4", linewidth=0.8)
    axes.set(xlabel=f"observed {label}", ylabel=f"predicted {label}", title=title)
    if held.any():
        axes.legend(frameon=False)
    strip_spines(axes)
    if save_path is not None:
        save_figure(figure, save_path)
    return figure
