"""Loader of tables: every row is a case of its own, without a time axis."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from dmg.core.data.batch import Batch
from dmg.core.data.holdout import mark_holdout
from dmg.core.data.loaders.base import BaseLoader
from dmg.core.data.normalisation import FILE_NAME, Normalisation, carried_statistics
from dmg.core.data.sample_table import SampleTable, read_samples, sample_table
from dmg.errors import ConfigError, DataError, did_you_mean
from dmg.registry import loaders, networks, process_models, samples

if TYPE_CHECKING:
    import pandas as pd


@loaders.register("TableLoader")
class TableLoader(BaseLoader):
    """Batches of samples from tables; to the models a sample is a site with one time step.

    ``x_phy`` [1, N, F] has what the process models declare, ``c_nn`` and ``c_nn_norm`` [N, A] the numbers that the
    network reads and ``c_category`` [N, C] its categories as positions in their lists, ``target`` [1, N, K] NaN where
    there is no observation. A row without the forcings of the process model can have targets that are parameters.

    Parameters
    ----------
    config
        Configuration, as dict or ``Config``: ``observations.tables``, ``observations.lookups``, ``observations.group``,
        ``test.holdout_sites`` (groups, or samples where there are no groups).
    test_split
        Kept for published code.
    overwrite
        Take the statistics anew, even if there is a file of them.
    store
        A data frame to read instead of what ``observations`` names.
    """

    #: The configuration needs no periods, windows and warm-up.
    timeless: ClassVar[bool] = True
    #: What goes with this loader where the configuration does not say.
    goes_with: ClassVar[dict[str, str]] = {"data_sampler": "TableSampler", "trainer": "TableTrainer"}

    def __init__(
        self, config: Any, test_split: bool = False, overwrite: bool = False, store: pd.DataFrame | None = None
    ) -> None:
        from dmg.conf.config import as_config

        del test_split
        self.config = as_config(config)
        self.overwrite = overwrite
        self.table = self._read(store)
        self.sites = [str(i) for i in self.table.frame.index]
        group = self.config.observations.group
        self.groups = self.table.text(group) if group else None
        self.holdout = self._mark_holdout()
        self._targets = list(self.config.train.target)

    def build_dataset(self) -> Batch:
        """Return all samples."""
        return self._batch(np.ones(len(self.sites), dtype=bool), needs_target=self.config.mode != "sim")

    def build_train_dataset(self) -> Batch:
        """Return the samples that are not held out."""
        batch = self._batch(~self.holdout)
        if bool(batch["target"].isnan().all()):
            raise DataError(f"no sample to train on has {' or '.join(self._targets)}", where=self.table.where)
        if "train" in self.config.mode and self.config.model_dir:
            self.normalisation.save(Path(self.config.model_dir) / FILE_NAME)
        return batch

    def build_eval_dataset(self) -> Batch:
        """Return all samples, those held out marked."""
        return self.dataset

    def fingerprint(self) -> str:
        """Return a hash of the samples that the mode uses."""
        used = self.train_dataset if self.config.mode == "train" else self.dataset
        return hashlib.sha256(used.fingerprint().encode()).hexdigest()

    @cached_property
    def normalisation(self) -> Normalisation:
        """Statistics of the numbers that the network reads, over the samples to train on."""
        training = "train" in self.config.mode
        folder = self.config.pretrained_model_dir or (None if training else self.config.model_dir)
        if folder is None or self.overwrite:
            together = {name: self._together(name) for name in self._numbers}
            return Normalisation.fit(together, log=set(self.config.model.use_log_norm) & set(self._numbers))
        path = Path(folder) / FILE_NAME
        carried = None if path.is_file() else carried_statistics(folder)
        if carried is None and not path.is_file():
            raise DataError(f"there is no {FILE_NAME} with the trained weights", where=str(folder))
        found = Normalisation.parse(carried[0], where=str(carried[1])) if carried else Normalisation.load(path)
        if problems := found.lacks(self._numbers):
            raise DataError("the statistics do not fit: " + "; ".join(problems), where=str(path))
        return found

    @cached_property
    def _numbers(self) -> dict[str, tuple[str, ...]]:
        """Columns of numbers that the network reads, each with those that are normalised together with it."""
        nn = self.config.model.nn
        network = networks.get(nn.name)
        if hasattr(network, "columns"):
            return network.columns(nn.model_dump())
        return {name: (name,) for name in nn.attributes}

    @cached_property
    def _categories(self) -> dict[str, list[str]]:
        """Columns of categories that the network reads, and their values in order."""
        given = self.config.model.nn.arguments.get("categories") or {}
        return {name: [str(value) for value in values] for name, values in given.items()}

    @cached_property
    def _forcings(self) -> dict[str, str]:
        """Forcings of the process models, and their units."""
        phy = self.config.model.phy
        if phy is None:
            return {}
        options = {**phy.model_dump(), **phy.arguments}
        return {f.name: f.unit for name in phy.name for f in process_models.get(name).forcings_for(options)}

    @cached_property
    def _parameters(self) -> set[str]:
        """Names of the parameters of the process models."""
        phy = self.config.model.phy
        return {p.name for name in (phy.name if phy else ()) for p in process_models.get(name).parameter_table}

    def _together(self, name: str) -> np.ndarray:
        return np.concatenate([self.table.numbers(n)[~self.holdout] for n in self._numbers[name]])

    def _read(self, store: pd.DataFrame | None) -> SampleTable:
        obs = self.config.observations
        if store is not None:
            return sample_table(store, where="the table in memory")
        if obs.tables:
            return read_samples(obs.tables, obs.lookups)
        if obs.sample is not None and obs.name in samples:
            made = samples.get(obs.name)(sites=obs.sample.sites, seed=obs.sample.seed, noise=obs.sample.noise)
            return sample_table(made, where=f"observations.name: {obs.name}")
        raise ConfigError(
            "TableLoader got no table", where="observations.tables", hint="observations.tables={leaves: leaves.csv}"
        )

    def _mark_holdout(self) -> np.ndarray:
        held = self.config.test.holdout_sites
        if held is None:
            return np.zeros(len(self.sites), dtype=bool)
        if self.groups is None:
            return mark_holdout(self.sites, held, self.config.seed or 0)
        names = sorted(set(self.groups))
        marked = np.array(names)[mark_holdout(names, held, self.config.seed or 0)]
        return np.isin(self.groups, marked)

    def _batch(self, rows: np.ndarray, needs_target: bool = True) -> Batch:
        values: dict[str, Any] = {"x_phy": self._process_inputs(rows)}
        values |= self._network_inputs(rows)
        if needs_target:
            values["target"] = self._target_values(rows)
        if self.groups is not None:
            values["group"] = self.groups[rows]
        names = {
            "x_phy": list(self._forcings),
            "c_nn": list(self._numbers),
            "c_nn_norm": list(self._numbers),
            "x_nn_norm": [],
            "c_category": list(self._categories),
            "target": self._targets,
        }
        sites = [site for site, kept in zip(self.sites, rows, strict=True) if kept]
        units = {**self.table.units, **self._forcings}
        return Batch(values, sites=sites, names=names, units=units, holdout=self.holdout[rows])

    def _process_inputs(self, rows: np.ndarray) -> Tensor:
        """Return the forcings; where a row has none and needs none, those of a usual sample."""
        if not self._forcings:
            return torch.zeros(1, int(rows.sum()), 0)
        x = np.stack([self.table.numbers(name, unit) for name, unit in self._forcings.items()], axis=-1)
        missing = np.isnan(x)
        needed = rows & (np.ones(len(x), bool) if self.config.mode == "sim" else self._observed_fluxes())
        bad = np.argwhere(missing & needed[:, None])
        if len(bad):
            row, column = bad[0]
            raise DataError(
                f"sample {self.sites[row]} has no '{list(self._forcings)[column]}', which the process model needs",
                where=self.table.where,
                hint=f"complete or remove the row; {len(np.unique(bad[:, 0]))} rows lack a forcing",
            )
        known = needed if needed.any() else ~missing.any(axis=1)
        usual = np.median(x[known], axis=0) if known.any() else np.zeros(x.shape[1])
        return _tensor(np.where(missing, usual, x)[rows])[None]

    def _observed_fluxes(self) -> np.ndarray:
        """Return which rows have an observation that only the process model can predict."""
        seen = [~np.isnan(self._observation(n)) for n in self._targets if n not in self._parameters]
        return np.any(seen, axis=0) if seen else np.zeros(len(self.sites), dtype=bool)

    def _network_inputs(self, rows: np.ndarray) -> dict[str, Tensor]:
        count = int(rows.sum())
        raw = [self._number(name)[rows] for name in self._numbers]
        normal = [self.normalisation.apply(n, v) for n, v in zip(self._numbers, raw, strict=True)]
        found = {
            "c_nn": _stacked(raw, count),
            "c_nn_norm": _stacked(normal, count),
            "x_nn_norm": torch.zeros(1, count, 0),
        }
        if self._categories:
            columns = [self._positions(name, known)[rows] for name, known in self._categories.items()]
            found["c_category"] = torch.from_numpy(np.stack(columns, axis=-1))
        return found

    def _number(self, name: str) -> np.ndarray:
        values = self.table.numbers(name)
        missing = np.isnan(values)
        if missing.any() and self.config.observations.attribute_fill == "error":
            raise DataError(
                f"sample {self.sites[int(np.flatnonzero(missing)[0])]} has no '{name}', which the network reads",
                where=self.table.where,
                hint="complete or remove the row, or set observations.attribute_fill=train_mean",
            )
        return np.where(missing, np.nanmean(values[~self.holdout]), values)

    def _positions(self, name: str, known: Sequence[str]) -> np.ndarray:
        place = {value: i for i, value in enumerate(known)}
        values = self.table.text(name)
        unknown = [value for value in values if value not in place]
        if unknown:
            raise DataError(
                f"'{unknown[0]}' is no '{name}' that the network knows",
                where=self.table.where,
                hint=f"add it to model.nn.categories.{name}, or {did_you_mean(unknown[0], place)}",
            )
        return np.array([place[value] for value in values], dtype=np.int64)

    def _observation(self, name: str) -> np.ndarray:
        return self.table.numbers(name, self._target_units.get(name, ""))

    @cached_property
    def _target_units(self) -> Mapping[str, str]:
        phy = self.config.model.phy
        built = [process_models.get(name) for name in phy.name] if phy else []
        return {d.name: d.unit for model in built for d in (*model.fluxes, *model.parameter_table)}

    def _target_values(self, rows: np.ndarray) -> Tensor:
        return _tensor(np.stack([self._observation(name)[rows] for name in self._targets], axis=-1))[None]


def _stacked(columns: Sequence[np.ndarray], count: int) -> Tensor:
    return _tensor(np.stack(columns, axis=-1)) if columns else torch.zeros(count, 0)


def _tensor(values: np.ndarray) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(values, dtype=np.float32))
