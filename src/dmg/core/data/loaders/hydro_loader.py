"""Loader of canonical datasets of basins: forcings, attributes and targets by name, in the units that are needed."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from dmg.conf.observations import GEOGRAPHY
from dmg.core.data.batch import Batch
from dmg.core.data.holdout import mark_held_out
from dmg.core.data.lazy_series import BlockCache, LazySeries, ReadBlock
from dmg.core.data.loaders.base import BaseLoader
from dmg.core.data.loaders.site_data import FLOWS, PRECIPITATION, SiteData
from dmg.core.data.mask import read_mask
from dmg.core.data.normalisation import FILE_NAME, Normalisation
from dmg.core.data.quantity import conversion
from dmg.core.data.target_scale import TargetScale
from dmg.core.data.time_window import locate_period
from dmg.core.data.trained_statistics import trained_statistics
from dmg.errors import ConfigError, DataError
from dmg.registry import loaders

if TYPE_CHECKING:
    import xarray as xr

    from dmg.conf.period import Period

logger = logging.getLogger(__name__)

ReadTarget = Callable[[slice, np.ndarray], dict[str, torch.Tensor]]


@loaders.register("HydroLoader")
class HydroLoader(BaseLoader):
    """Batches of basins from a canonical store or the embedded sample.

    Variables are matched by name and sites by id, in the order of the subset file. Statistics of the normalisation
    come from the training sites and the training period, whatever the mode; they are read from
    ``pretrained_model_dir`` or ``model_dir`` where a model was trained already. ``x_phy`` and ``x_nn`` have no NaN;
    the target keeps NaN where nothing was observed. Flow targets have the unit that the process model declares for
    them, mm/d without one. Where ``observations`` names the attributes, batches have ``ac_all`` (area that drains
    through a site, km²), ``areas`` (its own, km²) and ``elev_all`` (mean elevation, m).

    A pure network with ``flow_regime`` is trained on normalised targets: divided by mean precipitation (where
    ``observations.prcp_mean_name`` names it), for ``low`` on the scale log10(√q + 0.1), then mean 0 and std 1.
    Datasets to evaluate hold physical targets, and two functions with them: ``denorm_fn`` brings predictions, and
    ``obs_convert_fn`` observations, to physical values in ``model.output_unit``.

    Parameters
    ----------
    config
        Configuration, as dict or ``Config``.
    test_split
        Kept for published code; every dataset is there in every mode, and read when it is first asked for.
    overwrite
        Take the statistics anew, even if there is a file of them.
    holdout_index
        Fold of a spatial test, counted from 0; by default ``test.holdout_index``.
    store
        A canonical dataset to read instead of what ``observations`` names.
    """

    def __init__(
        self,
        config: Any,
        test_split: bool = False,
        overwrite: bool = False,
        holdout_index: int | None = None,
        store: xr.Dataset | None = None,
    ) -> None:
        from dmg.conf.config import as_config

        del test_split
        self.config = as_config(config)
        self.overwrite = overwrite
        self._fold = self.config.test.holdout_index if holdout_index is None else holdout_index
        self.data = SiteData(self.config, store)
        self.sites = self.data.sites
        self.holdout = mark_held_out(self.config, self.sites, self._fold)
        self._train_columns = np.flatnonzero(~self.holdout)
        self._targets = tuple(self.config.train.target)
        self._last_read: tuple[Any, dict[str, np.ndarray]] | None = None

    # Datasets.

    def build_dataset(self) -> Batch:
        """Read all sites over exactly the period of ``mode``."""
        first, last = self.config.experiment_time
        window, _ = locate_period(self.data.times, first, last, name=self.config.mode, where=self.data.where)
        return self._evaluation(window, np.arange(len(self.sites)), None, needs_target=self.config.mode != "sim")

    def build_train_dataset(self) -> Batch:
        """Read the training sites over the training period, warm-up before it."""
        window, _ = self._locate("train", self.config.train, self.config.model.warmup)
        self._require_room(window)
        batch = self._dataset(window, self._train_columns, self._training_target)
        self._require_observations(batch["target"])
        self.save_normalisation()
        return batch

    def build_eval_dataset(self) -> Batch:
        """Read the sites to evaluate over the test period (in mode ``sim`` the simulation period)."""
        sim = self.config.mode == "sim"
        inside = not sim and self.config.test.warmup == "inside"
        lead = 0 if inside else self.config.model.warmup
        name, period = ("sim", self.config.sim) if sim else ("test", self.config.test)
        window, got = self._locate(name, period, lead)
        if got < lead:
            logger.warning(
                "the record begins %d steps before the %s period: its first %d steps are warm-up and not scored",
                got,
                name,
                lead - got,
            )
        columns = np.arange(len(self.sites)) if self._fold is None else np.flatnonzero(self.holdout)
        return self._evaluation(window, columns, None if sim else "test", needs_target=not sim)

    @cached_property
    def valid_dataset(self) -> Batch | None:
        """Training sites over the validation period, warm-up before it; None without a block ``valid``."""
        if self.config.valid is None:
            return None
        window, _ = self._locate("valid", self.config.valid, self.config.model.warmup)
        return self._evaluation(window, self._train_columns, "valid", needs_target=True)

    def inputs(self, window: slice, columns: np.ndarray) -> Batch:
        """Return what the models see of some sites (positions) over a part of the record, without targets."""
        return self._dataset(window, columns, None)

    def is_flow(self, name: str) -> bool:
        """Whether a variable is the flow of a basin, which has a unit of output."""
        return name in FLOWS or self.data.was_discharge(name)

    def fingerprint(self) -> str:
        """Return a hash of the data that the mode uses: names, units, sites, times, values."""
        used = {"train": ("train_dataset",), "train_test": ("train_dataset", "eval_dataset")}
        digest = hashlib.sha256()
        for name in used.get(self.config.mode, ("eval_dataset",)):
            digest.update(getattr(self, name).fingerprint().encode())
        return digest.hexdigest()

    # Normalisation.

    @cached_property
    def normalisation(self) -> Normalisation:
        """Statistics of inputs, and of targets where they are normalised; `train_dataset` saves them."""
        names = [*self._inputs, *(self._targets if self._normalises_target else ())]
        about = self._about()
        found = None if self.overwrite else trained_statistics(self.config, names, self._log, self.data.units, about)
        return found or self._fit(about)

    def save_normalisation(self) -> None:
        """Write the statistics beside the weights of a training, those of a pretrained model as well."""
        if "train" in self.config.mode and self.config.model_dir:
            self.normalisation.save(Path(self.config.model_dir) / FILE_NAME)

    def _fit(self, about: dict[str, Any]) -> Normalisation:
        window, lead = self._locate("train", self.config.train, self.config.model.warmup)
        columns = self._train_columns
        if self._is_large(window, columns):
            scored, lead = slice(window.start + lead, window.stop), 0
            parts = [
                (slice(scored.start + steps.start, scored.start + steps.stop), columns[places])
                for steps, places in self._blocks(scored, columns, {}).windows()
            ]
        else:
            parts = [(window, columns)]
            self._forcings(window, columns)  # read once, for the statistics and for the dataset
        values: dict[str, Iterable[np.ndarray]] = {
            name: self._training_forcing(name, parts, lead, window) for name in self.config.model.nn.forcings
        }
        values |= {name: [self._attribute(name)[columns]] for name in self.config.model.nn.attributes}
        if self._normalises_target:
            values |= {name: self._training_flow(name, parts, lead) for name in self._targets}
        return Normalisation.fit(values, log=self._log, about=about)

    def _training_forcing(
        self, name: str, parts: Sequence[tuple[slice, np.ndarray]], lead: int, period: slice
    ) -> Iterator[np.ndarray]:
        """Yield a forcing part by part; what is masked in training takes no part in its statistics either."""
        for window, columns in parts:
            mask = self._mask(window, columns, "train")
            yield _masked(self._forcing(name, window, columns, period), mask)[lead:]

    def _training_flow(self, name: str, parts: Sequence[tuple[slice, np.ndarray]], lead: int) -> Iterator[np.ndarray]:
        """Yield a target part by part, divided as it is before it is normalised."""
        for window, columns in parts:
            scale = TargetScale(self._targets, divisors=self._divisors(columns))
            series = self._target(window, columns, "train")[name][lead:].astype(np.float64)
            series = scale.inverse(series, name)
            yield np.maximum(series, 0.0) if name in self._log else series

    def _about(self) -> dict[str, Any]:
        training = [self.sites[i] for i in self._train_columns]
        names = [*self._inputs, *self._targets]
        return {
            "period": self.config.train.span,
            "sites": len(training),
            "sites_sha256": hashlib.sha256("\n".join(sorted(training)).encode()).hexdigest(),
            "store": self.data.describe(),
            "units": {name: self.data.units[name] for name in names if self.data.units.get(name)},
            "log": sorted(self._log),
            **self._about_mask(),
        }

    def _about_mask(self) -> dict[str, str]:
        """Return what identifies the observations that a mask leaves to the training; nothing without a mask."""
        if not self.config.train.mask:
            # A trained model is used with data that need not have the training period.
            return {}
        window, _ = self._locate("train", self.config.train, 0)
        mask = self._mask(window, self._train_columns, "train")
        return {"mask_sha256": hashlib.sha256(np.packbits(mask).tobytes()).hexdigest()}

    @property
    def _inputs(self) -> list[str]:
        return [*self.config.model.nn.forcings, *self.config.model.nn.attributes]

    @property
    def _normalises_target(self) -> bool:
        return self.config.model.phy is None and self.config.model.flow_regime is not None

    @property
    def _log(self) -> set[str]:
        """Variables that are normalised on the scale log10(√x + 0.1)."""
        forcings = set(self.config.model.nn.forcings)
        log = set(self.config.model.use_log_norm) & forcings
        if self._normalises_target and self.config.model.flow_regime == "low":
            log |= (forcings & PRECIPITATION) | {name for name in self._targets if self.is_flow(name)}
        return log

    # Parts of a dataset.

    def _evaluation(self, window: slice, columns: np.ndarray, block: str | None, needs_target: bool) -> Batch:
        def observed(window: slice, columns: np.ndarray) -> dict[str, torch.Tensor]:
            return {"target": _stack(self._target(window, columns, block), self._targets)}

        extra: dict[str, Any] = {}
        factors = self._output_factors(columns)
        units = {n: self.config.model.output_unit if self.is_flow(n) else self.data.units.get(n) for n in self._targets}
        convert = TargetScale(self._targets, factors, units=units)
        extra["obs_convert_fn"] = extra["denorm_fn"] = convert
        if self._normalises_target:
            extra["denorm_fn"] = TargetScale(self._targets, factors, self._divisors(columns), self.normalisation, units)
        known = needs_target or all(name in self.data for name in self._targets)
        return self._dataset(window, columns, observed if known else None, extra)

    def _dataset(
        self, window: slice, columns: np.ndarray, target: ReadTarget | None, extra: dict[str, Any] | None = None
    ) -> Batch:
        """Return a dataset in memory, or one that is read by block where it is larger than memory may be."""
        if self._is_large(window, columns):
            timed: dict[str, Any] = self._lazily(window, columns, target)
        else:
            observed = target(window, columns) if target else {}
            timed = self._timed(window, columns) | observed
        return self._described(window, columns, timed | (extra or {}))

    def _is_large(self, window: slice, columns: np.ndarray) -> bool:
        limit = self.config.observations.max_memory
        size = 4 * (window.stop - window.start) * len(columns) * sum(self._widths(True).values())
        return limit is not None and size > limit * 1e9

    def _widths(self, target: bool) -> dict[str, int]:
        """Return the number of variables of every series of a dataset."""
        nn, phy = self.config.model.nn, self.config.model.phy
        raw = {"x_phy": list(phy.forcings) if phy else [], "x_nn": list(nn.forcings)}
        widths = {"x_phy": len(raw["x_phy"]), "x_nn_norm": len(raw["x_nn"])}
        widths |= {} if raw["x_phy"] == raw["x_nn"] else {"x_nn": len(raw["x_nn"])}
        return widths | ({"target": len(self._targets)} if target else {})

    def _lazily(self, window: slice, columns: np.ndarray, target: ReadTarget | None) -> dict[str, LazySeries]:
        """Return the series of a dataset, to be read by block."""
        widths = self._widths(target is not None)

        def read(steps: slice, places: np.ndarray) -> dict[str, np.ndarray]:
            part = slice(window.start + steps.start, window.start + steps.stop)
            found = self._timed(part, columns[places], window) | (target(part, columns[places]) if target else {})
            return {key: found[key].numpy() for key in widths}

        blocks = self._blocks(window, columns, widths, read)
        found = {key: LazySeries(blocks, key) for key in widths}
        logger.info("the dataset is larger than observations.max_memory and is read by block")
        return {"x_nn": found["x_phy"]} | found

    def _blocks(
        self, window: slice, columns: np.ndarray, widths: dict[str, int], read: ReadBlock | None = None
    ) -> BlockCache:
        steps, groups = self.data.blocks(self.config.model.nn.forcings[0], columns)
        return BlockCache(
            read,
            n_times=window.stop - window.start,
            groups=groups,
            steps=steps,
            widths=widths or self._widths(True),
            max_bytes=(self.config.observations.max_memory or 0) * 1e9,
        )

    def _timed(self, window: slice, columns: np.ndarray, period: slice | None = None) -> dict[str, torch.Tensor]:
        """Return the forcings, raw and normalised, of a part of a period."""
        nn, phy = self.config.model.nn, self.config.model.phy
        series = self._forcings(window, columns, period)
        raw = {"x_phy": list(phy.forcings) if phy else [], "x_nn": list(nn.forcings)}
        values = {"x_phy": _stack(series, raw["x_phy"], window, columns)}
        same = raw["x_phy"] == raw["x_nn"]
        values["x_nn"] = values["x_phy"] if same else _stack(series, raw["x_nn"], window, columns)
        normalised = {name: self.normalisation.apply(name, series[name]) for name in nn.forcings}
        values["x_nn_norm"] = _stack(normalised, raw["x_nn"], window, columns)
        return values

    def _training_target(self, window: slice, columns: np.ndarray) -> dict[str, torch.Tensor]:
        return {"target": _stack(self._scaled(self._target(window, columns, "train"), columns), self._targets)}

    def _described(self, window: slice, columns: np.ndarray, values: dict[str, Any]) -> Batch:
        """Return series as a batch, with the attributes of the sites, and what everything is called."""
        nn, phy = self.config.model.nn, self.config.model.phy
        phy_forcings, phy_attributes = (phy.forcings, phy.attributes) if phy else ([], [])
        norm = self.normalisation
        raw = {"x_phy": list(phy_forcings), "x_nn": list(nn.forcings)}
        values = dict(values)
        attributes = {name: self._attribute(name)[columns] for name in dict.fromkeys([*phy_attributes, *nn.attributes])}
        values["c_phy"] = _rows(attributes, phy_attributes, columns)
        values["c_nn"] = _rows(attributes, nn.attributes, columns)
        values["c_nn_norm"] = _rows({n: norm.apply(n, attributes[n]) for n in nn.attributes}, nn.attributes, columns)
        values |= self._geography(columns)
        names = raw | {"x_nn_norm": nn.forcings, "c_phy": phy_attributes, "c_nn": nn.attributes}
        names |= {"c_nn_norm": nn.attributes, "target": self._targets}
        return Batch(
            values,
            sites=[self.sites[i] for i in columns],
            times=self.data.times[window],
            names=names,
            units={n: self.data.units[n] for group in names.values() for n in group if n in self.data},
            holdout=self.holdout[columns] if self.holdout.any() else None,
        )

    def _geography(self, columns: np.ndarray) -> dict[str, torch.Tensor]:
        """Return areas, elevations and reaches of sites [B], as far as the configuration names them."""
        named = {key: getattr(self.config.observations, option) for key, option in GEOGRAPHY.items()}
        positive = {"ac_all": "km2", "areas": "km2", "reach_length": "m", "reach_slope": "1"}
        found = {}
        for key in (key for key in positive if named[key]):
            found[key] = self.data.positive_attribute(named[key], positive[key], columns)
        if named["elev_all"]:
            found["elev_all"] = self.data.known_attribute(named["elev_all"], "m", columns)
        return {key: torch.from_numpy(values.astype(np.float32)) for key, values in found.items()}

    def _forcings(self, window: slice, columns: np.ndarray, period: slice | None = None) -> dict[str, np.ndarray]:
        key = (window.start, window.stop, columns.tobytes())
        if self._last_read is None or self._last_read[0] != key:
            phy = self.config.model.phy
            names = dict.fromkeys([*self.config.model.nn.forcings, *(phy.forcings if phy else ())])
            self._last_read = key, {name: self.data.forcing(name, window, columns, period) for name in names}
        return self._last_read[1]

    def _forcing(self, name: str, window: slice, columns: np.ndarray, period: slice) -> np.ndarray:
        """Return one forcing, from what was read last if it is that."""
        if self._last_read is not None and self._last_read[0] == (window.start, window.stop, columns.tobytes()):
            return self._last_read[1][name]
        return self.data.forcing(name, window, columns, period)

    def _target(self, window: slice, columns: np.ndarray, block: str | None) -> dict[str, np.ndarray]:
        """Return the targets [T, B] as the mask of a period (``train``, ``valid`` or ``test``) leaves them."""
        mask = self._mask(window, columns, block)
        return {name: _masked(self.data.target(name, window, columns), mask) for name in self._targets}

    def _mask(self, window: slice, columns: np.ndarray, block: str | None) -> np.ndarray | None:
        """Return which observations of a period count, bool [T, B]; None for all of them."""
        source = getattr(self.config, block).mask if block else None
        mask = read_mask(source, self.data, window, columns, f"{block}.mask") if source else None
        if block == "train" and mask is not None and not mask.any():
            raise DataError(
                f"the mask leaves no step from {self.config.train.start_time} to {self.config.train.end_time}",
                where=f"train.mask: {source}",
                hint="check its periods and the dates of the training",
            )
        return mask

    def _scaled(self, target: dict[str, np.ndarray], columns: np.ndarray) -> dict[str, np.ndarray]:
        if not self._normalises_target:
            return target
        scale = TargetScale(self._targets, divisors=self._divisors(columns), normalisation=self.normalisation)
        return {name: scale.inverse(series, name) for name, series in target.items()}

    def _attribute(self, name: str) -> np.ndarray:
        return self.data.attribute(name, ~self.holdout)

    def _divisors(self, columns: np.ndarray) -> dict[str, np.ndarray]:
        """Mean precipitation that flow targets of a pure network are divided by, where it is named."""
        name = self.config.observations.prcp_mean_name
        flows = [target for target in self._targets if self.is_flow(target)]
        if not name or not flows or not self._normalises_target:
            return {}
        mean = self.data.positive_attribute(name, "mm d-1", columns)
        return dict.fromkeys(flows, mean)

    def _output_factors(self, columns: np.ndarray) -> dict[str, np.ndarray]:
        factors = {}
        for target in filter(self.is_flow, self._targets):
            step = conversion(self.data.units[target], self.config.model.output_unit)
            if step.scale != 1.0 or step.needs_area:
                area = self.data.area(columns) if step.needs_area else None
                factors[target] = step(np.ones(len(columns)), area)
        return factors

    def _locate(self, name: str, period: Period, lead: int) -> tuple[slice, int]:
        return locate_period(
            self.data.times, period.start_time, period.end_time, name=name, lead=lead, where=self.data.where
        )

    def _require_room(self, window: slice) -> None:
        """Refuse a training record that is shorter than one window and its warm-up."""
        rho, warmup, steps = self.config.model.rho, self.config.model.warmup, window.stop - window.start
        if rho + warmup > steps:
            times = self.data.times
            hours = (times[1] - times[0]) / np.timedelta64(1, "h") if len(times) > 1 else 24.0
            raise ConfigError(
                f"a training window of model.warmup {warmup} + model.rho {rho} = {rho + warmup} steps does not fit "
                f"into the {steps} steps of {hours:g} h from {str(times[window.start])[:16]} to "
                f"{self.config.train.end_time}",
                where=self.data.where,
                hint="shorten model.rho or model.warmup, or lengthen train.start_time … train.end_time",
            )

    def _require_observations(self, target: torch.Tensor | LazySeries) -> None:
        """Refuse a training period in which a target was observed nowhere; of a large one the sampler says it."""
        for k, name in enumerate(self._targets if isinstance(target, torch.Tensor) else ()):
            series = target[..., k]
            if torch.isnan(series).all():
                raise DataError(
                    f"'{name}' has no observation from {self.config.train.start_time} to {self.config.train.end_time} "
                    f"at any of the {series.shape[1]} training sites",
                    where=self.data.where,
                    hint="check the dates, train.mask, and the missing-value marks of the target "
                    "(`dmg data info STORE`)",
                )


def _masked(series: np.ndarray, mask: np.ndarray | None) -> np.ndarray:
    return series if mask is None else np.where(mask, series, np.float32(np.nan))


def _stack(
    series: dict[str, np.ndarray],
    names: Sequence[str],
    window: slice | None = None,
    columns: np.ndarray | None = None,
) -> torch.Tensor:
    """Return [T, B, len(names)] float32."""
    if not names:
        return torch.empty((window.stop - window.start, len(columns), 0))
    first = series[names[0]]
    joined = np.empty((*first.shape, len(names)), dtype=np.float32)
    for k, name in enumerate(names):
        joined[..., k] = series[name]
    return torch.from_numpy(joined)


def _rows(attributes: dict[str, np.ndarray], names: Sequence[str], columns: np.ndarray) -> torch.Tensor:
    """Return [B, len(names)] float32."""
    joined = np.empty((len(columns), len(names)), dtype=np.float32)
    for k, name in enumerate(names):
        joined[:, k] = attributes[name]
    return torch.from_numpy(joined)
