"""Scores of one or several models as a table of text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np

from dmg.core.post.figure import to_array
from dmg.core.utils.text_table import text_table
from dmg.errors import ConfigError, UnknownNameError, did_you_mean


def print_metrics(
    metrics: Sequence[Mapping[str, Any]] | Mapping[str, Any],
    metric_names: Sequence[str],
    mode: Literal["median", "mean_std"] = "median",
    precision: int = 3,
    model_labels: Sequence[str] | None = None,
) -> str:
    """Print, and return, one line for every metric and one column for every model.

    Parameters
    ----------
    metrics
        For every model a mapping of metric names to values [N]; NaN is left out.
    metric_names
        Metrics to print.
    mode
        ``median``, or ``mean_std`` for mean ± standard deviation over the sites.
    precision
        Digits after the point.
    model_labels
        Heads of the columns.
    """
    if mode not in ("median", "mean_std"):
        raise ConfigError(f"unknown mode '{mode}'", hint="choose median or mean_std")
    models = [metrics] if isinstance(metrics, Mapping) else list(metrics)
    labels = list(model_labels or [mode if len(models) == 1 else f"model {i + 1}" for i in range(len(models))])
    rows = [["", *labels]]
    for name in metric_names:
        row = [name]
        for model in models:
            if name not in model:
                raise UnknownNameError(f"no metric '{name}'", hint=did_you_mean(name, model))
            row.append(_summary(to_array(model[name]), mode, precision))
        rows.append(row)
    text = text_table(rows)
    print(text)
    return text


def _summary(values: np.ndarray, mode: str, precision: int) -> str:
    known = values[np.isfinite(values)]
    if not known.size:
        return "n/a"
    if mode == "median":
        return f"{np.median(known):.{precision}f}"
    return f"{known.mean():.{precision}f} ± {known.std():.{precision}f}"
