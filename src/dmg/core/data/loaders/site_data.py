"""The selected sites of a store: series and attributes by name, converted, filled, checked."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dmg.core.data.gaps import fill_attribute, fill_forcing, mask_sentinels, mask_target, require_nonnegative
from dmg.core.data.quantity import convert_variable, parse_unit, resolve_unit, unit_text
from dmg.core.data.sites import match_sites, read_site_list
from dmg.core.data.time_window import as_span
from dmg.errors import DataError, did_you_mean

if TYPE_CHECKING:
    import xarray as xr

    from dmg.conf.config import Config

FLOWS = frozenset({"streamflow", "runoff", "flow_sim"})
"""Published names of the flow of a basin; any other target in a volume per time counts as one too."""

PRECIPITATION = frozenset({"prcp", "P", "pr", "precip", "precipitation", "rain", "rainfall", "total_precipitation"})
"""Names of precipitation, which is never negative."""

FLOW_UNIT = "mm d-1"
"""Unit of a flow for which no process model declares another."""


class SiteData:
    """Variables of the selected sites of a store, read when they are asked for.

    Parameters
    ----------
    config
        Configuration: ``observations`` says where the data are, which sites are used and in which unit a target is
        that has none; the process model declares the units of its forcings.
    store
        A canonical dataset to read instead of what ``observations`` names.

    Attributes
    ----------
    sites
        Ids in the order of ``observations.subset_path`` (or ``gage_info``), else that of the store.
    times
        The record, datetime64 [T].
    units
        Unit of every variable as it is returned, by name.
    where
        Name of the store, for messages.
    """

    def __init__(self, config: Config, store: xr.Dataset | None = None) -> None:
        self._obs = config.observations
        self._store = self._open() if store is None else _as_store(store)
        known = [str(site) for site in self._store["site"].values]
        self._positions = self._select(known)
        self.sites = [known[i] for i in self._positions]
        self._first, self.times = self._record()
        self._attributes: dict[str, np.ndarray] = {}
        self._wanted = _declared_units(config)
        self.units = _Units(self)

    def __contains__(self, name: object) -> bool:
        return name in self._store.data_vars

    @property
    def store(self) -> xr.Dataset:
        """The canonical dataset that is read."""
        return self._store

    @property
    def where(self) -> str:
        """Name of the store."""
        return self._obs.data_path or f"observations.name: {self._obs.name}"

    @property
    def title(self) -> str:
        """Title of the store, or else its name and file."""
        path = self._obs.data_path
        own = str(self._store.attrs.get("title", "")).strip()
        return own or (f"{self._obs.name} ({Path(path).name})" if path else self._obs.name)

    def describe(self) -> str:
        """Return a short text that changes when other data are read: the store, and how a sample was generated."""
        return f"{self._obs.name} {self._obs.data_path or sorted(self._sample_options().items())}"

    def forcing(self, name: str, window: slice, columns: np.ndarray, period: slice | None = None) -> np.ndarray:
        """Return a forcing [T, B] float32 without NaN; short gaps are filled, precipitation is not negative.

        Parameters
        ----------
        name
            Variable of the store.
        window
            Steps of the record.
        columns
            Positions among the selected sites.
        period
            Steps that the window is a part of, and that its gaps are filled from; the window if absent.
        """
        wanted, period = window, period or window
        reach = self._obs.max_gap + 1
        window = slice(max(window.start - reach, period.start), min(window.stop + reach, period.stop))
        values = mask_sentinels(self._read(name, window, columns))
        sites, times = [self.sites[i] for i in columns], self.times[window]
        if name in PRECIPITATION:
            require_nonnegative(values, name=name, sites=sites, times=times, where=self.where)
        values = fill_forcing(
            values,
            name=name,
            sites=sites,
            times=times,
            max_gap=self._obs.max_gap,
            where=f"{self.where}; observations.max_gap: {self._obs.max_gap}",
            goes_on=(window.start > period.start, window.stop < period.stop),
        )[wanted.start - window.start : wanted.stop - window.start]
        unit = self._store_unit(name)
        return convert_variable(values, name, unit, self.units[name], where=self.where) if unit else values

    def target(self, name: str, window: slice, columns: np.ndarray, area: np.ndarray | None = None) -> np.ndarray:
        """Return a target [T, B] float32; NaN where nothing was observed. Flow is a depth of water per time.

        Parameters
        ----------
        name, window, columns
            As for `forcing`.
        area
            Over which a discharge is spread, km² [B]; the sites' own if absent.
        """
        values = mask_target(self._read(name, window, columns))
        unit = self._target_unit(name)
        if not unit:
            return values
        if not self.was_discharge(name):
            area = None
        elif area is None:
            area = self.area(columns)
        return convert_variable(values, name, unit, self.units[name], area, self.where)

    def blocks(self, name: str, columns: np.ndarray) -> tuple[int, list[np.ndarray]]:
        """Return how a series lies in the store: steps of a chunk, and the sites (places in `columns`) of each."""
        from dmg.core.data.dataset import CHUNK

        var = self._variable(name, ("time", "site"), "series")
        chunk = CHUNK | dict(var.encoding.get("preferred_chunks") or {})
        number = self._positions[columns] // int(chunk["site"])
        order = np.argsort(number, kind="stable")
        return int(chunk["time"]), np.split(order, np.flatnonzero(np.diff(number[order])) + 1)

    def series(self, name: str, window: slice, columns: np.ndarray) -> np.ndarray:
        """Return any series [T, B] float32 as the store has it."""
        return self._read(name, window, columns)

    def attribute(self, name: str, train: np.ndarray) -> np.ndarray:
        """Return an attribute of all selected sites, float32 [N], without NaN.

        Parameters
        ----------
        train
            Which sites are training sites, bool [N]; a missing value may become their mean.
        """
        if name not in self._attributes:
            values = fill_attribute(
                self._raw_attribute(name),
                name=name,
                sites=self.sites,
                policy=self._obs.attribute_fill,
                train=train,
                where=f"{self.where}; observations.attribute_fill: {self._obs.attribute_fill}",
            )
            stored = self._store_unit(name)
            if stored and name in self._wanted:
                values = convert_variable(values, name, stored, self._wanted[name], where=self.where)
            self._attributes[name] = values
        return self._attributes[name]

    def _raw_attribute(self, name: str) -> np.ndarray:
        var = self._variable(name, ("site",), "attribute")
        return mask_sentinels(var.values[self._positions].astype(np.float32))

    def area(self, columns: np.ndarray) -> np.ndarray:
        """Return the areas of sites in km², float64.

        Raises
        ------
        DataError
            If no attribute is named, or an area is not positive.
        """
        name = self._obs.area_name
        if not name:
            raise DataError(
                "the conversion between a discharge and a depth of water needs the area of each site",
                where="observations.area_name",
                hint="name the attribute that has it in km²",
            )
        return self.positive_attribute(name, "km2", columns)

    def positive_attribute(self, name: str, unit: str, columns: np.ndarray) -> np.ndarray:
        """Return an attribute of some sites in a unit, positive everywhere; else as `known_attribute`."""
        values = self._attribute_in(name, unit, columns)
        self._require(values > 0, name, columns, "missing or not positive")
        return values

    def known_attribute(self, name: str, unit: str, columns: np.ndarray) -> np.ndarray:
        """Return an attribute of some sites in a unit (which it has if the store names none), float64 [B].

        Raises
        ------
        DataError
            If a value is missing; names the sites.
        """
        values = self._attribute_in(name, unit, columns)
        self._require(np.isfinite(values), name, columns, "missing")
        return values

    def _attribute_in(self, name: str, unit: str, columns: np.ndarray) -> np.ndarray:
        values = self._raw_attribute(name)[columns].astype(np.float64)
        stored = self._store_unit(name)
        return convert_variable(values, name, stored, unit, where=self.where) if stored else values

    def _require(self, good: np.ndarray, name: str, columns: np.ndarray, fault: str) -> None:
        if not good.all():
            bad = [self.sites[i] for i in columns[~good]]
            more = f" and {len(bad) - 10} more" if len(bad) > 10 else ""
            raise DataError(
                f"'{name}' is {fault} at {', '.join(bad[:10])}{more}",
                where=self.where,
                hint="correct the store, or leave these sites out (observations.subset_path)",
            )

    def was_discharge(self, name: str) -> bool:
        """Whether a variable is a volume per time in the store."""
        unit = self._target_unit(name) if name in self else None
        return bool(unit) and parse_unit(unit).dimensionality == parse_unit("m3 s-1").dimensionality

    def unit_of(self, name: str) -> str:
        """Return the unit of a variable as it is returned; empty where nobody names one."""
        if name in FLOWS or self.was_discharge(name):
            return unit_text(self._wanted.get(name, FLOW_UNIT))
        stored = self._store_unit(name)
        if name in self._wanted:
            resolve_unit(name, stored, where=self.where)
            return unit_text(self._wanted[name])
        return unit_text(stored) if stored else ""

    def _target_unit(self, name: str) -> str | None:
        """Unit of a target in the store; ``target_unit`` speaks for a flow without one."""
        stored = self._store_unit(name)
        if stored or name not in FLOWS:
            return stored
        return resolve_unit(name, None, self._obs.target_unit, self.where)

    def _store_unit(self, name: str) -> str | None:
        text = str(self._store[name].attrs.get("units", "")).strip() if name in self else ""
        return text or None

    def _read(self, name: str, window: slice, columns: np.ndarray) -> np.ndarray:
        var = self._variable(name, ("time", "site"), "series")
        wanted = self._positions[columns]
        rows = slice(window.start + self._first, window.stop + self._first)
        # Stores read what lies together quickly, increasing positions less so, and others slowly.
        together = len(wanted) > 0 and np.array_equal(wanted, np.arange(wanted[0], wanted[0] + len(wanted)))
        order = np.argsort(wanted)
        chosen = slice(int(wanted[0]), int(wanted[0]) + len(wanted)) if together else wanted[order]
        try:
            values = np.asarray(var[rows, chosen].values, dtype=np.float32)
        except Exception as error:  # each format and each compressor raises what it likes
            raise DataError(
                f"'{name}' cannot be read: {type(error).__name__}: {error}",
                where=self.where,
                hint="the store is damaged or incomplete: make it again",
            ) from error
        if together:
            return values
        result = np.empty_like(values)
        result[:, order] = values
        return result

    def _variable(self, name: str, dims: tuple[str, ...], kind: str) -> xr.DataArray:
        found = [str(n) for n, var in self._store.data_vars.items() if var.dims == dims]
        if name not in found:
            text = f"the data have no {kind} '{name}'"
            if name in self:
                text += f"; there is a variable of that name over ({', '.join(map(str, self._store[name].dims))})"
            raise DataError(text, where=self.where, hint=did_you_mean(name, found))
        return self._store[name]

    def _select(self, known: list[str]) -> np.ndarray:
        """Return the positions of the sites to use in the store, in the order in which they are listed."""
        listed = self._obs.subset_path or self._obs.gage_info
        if not listed:
            return np.arange(len(known))
        if not Path(listed).expanduser().is_file():
            raise DataError(
                f"no such list of sites: {listed}",
                where="observations.subset_path" if self._obs.subset_path else "observations.gage_info",
                hint="leave it out to use every site of the store",
            )
        return match_sites(read_site_list(listed), known, what=self.where, where=listed)

    def _record(self) -> tuple[int, np.ndarray]:
        """Return the part of the time axis between ``observations.start_time`` and ``end_time``, and its start."""
        times = self._store["time"].values
        begin, stop = 0, len(times)
        start, end = self._obs.start_time, self._obs.end_time
        if start:
            begin = int(np.searchsorted(times, as_span(start, start)[0]))
        if end:
            stop = int(np.searchsorted(times, as_span(end, end)[1]))
        if begin >= stop:
            raise DataError(
                f"the store covers {str(times[0])[:10]} to {str(times[-1])[:10]}, nothing of the record from "
                f"{start} to {end}",
                where=self.where,
                hint="correct observations.start_time and end_time, or leave them out",
            )
        return begin, times[begin:stop]

    def _sample_options(self) -> dict[str, Any]:
        return {} if self._obs.sample is None else self._obs.sample.model_dump()

    def _open(self) -> xr.Dataset:
        from dmg.core.data.dataset import canonical, open_dataset
        from dmg.core.data.unit_groups import is_unit_group, open_unit_group
        from dmg.registry import samples

        path = self._obs.data_path
        if path and is_unit_group(path):
            units = open_unit_group(path, self._obs.subbasin_id_name, self._obs.start_time)
            return canonical(units, where=path, require_units=False, cast=False)
        if path:
            return open_dataset(path)
        if self._obs.name in samples:
            return samples.get(self._obs.name)(**self._sample_options())
        raise DataError(
            f"the data set '{self._obs.name}' has no store",
            where="observations.data_path",
            hint="give one: observations.data_path=STORE.nc (`dmg data --help` says how to make one); "
            f"without a file there are: {', '.join(samples.names())}",
        )


def _as_store(dataset: xr.Dataset) -> xr.Dataset:
    from dmg.core.data.dataset import canonical

    return canonical(dataset, require_units=False, cast=False)


class _Units:
    """Units by name, looked up when they are asked for."""

    def __init__(self, data: SiteData) -> None:
        self._data = data

    def __getitem__(self, name: str) -> str:
        return self._data.unit_of(name)

    def get(self, name: str) -> str:
        """Return the unit of a variable; empty if there is no such variable."""
        return self._data.unit_of(name) if name in self._data else ""


def _declared_units(config: Config) -> dict[str, str]:
    """Units of forcings, attributes and targets as the process model declares them."""
    from dmg.registry import process_models

    units: dict[str, str] = {}
    for name in config.model.phy.name if config.model.phy else ():
        model = process_models.get(name)
        units |= getattr(model, "derived_units", {})
        for declared in (
            *getattr(model, "fluxes", ()),
            *getattr(model, "forcings", ()),
            *getattr(model, "attributes", ()),
        ):
            if declared.unit:
                units[declared.name] = declared.unit
    return units
