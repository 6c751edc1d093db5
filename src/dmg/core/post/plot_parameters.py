"""True against learned parameters, where the truth is known (synthetic data)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dmg.core.post.figure import COLORS, new_figure, save_figure, strip_spines, to_array
from dmg.errors import DataError

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def plot_parameters(
    true: Mapping[str, Any],
    learned: Mapping[str, Any],
    holdout: Any = None,
    *,
    title: str | None = None,
    ncols: int = 5,
    dpi: int = 110,
    save_path: str | Path | None = None,
) -> Figure:
    """Draw one panel for every parameter that both mappings have.

    Parameters
    ----------
    true
        True value of every site [B] by parameter.
    learned
        Learned values by parameter, [B] or [B, M] or [T, B, M]; time and components are averaged.
    holdout
        Boolean [B]: sites that took no part in training, drawn in another colour and scored apart.
    title, ncols, dpi
        Appearance.
    save_path
        Where to write the figure as well.

    Raises
    ------
    DataError
        If the two have no parameter in common.
    """
    names = [name for name in true if name in learned]
    if not names:
        raise DataError(
            "no parameter is both true and learned",
            hint=f"true: {', '.join(true) or 'none'}; learned: {', '.join(learned) or 'none'}",
        )
    nrows = -(-len(names) // ncols)
    figure = new_figure((max(2.5 * min(ncols, len(names)), 4.5), 2.6 * nrows + 0.4), dpi)
    panels = figure.subplots(nrows, min(ncols, len(names)), squeeze=False).ravel()
    for axes in panels[len(names) :]:
        axes.set_visible(False)
    for name, axes in zip(names, panels, strict=False):
        x = to_array(true[name]).reshape(-1)
        y = site_means(learned[name], x.size)
        apart = np.zeros(x.size, bool) if holdout is None else np.asarray(holdout, bool)
        lines = [name]
        for mask, color, label in ((~apart, COLORS[0], "trained"), (apart, COLORS[1], "held out")):
            if mask.any():
                axes.scatter(x[mask], y[mask], s=9, color=color, alpha=0.8, label=label, linewidths=0)
                lines.append(f"{label} ρ = {spearman(x[mask], y[mask]):.2f}")
        both = np.concatenate([x, y])
        low, high = np.nanmin(both), np.nanmax(both)
        axes.plot([low, high], [low, high], color="0.6", linewidth=0.8, zorder=0)
        axes.set_title("\n".join(lines), fontsize=8)
        axes.tick_params(labelsize=7)
        axes.locator_params(nbins=5)
        axes.ticklabel_format(scilimits=(-3, 4))
        for axis in (axes.xaxis, axes.yaxis):
            axis.offsetText.set_fontsize(7)
        strip_spines(axes)
    figure.supxlabel("true", fontsize=9)
    figure.supylabel("learned", fontsize=9)
    if title:
        figure.suptitle(title, fontsize=10)
    if save_path is not None:
        save_figure(figure, save_path)
    return figure


def site_means(values: Any, n_sites: int) -> np.ndarray:
    """Return one value per site: the mean over time (leading axis) and components (trailing axis)."""
    array = to_array(values)
    if array.ndim == 3:
        array = array.mean(axis=0)
    array = array.mean(axis=-1) if array.ndim == 2 else array
    return np.broadcast_to(array, (n_sites,))


def spearman(x: np.ndarray, y: np.ndarray) -> float:
    """Return the rank correlation of the pairs where both are finite (ties share their mean rank)."""
    import pandas as pd

    both = np.isfinite(x) & np.isfinite(y)
    ranks = [pd.Series(v[both]).rank().to_numpy() for v in (x, y)]
    if both.sum() < 2 or any(np.ptp(r) == 0 for r in ranks):
        return float("nan")
    return float(np.corrcoef(*ranks)[0, 1])
