"""Loader of unit basins and of the gauges that they drain to."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from dmg.core.data.batch import Batch
from dmg.core.data.catchments import Catchments
from dmg.core.data.gauge_network import GaugeNetwork
from dmg.core.data.loaders.base import BaseLoader
from dmg.core.data.loaders.changed import changed
from dmg.core.data.loaders.hydro_loader import HydroLoader
from dmg.core.data.loaders.site_data import SiteData
from dmg.core.data.mask import read_mask
from dmg.core.data.quantity import conversion
from dmg.core.data.target_scale import TargetScale
from dmg.core.data.time_window import locate_period
from dmg.core.utils.river_network import positions
from dmg.errors import ConfigError, DataError
from dmg.registry import loaders

if TYPE_CHECKING:
    import xarray as xr

    from dmg.conf.period import Period


@loaders.register("MsHydroLoader")
class MsHydroLoader(BaseLoader):
    """Gauges whose catchments are sets of unit basins, and the units themselves.

    The store has the units as sites: their forcings and attributes. The flow observed at gauges comes from
    ``observations.gauge_path``, a store whose sites are the gauges, or else from the store itself, at the units where
    gauges stand; as a depth it is that over the units above the gauge. ``observations.topology_path`` says which unit
    drains into which. Datasets to train on and to evaluate have the gauges as sites, the ``target``, and ``upstream``
    (`Catchments`); in mode ``sim`` they have all the units as sites, and no target.

    A store larger than ``observations.max_memory`` is read by block. Statistics of the normalisation are those of the
    units above training gauges, over the training period.

    Parameters
    ----------
    config
        Configuration, as dict or ``Config``.
    test_split, overwrite, store
        As for `HydroLoader`.
    holdout_index
        Not for units of a river network: held-out gauges are listed in ``test.holdout_sites``.
    gauges
        A canonical dataset of gauges to read instead of what ``observations.gauge_path`` names.
    """

    units_apart = True

    def __init__(
        self,
        config: Any,
        test_split: bool = False,
        overwrite: bool = False,
        holdout_index: int | None = None,
        store: xr.Dataset | None = None,
        gauges: xr.Dataset | None = None,
    ) -> None:
        from dmg.conf.config import as_config

        del test_split
        self.config = config = as_config(config)
        if config.test.type == "spatial" or holdout_index is not None:
            raise ConfigError(
                "a fold of a spatial test is a group of sites, and here sites are units of a river network",
                where="test.type",
                hint="list the gauges to hold out in test.holdout_sites",
            )
        # Held-out sites and masks speak of gauges.
        of_units = changed(config, test={"holdout_sites": None, "mask": None}, train={"mask": None})
        self.units = HydroLoader(of_units, overwrite=overwrite, store=store)
        self.data, self.sites = self.units.data, self.units.sites
        self._targets = tuple(config.train.target)
        self.network: GaugeNetwork | None = None
        if config.mode == "sim" and not (config.observations.topology_path and config.test.holdout_sites):
            self.holdout = np.zeros(len(self.sites), dtype=bool)  # of gauges that nobody looks at
            return
        path = config.observations.gauge_path
        self.observed = self.data
        if path is not None or gauges is not None:
            of_gauges = {"data_path": path, "subset_path": None, "gage_info": None, "area_name": None}
            self.observed = SiteData(changed(config, observations=of_gauges), gauges)
        self.network = self._network(at_units=self.observed is self.data)
        self.holdout, unseen = self.network.hold_out(config.test.holdout_sites, config.seed or 0)
        if unseen:
            of_units = changed(of_units, test={"holdout_sites": unseen})
            self.units = HydroLoader(of_units, overwrite=overwrite, store=store)

    @property
    def normalisation(self) -> Any:
        """Statistics of the inputs of units."""
        return self.units.normalisation

    def build_dataset(self) -> Batch:
        """Read exactly the period of ``mode``: gauges, or in mode ``sim`` all units."""
        first, last = self.config.experiment_time
        window, _ = locate_period(self.data.times, first, last, name=self.config.mode, where=self.data.where)
        return self._of_units(window) if self.config.mode == "sim" else self._of_gauges(window, None, self._every)

    def build_train_dataset(self) -> Batch:
        """Read the training gauges over the training period, warm-up before it."""
        window = self._locate("train", self.config.train)
        batch = self._of_gauges(window, "train", np.flatnonzero(~self.holdout), scaled=False)
        for k, name in enumerate(self._targets):
            if torch.isnan(batch["target"][..., k]).all():
                raise DataError(
                    f"'{name}' has no observation from {self.config.train.start_time} to {self.config.train.end_time} "
                    f"at any of the {batch.n_sites} training gauges",
                    where=self.observed.where,
                    hint="check the dates and train.mask",
                )
        self.units.save_normalisation()
        return batch

    def build_eval_dataset(self) -> Batch:
        """Read the gauges over the test period, in mode ``sim`` all units over its period, warm-up before it."""
        if self.config.mode == "sim":
            return self._of_units(self._locate("sim", self.config.sim))
        lead = 0 if self.config.test.warmup == "inside" else None
        return self._of_gauges(self._locate("test", self.config.test, lead), "test", self._every)

    @cached_property
    def valid_dataset(self) -> Batch | None:
        """Training gauges over the validation period, warm-up before it; None without a block ``valid``."""
        if self.config.valid is None:
            return None
        window = self._locate("valid", self.config.valid)
        return self._of_gauges(window, "valid", np.flatnonzero(~self.holdout))

    @cached_property
    def areas(self) -> np.ndarray:
        """Area that drains to each gauge, the sum of its units', km² [G]."""
        name = self.config.observations.subbasin_area_name
        if not name:
            raise ConfigError(
                "the flow at a gauge is the mean over its units by area, and nothing says what their areas are",
                where="observations.subbasin_area_name",
                hint="name the attribute with the area of a unit",
            )
        of_units = self.data.positive_attribute(name, "km2", np.arange(len(self.sites)))
        return self.network.rivers.accumulate(of_units)[self.network.outlets]

    @property
    def _every(self) -> np.ndarray:
        return np.arange(len(self.network.gauges))

    def _network(self, at_units: bool) -> GaugeNetwork:
        path = self.config.observations.topology_path
        if path is None:
            raise ConfigError(
                "nothing says which unit drains into which",
                where="observations.topology_path",
                hint="give a JSON graph, a GeoPackage or a NetCDF file; data of basins go with data_loader=HydroLoader",
            )
        network = GaugeNetwork.read(path, self.sites)
        if at_units:
            return network
        there = set(self.observed.sites)
        both = [gauge for gauge in network.gauges if gauge in there]
        if not both:
            raise DataError(
                f"none of the {len(network.gauges)} gauges of the river network has observations",
                where=self.observed.where,
                hint=f"the network has {', '.join(list(network.gauges)[:3])} …, "
                f"the observations {', '.join(self.observed.sites[:3])} …",
            )
        return network.of_gauges(both)

    def _locate(self, name: str, period: Period, lead: int | None = None) -> slice:
        lead = self.config.model.warmup if lead is None else lead
        ends = period.start_time, period.end_time
        return locate_period(self.data.times, *ends, name=name, lead=lead, where=self.data.where)[0]

    def _of_units(self, window: slice) -> Batch:
        return self.units.inputs(window, np.arange(len(self.sites)))

    def _of_gauges(self, window: slice, block: str | None, gauges: np.ndarray, scaled: bool = True) -> Batch:
        """Return gauges (positions) over a part of the record, with the units above them."""
        network, areas = self.network, self.areas[gauges]
        inside = network.rivers.upstream_of(network.outlets[gauges])
        upstream = Catchments(
            self.units.inputs(window, inside),
            network.rivers.subnetwork(inside),
            np.searchsorted(inside, network.outlets[gauges]),
        )
        names = list(network.gauges)
        series = [self._observations(name, window, block, gauges, areas) for name in self._targets]
        values: dict[str, Any] = {
            "target": torch.from_numpy(np.stack(series, axis=-1).astype(np.float32)),
            "upstream": upstream,
        }
        units = {name: self.observed.units[name] for name in self._targets}
        if scaled:
            wanted = {n: self.config.model.output_unit if self.units.is_flow(n) else units[n] for n in self._targets}
            factors = {
                n: conversion(units[n], wanted[n])(np.ones(len(gauges)), areas)
                for n in self._targets
                if wanted[n] != units[n]
            }
            values["obs_convert_fn"] = values["denorm_fn"] = TargetScale(self._targets, factors, units=wanted)
        return Batch(
            values,
            sites=[names[i] for i in gauges],
            times=self.data.times[window],
            names={"target": self._targets},
            units=units,
            holdout=self.holdout[gauges] if self.holdout.any() else None,
        )

    def _observations(
        self, name: str, window: slice, block: str | None, gauges: np.ndarray, areas: np.ndarray
    ) -> np.ndarray:
        """Return what was observed at gauges [T, G], NaN where and when nothing was."""
        ids, times = list(self.network.gauges), self.data.times[window]
        if self.observed is self.data:
            if name not in self.data:
                raise DataError(
                    f"nothing says what '{name}' was at the gauges",
                    where="observations.gauge_path",
                    hint=f"give a store whose sites are the gauges; {self.data.where} has no series '{name}' either",
                )
            columns = self.network.outlets[gauges]
        else:
            columns = positions([ids[i] for i in gauges], self.observed.sites)
        own, step = self.observed.times, self.data.times[1] - self.data.times[0]
        first, stop = (int(np.searchsorted(own, moment)) for moment in (times[0], times[-1] + step))
        found = np.full((len(times), len(gauges)), np.nan, dtype=np.float32)
        if first >= stop:
            return found
        part = slice(first, stop)
        if not np.isin(own[part], times).all() or (len(own) > 1 and own[1] - own[0] != step):
            raise DataError(
                f"the time steps of the gauges, {' and '.join(str(t)[:16] for t in own[part][:2])} …, are not those of "
                f"the units, {' and '.join(str(t)[:16] for t in times[:2])} …",
                where=self.observed.where,
                hint="average the observations over the time steps of the units, and date them as these are",
            )
        values = self.observed.target(name, part, columns, areas)
        source = getattr(self.config, block).mask if block else None
        if source:
            values = np.where(read_mask(source, self.observed, part, columns, f"{block}.mask"), values, np.nan)
        found[np.searchsorted(times, own[part])] = values
        return found
