"""Figures that never touch the user's matplotlib backend."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dmg.core.utils.atomic import atomic_write

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: Colours of predictions in the order of the models, readable for colour-blind people and in print.
COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")


def new_figure(figsize: tuple[float, float], dpi: int = 100) -> Figure:
    """Return an empty figure on its own Agg canvas; a notebook shows it when it ends a cell."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    class NotebookFigure(Figure):
        """Figure that IPython can show although pyplot does not know it."""

        def _repr_png_(self) -> bytes:
            buffer = io.BytesIO()
            self.savefig(buffer, format="png", bbox_inches="tight")
            return buffer.getvalue()

    figure = NotebookFigure(figsize=figsize, dpi=dpi, layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def save_figure(figure: Figure, path: str | Path) -> Path:
    """Write a figure atomically; the suffix chooses the format. Returns the path."""
    with atomic_write(path) as tmp:
        figure.savefig(tmp)
    return Path(path)


def to_array(values: Any) -> np.ndarray:
    """Return tensors, series, DataArrays and lists alike as a float64 array."""
    if hasattr(values, "detach"):
        values = values.detach().cpu().numpy()
    return np.asarray(values, dtype=np.float64)


def strip_spines(axes: Any) -> None:
    """Leave only the two axes that carry ticks, and a faint grid."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(visible=True, color="0.9", linewidth=0.6)
    axes.set_axisbelow(True)
