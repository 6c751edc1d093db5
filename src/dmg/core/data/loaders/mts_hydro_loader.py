"""Loader of hourly data for models that run days first and hours after them."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from dmg.core.data.batch import Batch
from dmg.core.data.gauge_network import GaugeNetwork
from dmg.core.data.loaders.base import BaseLoader
from dmg.core.data.loaders.changed import changed
from dmg.core.data.loaders.hydro_loader import HydroLoader
from dmg.core.data.upstream import HOURS, Upstream
from dmg.core.utils.path_weighted_agg import PathWeightedAgg
from dmg.core.utils.river_network import positions
from dmg.errors import ConfigError, DataError
from dmg.registry import loaders, process_models

if TYPE_CHECKING:
    import xarray as xr


@loaders.register("MtsHydroLoader")
class MtsHydroLoader(BaseLoader):
    """Gauges on an hourly axis, with the hours of the units above them and the days before the hours.

    The store is hourly. Two `HydroLoader` read it: one as it is, one its daily means, each with units and statistics of
    its own (those of the days lie in ``model/daily``). Datasets have the gauges as sites, the ``target``, and
    ``upstream`` (`Upstream`). The flow observed at a gauge is stored at the unit where it stands; without
    ``observations.topology_path`` every site is a unit and a gauge at once. Days begin at midnight of the store's time,
    an hour is stamped with its beginning.

    Parameters
    ----------
    config
        Configuration, as dict or ``Config``. ``model.warmup`` and ``model.rho`` are hours,
        ``model.phy.lof_model.warmup`` are the days before them.
    test_split, overwrite, holdout_index, store
        As for `HydroLoader`. Held-out sites are gauges.
    """

    two_time_steps = True

    def __init__(
        self,
        config: Any,
        test_split: bool = False,
        overwrite: bool = False,
        holdout_index: int | None = None,
        store: xr.Dataset | None = None,
    ) -> None:
        from dmg.conf.config import as_config
        from dmg.conf.model import PhyPart

        self.config = config = as_config(config)
        phy = config.model.phy
        low = phy.lof_model or PhyPart()
        self.days = low.warmup
        lead = config.model.warmup + HOURS * self.days
        given = {"overwrite": overwrite, "store": store}
        config = changed(config, observations={"max_memory": None})  # hours and days are joined in memory
        hourly = changed(config, model={"warmup": lead})
        if config.observations.topology_path is None:
            self.hourly = HydroLoader(hourly, test_split, holdout_index=holdout_index, **given)
            self.network = GaugeNetwork.lumped(self.hourly.sites)
            self.holdout = self.hourly.holdout
        else:
            everywhere = HydroLoader(changed(hourly, test={"holdout_sites": None}), test_split, **given)
            self.network = GaugeNetwork.read(config.observations.topology_path, everywhere.sites)
            self.holdout, spared = self._spare_gauges()
            self.hourly = everywhere
            if spared:
                self.hourly = HydroLoader(changed(hourly, test={"holdout_sites": spared}), test_split, **given)
        self.sites, self.data = list(self.network.gauges), self.hourly.data
        _require_hours(self.hourly.data.times, self.hourly.data.where)
        held = [site for site, out in zip(self.hourly.sites, self.hourly.holdout, strict=True) if out]
        daily = process_models.get(phy.name[0]).part_names["lof_model"]
        days = changed(
            config,
            model={"warmup": lead // HOURS, "phy": phy.model_copy(update={"name": low.name or [daily]})},
            observations={"max_gap": config.observations.max_gap // HOURS},
            test={"holdout_sites": held or None, "type": "temporal", "holdout_index": None},
            model_dir=_below(config.model_dir),
            pretrained_model_dir=_below(config.pretrained_model_dir),
        )
        self.daily = HydroLoader(days, overwrite=overwrite, store=self._daily_means())

    def build_dataset(self) -> Batch:
        """Read all gauges over the period of ``mode``; its first days are those before the hours."""
        return self._coupled(self.hourly.dataset)

    def build_train_dataset(self) -> Batch:
        """Read the training gauges over the training period, hours and days of warm-up before it."""
        batch = self._coupled(self.hourly.train_dataset, training=True)
        self.daily.save_normalisation()
        return batch

    def build_eval_dataset(self) -> Batch:
        """Read all gauges over the test period (in mode ``sim`` the simulation period), warm-up before it."""
        return self._coupled(self.hourly.eval_dataset)

    @cached_property
    def valid_dataset(self) -> Batch | None:
        """Training gauges over the validation period, warm-up before it; None without a block ``valid``."""
        read = self.hourly.valid_dataset
        return None if read is None else self._coupled(read, training=True)

    def _coupled(self, units: Batch, training: bool = False) -> Batch:
        """Return the gauges among units that were read, with the days beside their hours."""
        midnight = units.times.astype("datetime64[D]") == units.times
        first = int(np.argmax(midnight)) + HOURS * self.days
        if not midnight.any() or first + self.config.model.warmup >= units.n_times:
            raise DataError(
                f"the record from {units.times[0]} to {units.times[-1]} is not longer than {self.days} days and "
                f"{self.config.model.warmup} hours of warm-up",
                where=self.hourly.data.where,
                hint="shorten model.phy.lof_model.warmup or model.warmup, or choose a later period",
            )
        times = units.times[first:]
        start = int(np.searchsorted(self.daily.data.times, times[0])) - self.days
        window = slice(start, min(start + self.days + -(-len(times) // HOURS), len(self.daily.data.times)))
        daily = self.daily.inputs(window, positions(units.sites, self.hourly.sites))
        known = set(units.sites)
        gauges = {
            gauge: unit
            for (gauge, unit), held in zip(self.network.gauges.items(), self.holdout, strict=True)
            if unit in known and not (training and held)
        }
        units = units.select(times=slice(first, None))
        stored = units.stored()
        observed = {key: stored.pop(key) for key in ("target", "denorm_fn", "obs_convert_fn") if key in stored}
        inputs = Batch(stored, sites=units.sites, times=times, names=units.names, units=units.units)
        about = {"names": {"target": units.names["target"]}, "units": units.units}
        at_gauges = Batch(observed, sites=units.sites, times=times, **about)
        at_gauges = at_gauges.select(sites=positions(list(gauges.values()), units.sites))
        return Batch(
            {**at_gauges.stored(), "upstream": self._upstream(inputs, daily, list(gauges.values()))},
            sites=list(gauges),
            times=times,
            holdout=self.holdout[positions(list(gauges), self.sites)] if self.holdout.any() else None,
            **about,
        )

    def _upstream(self, hourly: Batch, daily: Batch, outlets: list[str]) -> Upstream:
        there = set(hourly.sites)
        edges = [edge for edge in self.network.edges if there.issuperset(edge)]
        areas = hourly.get("areas")
        along = PathWeightedAgg(edges, hourly.sites, outlets, None if areas is None else areas.numpy(), summed=())
        topo = torch.zeros(len(outlets), hourly.n_sites)
        topo[torch.from_numpy(along.outlet), torch.from_numpy(along.unit)] = 1.0
        attributes = hourly["c_nn_norm"].numpy()
        paths = along({str(k): attributes[:, k] for k in range(attributes.shape[1])})
        columns = [torch.from_numpy(values.astype(np.float32)) for values in paths.values()]
        return Upstream(hourly, daily, self.days, topo, torch.stack(columns, dim=-1))

    def _daily_means(self) -> xr.Dataset:
        """Return the store with daily means of the forcings in the place of hours, without days that are not whole."""
        store, phy = self.hourly.data.store, self.config.model.phy
        times = store["time"].values
        first = int(np.argmax(times.astype("datetime64[D]") == times))
        store = store.isel(time=slice(first, first + (len(times) - first) // HOURS * HOURS))
        names = dict.fromkeys([*self.config.model.nn.forcings, *phy.forcings])
        kept = store.drop_vars([n for n, v in store.data_vars.items() if "time" in v.dims and n not in names])
        means = kept.coarsen(time=HOURS, coord_func="min").mean(keep_attrs=True)
        return means.assign({name: kept[name] for name in kept.data_vars if "time" not in kept[name].dims})

    def _spare_gauges(self) -> tuple[np.ndarray, list[str]]:
        """Return which gauges are held out, and the units that drain to no other gauge: training does not see them."""
        test = self.config.test
        if test.type == "spatial":
            raise ConfigError(
                "a fold of a spatial test is a group of sites, and here sites are units of a river network",
                where="test.type",
                hint="list the gauges to hold out in test.holdout_sites",
            )
        held, unseen = self.network.hold_out(test.holdout_sites, self.config.seed or 0)
        return held, unseen if held.any() else []


def _below(folder: str | None) -> str | None:
    return f"{folder}/daily" if folder else None


def _require_hours(times: np.ndarray, where: str) -> None:
    if len(times) < 2 or times[1] - times[0] != np.timedelta64(1, "h"):
        raise DataError(
            "the store is not hourly",
            where=where,
            hint="MtsHydroLoader makes the days itself; daily data go with data_loader=HydroLoader",
        )
