"""Plots and printed summaries of a run; matplotlib is imported when the first plot is drawn."""

from dmg.core.post.geoplot import geoplot_single_metric
from dmg.core.post.plot_boxes import plot_boxes
from dmg.core.post.plot_cdf import plot_cdf
from dmg.core.post.plot_curves import plot_curves
from dmg.core.post.plot_hydrograph import plot_hydrograph, plot_hydrograph_grid
from dmg.core.post.plot_loss import plot_loss
from dmg.core.post.plot_parameters import plot_parameters
from dmg.core.post.plot_reliability import plot_reliability
from dmg.core.post.plot_scatter import plot_scatter
from dmg.core.post.print_metrics import print_metrics

__all__ = [
    "geoplot_single_metric",
    "plot_boxes",
    "plot_cdf",
    "plot_curves",
    "plot_hydrograph",
    "plot_hydrograph_grid",
    "plot_loss",
    "plot_parameters",
    "plot_reliability",
    "plot_scatter",
    "print_metrics",
]
