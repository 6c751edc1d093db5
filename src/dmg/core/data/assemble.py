"""The common end of every converter: from what a file holds to a canonical dataset."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dmg.core.data.attribute_tables import read_attributes
from dmg.core.data.dataset import canonical, series_names, site_ids
from dmg.core.data.derive import derive
from dmg.core.data.gaps import mask_sentinels, require_nonnegative
from dmg.core.data.quantity import conversion, resolve_unit, unit_text
from dmg.core.data.sites import match_sites, read_site_list
from dmg.core.data.vocabulary import UNKNOWN, is_nonnegative, known_unit
from dmg.errors import DataError, did_you_mean

if TYPE_CHECKING:
    import xarray as xr


@dataclass(frozen=True)
class Options:
    """What the user asks of a conversion; the fields are the options of the command line."""

    sites: str | None = None
    start: str | None = None
    end: str | None = None
    rename: Mapping[str, str] = field(default_factory=dict)
    unit: Mapping[str, str] = field(default_factory=dict)
    convert: Mapping[str, str] = field(default_factory=dict)
    area: str | None = None
    attributes: tuple[str, ...] = ()
    id_column: str | None = None
    derive: tuple[str, ...] = ()
    keep: tuple[str, ...] = ()
    missing: tuple[float, ...] = ()
    id_width: int = 0

    @classmethod
    def from_args(cls, args: argparse.Namespace) -> Options:
        """Return the options of a parsed command line."""
        return cls(
            sites=args.sites,
            start=args.start,
            end=args.end,
            rename=pairs(args.rename, "--rename"),
            unit=pairs(args.unit, "--unit"),
            convert=pairs(args.convert, "--convert"),
            area=args.area,
            attributes=tuple(args.attributes),
            id_column=args.id_column,
            derive=names(args.derive),
            keep=names(args.keep),
            missing=tuple(args.missing),
            id_width=args.id_width,
        )


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that all converters share."""
    add = parser.add_argument
    add("--sites", metavar="LIST", help="ids to keep: a file (text, JSON, .npy) or id,id,…; sets their order")
    add("--start", metavar="DATE", help="first day to keep, e.g. 1980-10-01")
    add("--end", metavar="DATE", help="last day to keep")
    add("--rename", metavar="OLD=NEW", action="append", default=[], help="name of a variable in the store")
    add("--unit", metavar="NAME=UNIT", action="append", default=[], help="unit where the file has none")
    add("--convert", metavar="NAME=UNIT", action="append", default=[], help="change the unit of a variable")
    add("--area", metavar="NAME", help="attribute with the area, for --convert between ft3/s, m3/s and mm/d")
    add(
        "--attributes",
        metavar="PATH",
        action="append",
        default=[],
        help="table, or folder of tables (repeatable)",
    )
    add("--id-column", metavar="NAME", help="id column of the attribute tables (default: the first)")
    add("--derive", metavar="NAME,…", default="", help="variables to compute, such as tmean,pet,dayl")
    add("--keep", metavar="NAME,…", default="", help="series to write (default: all; attributes always are)")
    add(
        "--id-width",
        metavar="N",
        type=int,
        default=0,
        help="pad ids with zeros to N digits, as 01013500 with 8",
    )
    add(
        "--missing",
        metavar="VALUE",
        type=float,
        action="append",
        default=[],
        help="number that means missing",
    )


def assemble(ds: xr.Dataset, options: Options, *, where: str | None = None) -> tuple[xr.Dataset, list[str]]:
    """Return the canonical dataset and notes for the user.

    Parameters
    ----------
    ds
        Dims (time, site), text ids; values may be lazy, of any float type, with sentinels.
    options
        What is asked for.
    where
        The file, for messages.
    """
    notes: list[str] = []
    if not options.attributes:
        for old in options.rename:
            _existing(ds, old, "--rename")
    ds = ds.rename({old: new for old, new in options.rename.items() if old in ds.data_vars})
    if options.id_width:
        padded = np.array([site.zfill(options.id_width) for site in site_ids(ds)], dtype=object)
        ds = ds.assign_coords(site=("site", padded))
    if options.sites:
        wanted = read_site_list(options.sites)
        ds = _take_sites(ds, match_sites(wanted, site_ids(ds), what="the data", where=where))
    ds = _regular_time(ds, where, notes)
    ds = _period(ds, options.start, options.end, where)
    ds = _load(ds, options, where)
    if options.attributes:
        ds = _join_attributes(ds, options, notes)
    ds = _units(ds, options, where)
    for name in options.derive:
        if name in ds.data_vars:
            notes.append(f"'{name}' is in the data already: not derived")
            continue
        ds = derive(ds, name)
    for name, target in options.convert.items():
        ds = _convert(ds, _existing(ds, name, "--convert"), target, options.area)
    if options.keep:
        chosen = {_existing(ds, name, "--keep") for name in options.keep}
        ds = ds.drop_vars([name for name in series_names(ds) if name not in chosen])
    for name in series_names(ds):
        if is_nonnegative(name):
            values = ds[name].values
            require_nonnegative(values, name=name, sites=site_ids(ds), times=ds["time"].values, where=where)
    notes += _record_notes(ds)
    return canonical(ds, where=where), notes


def names(text: str) -> tuple[str, ...]:
    """Split a comma-separated option."""
    return tuple(part.strip() for part in text.split(",") if part.strip())


def pairs(items: list[str], option: str) -> dict[str, str]:
    """Split repeated ``A=B`` options."""
    result = {}
    for item in items:
        left, sign, right = item.partition("=")
        if not sign or not left.strip() or not right.strip():
            raise DataError(f"cannot read {option} '{item}'", hint=f"write {option} NAME=VALUE")
        result[left.strip()] = right.strip()
    return result


def day(text: str | None, default: np.datetime64 | None = None) -> np.datetime64:
    """Return the day that a text like ``1980-10-01`` or ``1980/10/01`` means.

    Raises
    ------
    DataError
        If it means none.
    """
    if text is None and default is not None:
        return default
    try:
        return np.datetime64(str(text).replace("/", "-"), "D")
    except ValueError as error:
        raise DataError(f"'{text}' is not a date", hint="write it like 1980-10-01") from error


def _existing(ds: xr.Dataset, name: str, option: str) -> str:
    if name not in ds.data_vars:
        raise DataError(
            f"{option}: the data have no variable '{name}'", hint=did_you_mean(name, map(str, ds.data_vars))
        )
    return name


def _take_sites(ds: xr.Dataset, index: np.ndarray) -> xr.Dataset:
    # One slice from the file, then picking in memory: files answer slices quickly and lists slowly.
    low, high = int(index.min()), int(index.max()) + 1
    part = ds.isel(site=slice(low, high))
    if np.array_equal(index, np.arange(low, high)):
        return part
    return part.load().isel(site=index - low)


def _regular_time(ds: xr.Dataset, where: str | None, notes: list[str]) -> xr.Dataset:
    times = ds["time"].values
    if times.dtype.kind != "M" or len(times) < 2:
        return ds
    steps = np.diff(times)
    days = times.astype("datetime64[D]")
    if (steps % np.timedelta64(1, "D") == np.timedelta64(0)).all() and (times != days).any():
        notes.append(f"days are stamped at their start, not at {np.datetime_as_string(times[0], unit='m')[11:]}")
        ds = ds.assign_coords(time=days.astype("datetime64[ns]"))
        times = ds["time"].values
    if (steps <= np.timedelta64(0)).any():
        ds = ds.sortby("time")
        steps = np.diff(ds["time"].values)
        if (steps == np.timedelta64(0)).any():
            raise DataError("a time occurs more than once", where=where)
    if (steps == steps[0]).all():
        return ds
    step, first = steps.min(), ds["time"].values[0]
    if (steps % step != np.timedelta64(0)).any():
        raise DataError("the times are not on a regular grid", where=where)
    full = np.arange(first, ds["time"].values[-1] + step, step)
    notes.append(f"{len(full) - len(times)} missing time steps inserted as NaN")
    return ds.reindex(time=full)


def _period(ds: xr.Dataset, start: str | None, end: str | None, where: str | None) -> xr.Dataset:
    if start is None and end is None:
        return ds
    days = ds["time"].values.astype("datetime64[D]")
    low, high = (day(text, default) for text, default in ((start, days[0]), (end, days[-1])))
    if low < days[0] or high > days[-1] or low > high:
        raise DataError(
            f"the period {low}..{high} is not inside the record {days[0]}..{days[-1]}",
            where=where,
            hint="change --start or --end",
        )
    return ds.isel(time=np.flatnonzero((days >= low) & (days <= high)))


def _load(ds: xr.Dataset, options: Options, where: str | None) -> xr.Dataset:
    loaded: dict[str, Any] = {}
    for name, var in ds.data_vars.items():
        if var.dtype.kind not in "fiub":
            raise DataError(
                f"'{name}' holds text",
                where=where,
                hint="drop it from the file, or bring it in by --attributes",
            )
        values = mask_sentinels(var.values, options.missing).astype(np.float32)
        loaded[str(name)] = (var.dims, values, dict(var.attrs))
    return ds.assign(loaded)


def _join_attributes(ds: xr.Dataset, options: Options, notes: list[str]) -> xr.Dataset:
    sites = site_ids(ds)
    tables, more = read_attributes(
        options.attributes, sites, id_column=options.id_column, extra_missing=options.missing
    )
    notes += more
    for old, new in options.rename.items():
        if new not in ds.data_vars and old not in tables:
            known = [*map(str, ds.data_vars), *tables]
            raise DataError(f"--rename: no variable or attribute '{old}'", hint=did_you_mean(old, known))
    added = {}
    for name, attribute in tables.items():
        name = options.rename.get(name, name)
        if name in ds.data_vars:
            ours = ds[name].values
            close = np.isclose(ours, attribute.values, rtol=1e-3, atol=1e-3, equal_nan=True)
            if not close.all():
                at = int(np.argmin(close))
                raise DataError(
                    f"the file and the attribute tables disagree about '{name}' at site {sites[at]}: "
                    f"{ours[at]:g} and {attribute.values[at]:g}",
                    hint=f"rename one of them: --rename {name}=NEW",
                )
            continue
        added[name] = ("site", attribute.values, attribute.attrs)
    return ds.assign(added)


def _units(ds: xr.Dataset, options: Options, where: str | None) -> xr.Dataset:
    for name in options.unit:
        _existing(ds, name, "--unit")
    for name, var in ds.data_vars.items():
        stored = var.attrs.pop("unit", None) or var.attrs.get("units")
        stored = None if stored in (None, "", UNKNOWN) else str(stored)
        given = options.unit.get(str(name))
        if stored is None and given is None:
            given = known_unit(str(name))
        if stored is None and given is None and "time" not in var.dims:
            var.attrs["units"] = UNKNOWN
            continue
        var.attrs["units"] = unit_text(resolve_unit(str(name), stored, given, where))
    return ds


def _convert(ds: xr.Dataset, name: str, target: str, area_name: str | None) -> xr.Dataset:
    attrs = dict(ds[name].attrs)
    step = conversion(attrs["units"], target)
    area = None
    if step.needs_area:
        if area_name is None:
            raise DataError(f"the area is needed to convert '{name}' to '{target}'", hint="name it: --area ATTRIBUTE")
        area_unit = ds[_existing(ds, area_name, "--area")].attrs["units"]
        area = conversion(area_unit, "km2")(ds[area_name].values.astype(np.float64))
        if not (area > 0).all():
            raise DataError(f"the area '{area_name}' is missing or not positive at some sites")
        attrs["comment"] = f"converted from {attrs['units']} with the area {area_name}"
    attrs["units"] = unit_text(target)
    return ds.assign({name: (ds[name].dims, step(ds[name].values, area), attrs)})


def _record_notes(ds: xr.Dataset) -> list[str]:
    """Name variables whose record is shorter than the time axis at every site, and sites that have none at all."""
    days = ds["time"].values.astype("datetime64[D]")
    shorter: dict[str, list[str]] = {}
    for name in series_names(ds):
        known = ~np.isnan(ds[name].values)
        rows = np.flatnonzero(known.any(axis=1))
        if not len(rows):
            shorter.setdefault("no value at all", []).append(name)
            continue
        if rows[0] > 0 or rows[-1] < len(days) - 1:
            text = f"values in {days[rows[0]]}..{days[rows[-1]]} only (cut with --start, --end)"
            shorter.setdefault(text, []).append(name)
        empty = int((~known.any(axis=0)).sum())
        if empty:
            shorter.setdefault(f"no value at {empty} sites", []).append(name)
    return [f"{text}: {', '.join(found)}" for text, found in shorter.items()]


def report(ds: xr.Dataset, path: Path, notes: list[str]) -> str:
    """Return what was written, in a few lines."""
    days = ds["time"].values[[0, -1]].astype("datetime64[D]")
    series = series_names(ds)
    named = ", ".join(f"{name} [{ds[name].attrs['units']}]" for name in series)
    lines = [
        f"{path}: {ds.sizes['site']} sites, {days[0]}..{days[1]} ({ds.sizes['time']} steps)",
        f"  series: {named}",
        f"  attributes: {len(ds.data_vars) - len(series)}",
        *(f"  note: {note}" for note in notes),
    ]
    return "\n".join(lines)
