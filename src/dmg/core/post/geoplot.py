"""Map of a score: sites as points, longitude against latitude; nothing is downloaded."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dmg.core.post.figure import new_figure, save_figure, strip_spines, to_array
from dmg.errors import UnknownNameError, did_you_mean

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def geoplot_single_metric(
    gdf: Any,
    metric_name: str,
    save_path: str | Path | None = None,
    title: str | None = None,
    map_color: bool = False,
    draw_rivers: bool = False,
    dynamic_colorbar: bool = False,
    dpi: int = 120,
    marker_size: float = 28,
) -> Figure:
    """Draw a score of every site on a map.

    Parameters
    ----------
    gdf
        Table (DataFrame, GeoDataFrame or mapping) with columns ``lat``, ``lon`` (degrees) and the metric.
    metric_name
        Column to draw.
    save_path
        Where to write the figure as well.
    title
        Title.
    map_color
        Tint the background.
    draw_rivers
        Rivers would need map data that are not shipped; asking for them warns and draws the points alone.
    dynamic_colorbar
        Let the colours span the data; otherwise 0 to 1, as fits NSE and KGE.
    dpi, marker_size
        Appearance.

    Raises
    ------
    UnknownNameError
        If a column is missing.
    """
    for column in ("lat", "lon", metric_name):
        if column not in gdf:
            raise UnknownNameError(f"no column '{column}' to draw on a map", hint=did_you_mean(column, gdf))
    if draw_rivers:
        warnings.warn("rivers need map data that are not shipped: drawing the sites alone", stacklevel=2)
    lat, lon, score = (to_array(gdf[column]) for column in ("lat", "lon", metric_name))
    known = np.isfinite(score)
    low, high = (0.0, 1.0)
    if dynamic_colorbar and known.any():
        low, high = float(score[known].min()), float(score[known].max())
    figure = new_figure((8, 4.8), dpi)
    axes = figure.subplots()
    if map_color:
        axes.set_facecolor("#eef3ee")
    strip_spines(axes)
    axes.scatter(lon[~known], lat[~known], s=marker_size, facecolors="none", edgecolors="0.6")
    points = axes.scatter(
        lon[known], lat[known], c=score[known], s=marker_size, vmin=low, vmax=high,
        cmap="viridis", edgecolors="0.2", linewidths=0.3,
    )  # fmt: skip
    outside = (score[known].min(initial=low) < low, score[known].max(initial=high) > high)
    extend = {(False, False): "neither", (True, False): "min", (False, True): "max"}.get(outside, "both")
    figure.colorbar(points, ax=axes, label=metric_name.upper(), shrink=0.85, extend=extend)
    if lat.size:
        # One degree of longitude is shorter than one of latitude.
        axes.set_aspect(1 / max(np.cos(np.deg2rad(np.nanmean(lat))), 0.1), adjustable="datalim")
    axes.set(xlabel="longitude (°)", ylabel="latitude (°)", title=title or "")
    if save_path is not None:
        save_figure(figure, save_path)
    return figure
