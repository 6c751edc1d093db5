"""Training loss, and the validation score where there is one, against the epoch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from dmg.core.post.figure import COLORS, new_figure, save_figure, strip_spines, to_array

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def plot_loss(
    epochs: Sequence[int],
    losses: Sequence[float],
    validation: Mapping[int, float] | None = None,
    *,
    log: bool = False,
    title: str = "Training",
    validation_label: str = "median NSE, validation",
    figsize: tuple[float, float] = (7, 4),
    dpi: int = 120,
    save_path: str | Path | None = None,
) -> Figure:
    """Draw the mean loss of every epoch.

    Parameters
    ----------
    epochs, losses
        Epochs and their mean training loss.
    validation
        Validation score by epoch, drawn against a second axis.
    log
        Logarithmic loss axis.
    title, validation_label, figsize, dpi
        Appearance.
    save_path
        Where to write the figure as well.
    """
    figure = new_figure(figsize, dpi)
    axes = figure.subplots()
    axes.plot(epochs, to_array(losses), color=COLORS[0], marker="o", markersize=3, label="training loss")
    axes.set(xlabel="epoch", ylabel="loss", title=title)
    if log:
        axes.set_yscale("log")
    axes.xaxis.get_major_locator().set_params(integer=True)
    strip_spines(axes)
    if validation:
        twin = axes.twinx()
        twin.plot(list(validation), to_array(list(validation.values())), color=COLORS[1], marker="s", markersize=3)
        twin.set_ylabel(validation_label, color=COLORS[1])
        twin.tick_params(axis="y", colors=COLORS[1])
        twin.spines["top"].set_visible(False)
    if save_path is not None:
        save_figure(figure, save_path)
    return figure
