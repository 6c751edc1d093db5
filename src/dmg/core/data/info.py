"""``dmg data info``: periods, gaps, units and ranges of a store, site by site."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from dmg.core.data.dataset import attribute_names, series_names, site_ids
from dmg.core.data.gaps import find_gaps
from dmg.registry import summaries

if TYPE_CHECKING:
    import xarray as xr


def describe(ds: xr.Dataset, names: list[str] | None = None) -> dict[str, Any]:
    """Return a description of a canonical dataset that JSON can hold.

    Parameters
    ----------
    ds
        Canonical dataset.
    names
        Series whose period and gaps are listed for every site; by default all. A domain package adds columns
        through ``dmg.registry.summaries``, functions ``ds -> {column: [N]}``.

    Returns
    -------
    dict
        ``period``, ``step``, ``variables`` (unit, range, missing share, record), ``sites`` (one entry each).
    """
    days = ds["time"].values.astype("datetime64[D]")
    step = np.diff(ds["time"].values[:2])
    result: dict[str, Any] = {
        "period": [str(days[0]), str(days[-1])],
        "steps": len(days),
        "step_hours": float(step[0] / np.timedelta64(1, "h")) if len(step) else None,
        "variables": {},
        "sites": {site: {} for site in site_ids(ds)},
    }
    rows = list(result["sites"].values())
    for name in series_names(ds):
        values = ds[name].values
        result["variables"][name] = _range(values, ds[name].attrs) | {"record": _record(values, days)}
        if names is None or name in names:
            for row, entry in zip(rows, _per_site(values, days), strict=True):
                row[name] = entry
    for name in attribute_names(ds):
        result["variables"][name] = _range(ds[name].values, ds[name].attrs) | {"static": True}
    for summary in (summaries.get(name) for name in summaries.names()):
        for column, values in summary(ds).items():
            for row, value in zip(rows, values, strict=True):
                row[column] = _number(value)
    return result


def as_text(info: dict[str, Any], limit: int = 20) -> str:
    """Return the description as tables; at most `limit` sites."""
    lines = [
        f"{len(info['sites'])} sites, {info['period'][0]}..{info['period'][1]}, {info['steps']} steps"
        + (f" of {info['step_hours']:g} h" if info["step_hours"] else ""),
        "",
    ]
    variables = [
        [
            name,
            v["unit"],
            _cell(v["min"]),
            _cell(v["mean"]),
            _cell(v["max"]),
            f"{100 * v['missing']:.2f}",
            "static" if v.get("static") else ("..".join(v["record"]) if v["record"] else "no value"),
        ]
        for name, v in info["variables"].items()
    ]
    lines += _table(["variable", "unit", "min", "mean", "max", "missing %", "record"], variables)
    # A series whose record is the same everywhere is described by the table above.
    groups: dict[str, list[str]] = {}
    for name, entries in _columns(info["sites"]).items():
        if _differ(entries):
            groups.setdefault(repr(entries), []).append(name)
    columns = {", ".join(alike[:3]) + (", …" if len(alike) > 3 else ""): alike[0] for alike in groups.values()}
    shown = list(info["sites"].items())[:limit]
    head = ["site", *columns]
    rows = [
        [site, *(_entry_text(entry.get(name), info["period"]) for name in columns.values())] for site, entry in shown
    ]
    lines += ["", *_table(head, rows)]
    if len(info["sites"]) > limit:
        lines.append(f"… {len(info['sites']) - limit} more sites (--all lists them, --json has everything)")
    return "\n".join(lines)


def _columns(sites: dict[str, dict[str, Any]]) -> dict[str, list[Any]]:
    """Return the entries of all sites by column."""
    columns: dict[str, list[Any]] = {}
    for entry in sites.values():
        for name, value in entry.items():
            columns.setdefault(name, []).append(value)
    return columns


def _differ(entries: list[Any]) -> bool:
    return not isinstance(entries[0], dict) or any(entry != entries[0] for entry in entries)


def _entry_text(value: Any, period: list[str]) -> str:
    if not isinstance(value, dict):
        return _cell(value)
    if not value["record"]:
        return "no value"
    text = "complete" if value["record"] == period else "..".join(value["record"])
    if not value["gaps"]:
        return text
    return f"{'..'.join(value['record'])}, {value['gaps']} gaps, longest {value['longest']}"


def _range(values: np.ndarray, attrs: dict[str, Any]) -> dict[str, Any]:
    known = values[np.isfinite(values)]
    some = len(known) > 0
    return {
        "unit": str(attrs.get("units", "")),
        "min": _number(known.min()) if some else None,
        "mean": _number(known.mean(dtype=np.float64)) if some else None,
        "max": _number(known.max()) if some else None,
        "missing": 1.0 - known.size / values.size,
    }


def _record(values: np.ndarray, days: np.ndarray) -> list[str] | None:
    rows = np.flatnonzero((~np.isnan(values)).any(axis=1))
    return [str(days[rows[0]]), str(days[rows[-1]])] if len(rows) else None


def _per_site(values: np.ndarray, days: np.ndarray) -> list[dict[str, Any]]:
    entries = []
    gaps = find_gaps(values)
    by_site: dict[int, list[int]] = {}
    for gap in gaps:
        if gap.start > 0 and gap.start + gap.length < len(days):
            by_site.setdefault(gap.site, []).append(gap.length)
    for site in range(values.shape[1]):
        lengths = by_site.get(site, [])
        entries.append(
            {
                "record": _record(values[:, [site]], days),
                "gaps": len(lengths),
                "longest": max(lengths, default=0),
                "missing": float(np.isnan(values[:, site]).mean()),
            }
        )
    return entries


def _number(value: Any) -> float | None:
    return float(value) if np.isfinite(value) else None


def _cell(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"


def _table(head: list[str], rows: list[list[str]]) -> list[str]:
    widths = [max(len(row[i]) for row in [head, *rows]) for i in range(len(head))]
    return ["  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip() for row in [head, *rows]]
