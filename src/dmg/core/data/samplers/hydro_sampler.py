"""Random windows of random sites."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dmg.core.data.batch import STATIC, TIMED, Batch
from dmg.core.data.lazy_series import LazySeries, in_memory
from dmg.core.data.samplers.base import BaseSampler
from dmg.errors import DataError, RunError
from dmg.registry import samplers

SITES_AT_ONCE = 1000
"""Sites whose whole record is in memory at once while the empty ones are looked for."""

MAX_TRIES = 100
"""How often windows without any observation are drawn again before the search is given up."""


@samplers.register("HydroSampler")
class HydroSampler(BaseSampler):
    """Draws windows of length ρ with their warm-up, as published: site and start uniform and independent.

    Every start between the warm-up and the last one that leaves ρ steps (every ``train.stride``-th of them) is drawn
    with equal probability, with replacement; windows in which no target was observed are drawn again, site and start.

    Parameters
    ----------
    config
        Configuration, as dict or ``Config``: ``seed``, ``device``, ``model.rho``, ``model.warmup``,
        ``train.batch_size``, ``train.stride``.
    """

    default_stride = 1

    def __init__(self, config: Any) -> None:
        from dmg.conf.config import as_config
        from dmg.core.utils.device import resolve_device

        settings = as_config(config)
        self.config = config
        self.device = torch.device(resolve_device(settings.device, settings.gpu_id))
        self.warmup = settings.model.warmup
        self.rho = settings.model.rho
        self.batch_size = settings.train.batch_size
        self.stride = settings.train.stride or self.default_stride
        self.generator = np.random.Generator(np.random.PCG64(settings.seed))

    def get_training_sample(self, dataset: Mapping[str, Any], ngrid_train: int, nt: int) -> Batch:
        """Return one minibatch.

        Parameters
        ----------
        dataset
            Training dataset, tensors [T, N, ·].
        ngrid_train
            Number of sites to draw from, N.
        nt
            Number of time steps to draw from, T.

        Returns
        -------
        Batch
            Inputs [warmup + ρ, B, ·], target [ρ, B, K], attributes [B, ·], ``batch_sample`` int64 [B]. Where the
            record has fewer than ρ steps after the warm-up, all of them are the window.

        Raises
        ------
        DataError
            If the record is not longer than the warm-up, or no window with an observation is found.
        """
        rho = self._length(nt)
        sites, starts, target = self._draw(dataset, ngrid_train, nt, rho)
        return self._gather(dataset, sites, starts, target, rho).to(self.device)

    def get_validation_sample(self, dataset: Mapping[str, Any], i_s: int, i_e: int) -> Batch:
        """Return the sites ``i_s`` to ``i_e`` (exclusive) over all time steps, on the device."""
        batch = dataset if isinstance(dataset, Batch) else Batch(dataset)
        return batch.select(sites=slice(i_s, i_e)).to(self.device)

    def state_dict(self) -> dict[str, Any]:
        """Return the state of the generator, of what JSON can hold."""
        return {"generator": self.generator.bit_generator.state}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue exactly where the sampler was that gave the state.

        Raises
        ------
        RunError
            If it is no state of this sampler.
        """
        try:
            self.generator.bit_generator.state = state["generator"]
        except (KeyError, TypeError, ValueError) as error:
            raise RunError(
                f"not the state of a HydroSampler: {error!r}", hint="use the checkpoint of this run"
            ) from error

    def _length(self, nt: int) -> int:
        """Return how many steps of a window are scored in a record of ``nt`` steps."""
        if nt <= self.warmup:
            raise DataError(
                f"the training data have {nt} time steps, the warm-up alone takes {self.warmup}",
                where="model.warmup",
                hint="lengthen the training period or shorten model.warmup",
            )
        return min(self.rho, nt - self.warmup)

    def _draw(
        self, dataset: Mapping[str, Any], n_sites: int, n_t: int, rho: int
    ) -> tuple[np.ndarray, np.ndarray, Tensor]:
        """Draw sites and first scored steps; returns them with the windows of the target [ρ, B, K]."""
        target, size = dataset["target"], self.batch_size
        sites, starts = np.empty(size, dtype=np.int64), np.empty(size, dtype=np.int64)
        window = torch.empty((rho, size, target.shape[-1]), dtype=target.dtype, device=target.device)
        open_places = np.arange(size)
        for _ in range(MAX_TRIES):
            sites[open_places] = self.generator.integers(0, n_sites, len(open_places))
            places = (n_t - rho - self.warmup) // self.stride + 1
            starts[open_places] = self.warmup + self.stride * self.generator.integers(0, places, len(open_places))
            window[:, open_places] = _windows(target, sites[open_places], starts[open_places], rho)
            empty = torch.isnan(window[:, open_places]).all(dim=2).all(dim=0).cpu().numpy()
            open_places = open_places[empty]
            if not len(open_places):
                return sites, starts, window
        raise self._nothing_observed(dataset, n_sites, n_t, rho)

    def _nothing_observed(self, dataset: Mapping[str, Any], n_sites: int, n_t: int, rho: int) -> DataError:
        target = dataset["target"][self.warmup : n_t, :n_sites]
        parts = [in_memory(target[:, begin : begin + SITES_AT_ONCE]) for begin in range(0, n_sites, SITES_AT_ONCE)]
        empty = np.concatenate([torch.isnan(part).all(dim=2).all(dim=0).cpu().numpy() for part in parts])
        ids = getattr(dataset, "sites", None) or [f"number {i}" for i in range(n_sites)]
        named = [ids[i] for i in np.flatnonzero(empty)]
        some = ", ".join(named[:10]) + (f" and {len(named) - 10} more" if len(named) > 10 else "")
        return DataError(
            f"no window of {rho} steps with an observation in {MAX_TRIES} draws; "
            + (f"without any are {len(named)} of {n_sites} sites: {some}" if named else "every site has some"),
            where="train.target, train.start_time, train.end_time",
            hint="leave out sites with few observations, lengthen model.rho, or check the dates",
        )

    def _gather(
        self, dataset: Mapping[str, Any], sites: np.ndarray, starts: np.ndarray, target: Tensor, rho: int
    ) -> Batch:
        batch = gather_windows(dataset, sites, starts - self.warmup, self.warmup + rho)
        batch["target"] = target
        batch["batch_sample"] = sites
        return batch


def gather_windows(dataset: Mapping[str, Any], sites: np.ndarray, begins: np.ndarray, length: int) -> Batch:
    """Return the inputs of windows, each with its own site (position) and first step, without the target."""
    values: dict[str, Any] = {}
    stored = dataset.stored() if isinstance(dataset, Batch) else dataset
    for key, value in stored.items():
        if key == "target" or not isinstance(value, Tensor | LazySeries):
            continue
        if key in TIMED or (key not in STATIC and value.ndim == 3):
            values[key] = _windows(value, sites, begins, length)
        elif value.ndim:
            values[key] = value[torch.from_numpy(sites).to(value.device)]
    about: dict[str, Any] = {}
    if isinstance(dataset, Batch):
        about = {"names": dataset.names, "units": dataset.units}
        if dataset.sites is not None:
            about["sites"] = [dataset.sites[i] for i in sites]
        if dataset.times is not None:
            about["times"] = dataset.times[begins + np.arange(length)[:, None]]
    return Batch(values, **about)


def _windows(series: Tensor | LazySeries, sites: np.ndarray, starts: np.ndarray, length: int) -> Tensor:
    """Return [length, B, ·]: `length` steps from each start at each site of a series [T, N, ·]."""
    if isinstance(series, LazySeries):
        return series.windows(sites, starts, length)
    rows = torch.from_numpy(starts + np.arange(length)[:, None]).to(series.device)
    return series[rows, torch.from_numpy(sites).to(series.device)]
