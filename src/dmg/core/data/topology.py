"""Files that say which unit drains into which, and where gauges stand: JSON, GeoPackage, NetCDF."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dmg.errors import DataError

if TYPE_CHECKING:
    import xarray as xr

FORM = "{nodes: [unit, …], edges: [[unit, next downstream], …], gage_hf: {gauge: unit}}"
GEOPACKAGE = (".gpkg", ".sqlite")


@dataclass(frozen=True)
class Topology:
    """What a file says of a river network.

    Parameters
    ----------
    edges
        Pairs (unit, next unit downstream).
    gauges
        Gauge to the unit at whose lower end it stands.
    aliases
        Other names under which a data set may have a unit.
    """

    edges: list[tuple[str, str]]
    gauges: dict[str, str]
    aliases: Mapping[str, Sequence[str]]


def read_topology(path: str | Path) -> Topology:
    """Read a river network.

    The suffix decides: ``.gpkg`` is a hydrofabric (tables ``flowpaths`` and ``nexus``, and whatever table names
    gauges; only attributes are read); ``.nc`` and ``.zarr`` have ``link`` and ``to`` (NHD), ``to`` over ``site``, or
    ``tosegment`` (PRMS, counted from 1, 0 at an outlet); anything else is JSON in the published form. Where a store
    with ``to`` names no gauges, every outlet is one, under its own name.

    Raises
    ------
    DataError
        If it is not such a file.
    """
    path = Path(path).expanduser()
    if not path.exists():
        raise DataError(f"no such file: {path}", where="observations.topology_path", hint="correct the path")
    if path.suffix.lower() in GEOPACKAGE:
        return _geopackage(path)
    return _store(path) if path.suffix.lower() in (".nc", ".nc4", ".zarr") else _graph(path)


def _graph(path: Path) -> Topology:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        edges = [(str(above), str(below)) for above, below in content["edges"]]
        gauges = {str(gauge): str(unit) for gauge, unit in content["gage_hf"].items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(
            f"not a river network: {type(error).__name__}: {error}", where=str(path), hint=f"it is {FORM}"
        ) from error
    return Topology(edges, gauges, {})


def _geopackage(path: Path) -> Topology:
    try:
        with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as base:
            tables = {
                name for (name,) in base.execute("SELECT name FROM sqlite_master WHERE type IN ('table', 'view')")
            }
            flowpaths = _rows(base, tables, "flowpaths", ("id", "toid"), ("realized_catchment", "divide_id"), path)
            nexus = _rows(base, tables, "nexus", ("id", "toid"), ("poi_type", "poi_value"), path)
            gauges = _hydrofabric_gauges(base, tables, nexus, flowpaths, path)
    except sqlite3.Error as error:
        raise DataError(
            f"not a GeoPackage: {error}", where=str(path), hint="a GeoPackage is an SQLite file with a table per layer"
        ) from error
    ids = {row["id"] for row in flowpaths}
    below = {row["id"]: row["toid"] for row in nexus}
    edges = []
    for row in flowpaths:
        to = row["toid"] if row["toid"] in ids else below.get(row["toid"])
        if to in ids:
            edges.append((row["id"], to))
    names = {
        row["id"]: [n for n in (row.get("realized_catchment"), row.get("divide_id")) if n]
        + [row["id"].replace("wb-", "cat-"), row["id"].rpartition("-")[2]]
        for row in flowpaths
    }
    return Topology(edges, gauges, names)


def _hydrofabric_gauges(
    base: sqlite3.Connection, tables: set[str], nexus: list[dict[str, Any]], flowpaths: list[dict[str, Any]], path: Path
) -> dict[str, str]:
    """Return gauge to flowpath, from the first table that names gauges."""
    for table in ("flowpath_attributes", "flowpath-attributes"):
        if table in tables:
            rows = _rows(base, tables, table, ("id",), ("rl_gages", "gage"), path)
            found = {(r.get("rl_gages") or r.get("gage") or "").strip(): r["id"] for r in rows}
            found.pop("", None)
            if found:
                return found
    at = {row["id"]: row["poi_value"] for row in nexus if row.get("poi_type") == "Gages" and row.get("poi_value")}
    return {at[row["toid"]]: row["id"] for row in flowpaths if row["toid"] in at}


def _rows(
    base: sqlite3.Connection, tables: set[str], table: str, needed: Sequence[str], optional: Sequence[str], path: Path
) -> list[dict[str, Any]]:
    """Return some columns of a table as text, those of `optional` where there are such."""
    columns = [row[1] for row in base.execute(f'PRAGMA table_info("{table}")')] if table in tables else []
    missing = [name for name in needed if name not in columns]
    if missing:
        raise DataError(
            f"the layer '{table}' has no column {', '.join(missing)}" if columns else f"there is no layer '{table}'",
            where=str(path),
            hint=f"a hydrofabric has flowpaths and nexus with id and toid; there are {', '.join(sorted(tables)[:12])}",
        )
    wanted = [*needed, *(name for name in optional if name in columns)]
    listed = ", ".join(f'"{name}"' for name in wanted)
    return [
        {name: None if value is None else str(value) for name, value in zip(wanted, row, strict=True)}
        for row in base.execute(f'SELECT {listed} FROM "{table}"')
    ]


def _store(path: Path) -> Topology:
    from dmg.core.data.dataset import open_file

    with open_file(path) as ds:
        if "tosegment" in ds:
            to = _segments(ds, "tosegment", ds["tosegment"].size, path)
            ids = [str(i) for i in (ds["nhm_seg"].values if "nhm_seg" in ds else np.arange(1, len(to) + 1))]
            edges = [(ids[i], ids[below - 1]) for i, below in enumerate(to) if below > 0]
            gauges = {}
            if "poi_gage_id" in ds:
                at = zip(
                    _texts(ds["poi_gage_id"].values), _segments(ds, "poi_gage_segment", len(to), path), strict=True
                )
                gauges = {gauge: ids[segment - 1] for gauge, segment in at if segment > 0}
            return Topology(edges, gauges, {})
        names = next((name for name in ("link", "site") if name in ds.variables), None)
        if names and "to" in ds:
            ids, to = _texts(ds[names].values), _texts(ds["to"].values)
            known = set(ids)
            edges = [(i, below) for i, below in zip(ids, to, strict=True) if below in known]
            if "gages" in ds:
                named = _texts(ds["gages"].values)
            else:
                named = [i if below not in known else "" for i, below in zip(ids, to, strict=True)]
            return Topology(edges, {gauge: i for gauge, i in zip(named, ids, strict=True) if gauge}, {})
        raise DataError(
            "the file says not which reach drains into which",
            where=str(path),
            hint=f"it needs link and to, or tosegment; it has {', '.join(map(str, list(ds.variables)[:12]))}",
        )


def _segments(ds: xr.Dataset, name: str, most: int, path: Path) -> np.ndarray:
    """Return numbers of segments, counted from 1, 0 for none."""
    values = ds[name].values if name in ds else np.array([np.nan])
    wrong = (values > most) | (values != np.floor(values))
    if wrong.any():
        raise DataError(
            f"'{name}' says {values[wrong][0]}, and there are {most} segments"
            if name in ds
            else f"there is no '{name}'",
            where=str(path),
            hint="segments are counted from 1 in the order of the file; 0 is none",
        )
    return values.astype(np.int64)


def _texts(values: np.ndarray) -> list[str]:
    return [(v.decode() if isinstance(v, bytes) else str(v)).strip() for v in values.tolist()]
