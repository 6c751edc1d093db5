"""The table of an experiment: one column for every model, as CSV and as Markdown."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence

import numpy as np

from dmg.experiments.columns import LAST, Column, on_common_sites

Row = tuple[str, list[str]]


def table_rows(
    columns: Sequence[Column], metrics: Sequence[str], peaks: Mapping[str, Mapping[str, np.ndarray]]
) -> list[Row]:
    """Return the rows of the table, each a name and one cell for every column.

    Parameters
    ----------
    columns
        The columns.
    metrics
        Metrics, in their order.
    peaks
        Relative errors of peaks by label of the column and class.
    """
    rows: list[Row] = [
        ("forcing", [c.forcing for c in columns]),
        ("split", [c.split for c in columns]),
        ("sites", [str(c.n_sites or "") for c in columns]),
        ("runs", [c.seeds for c in columns]),
    ]
    rows += [(f"median {name}", [_cell(c, name) for c in columns]) for name in metrics]
    first = metrics[0]
    rows.append((f"median {LAST}", [_cell(c, LAST) for c in columns]))
    rows.append((f"mean {first}", [_number(_mean(c.scores.get(first))) for c in columns]))
    if first == "nse":
        rows.append(("sites with nse < 0", [_below_zero(c) for c in columns]))
    count, medians = on_common_sites(columns, first)
    if count and any(c.scores and c.n_sites != count for c in columns):
        rows.append(
            (f"median {first} at the {count} sites in common", [_number(medians.get(c.label)) for c in columns])
        )
    for name in dict.fromkeys(name for classes in [*peaks.values(), *(c.peaks for c in columns)] for name in classes):
        cells = [_peak_cell(peaks.get(c.label, {}).get(name)) or _number(c.peaks.get(name)) for c in columns]
        rows.append((f"median peak error, {name} years", cells))
    rows.append(("CPU minutes of a training", [_number(c.cpu_minutes) for c in columns]))
    rows.append(("source", [c.source for c in columns]))
    return [row for row in rows if any(row[1])]


def as_csv(columns: Sequence[Column], rows: Sequence[Row]) -> str:
    """Return the table as CSV."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["", *(c.label for c in columns)])
    writer.writerows([name, *cells] for name, cells in rows)
    return text.getvalue()


def as_markdown(title: str, columns: Sequence[Column], rows: Sequence[Row], notes: Sequence[str]) -> str:
    """Return the table as Markdown, with its title and notes."""
    lines = [f"# {title}", "", _line(["", *(c.label for c in columns)]), _line(["---"] * (len(columns) + 1))]
    lines += [_line([name, *cells]) for name, cells in rows]
    lines += ["", *(f"* {note}" for note in notes)]
    return "\n".join(lines).rstrip() + "\n"


def site_scores(columns: Sequence[Column], metrics: Sequence[str]) -> str:
    """Return the scores by site as CSV: one row for every column of the table and site."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["label", "site", *metrics])
    for column in columns:
        for i, site in enumerate(column.sites):
            values = [column.scores[name][i] if name in column.scores else np.nan for name in metrics]
            writer.writerow([column.label, site, *("" if np.isnan(v) else f"{v:.6g}" for v in values)])
    return text.getvalue()


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _cell(column: Column, metric: str) -> str:
    text = _number(column.medians.get(metric))
    return f"{text} ± {_number(column.spread[metric])}" if text and metric in column.spread else text


def _number(value: float | None) -> str:
    """Return three digits after the point; fewer where that many would be noise, as in percentages."""
    if value is None or not np.isfinite(value):
        return ""
    return f"{value:.3f}" if abs(value) < 10 else f"{value:.1f}"


def _mean(values: np.ndarray | None) -> float | None:
    known = None if values is None else values[np.isfinite(values)]
    return float(known.mean()) if known is not None and known.size else None


def _below_zero(column: Column) -> str:
    return str(int((column.scores["nse"] < 0).sum())) if "nse" in column.scores else ""


def _peak_cell(errors: np.ndarray | None) -> str:
    return f"{np.median(errors):.3f} (n = {errors.size})" if errors is not None and errors.size else ""
