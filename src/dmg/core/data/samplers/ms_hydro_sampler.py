"""One window of time for random gauges and the sub-network above them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from dmg.core.data.batch import Batch
from dmg.core.data.samplers.hydro_sampler import MAX_TRIES, HydroSampler
from dmg.registry import samplers


@samplers.register("MsHydroSampler")
class MsHydroSampler(HydroSampler):
    """Draws a window of length ρ with its warm-up, and gauges that were observed in it.

    All gauges of a minibatch share the window, so that a unit above several of them is run, and a river between them is
    routed, once. Gauges are drawn without replacement, as many as ``train.batch_size``, fewer where the units above
    them would be more than ``train.max_units`` (one gauge is there in any case).

    Parameters
    ----------
    config
        As for `HydroSampler`.
    """

    units_apart = True

    def __init__(self, config: Any) -> None:
        from dmg.conf.config import as_config

        super().__init__(config)
        self.max_units = as_config(config).train.max_units

    def get_training_sample(self, dataset: Mapping[str, Any], ngrid_train: int, nt: int) -> Batch:
        """Return one minibatch: ``target`` [ρ, G, K], ``batch_sample`` [G], ``upstream`` over warmup + ρ steps.

        Parameters
        ----------
        dataset
            Training dataset of `MsHydroLoader`.
        ngrid_train, nt
            Number of gauges and of time steps to draw from.

        Raises
        ------
        DataError
            As `HydroSampler`.
        """
        rho = self._length(nt)
        target = dataset["target"]
        places = (nt - rho - self.warmup) // self.stride + 1
        for _ in range(MAX_TRIES):
            start = self.warmup + self.stride * int(self.generator.integers(0, places))
            order = self.generator.permutation(ngrid_train)
            observed = ~torch.isnan(target[start : start + rho]).all(dim=2).all(dim=0).cpu().numpy()
            gauges = order[observed[order]][: self.batch_size]
            if len(gauges):
                return self._window(dataset, gauges, start, rho).to(self.device)
        raise self._nothing_observed(dataset, ngrid_train, nt, rho)

    def _window(self, dataset: Mapping[str, Any], gauges: np.ndarray, start: int, rho: int) -> Batch:
        whole = dataset["upstream"]
        if self.max_units is not None:
            gauges = whole.fitting(gauges, self.max_units)
        window = slice(start - self.warmup, start + rho)
        upstream = whole.select_times(window).select_sites(gauges)
        about = {"names": dataset.names, "units": dataset.units, "times": dataset.times[window]}
        return Batch(
            {
                "target": dataset["target"][start : start + rho, torch.from_numpy(gauges)],
                "batch_sample": gauges,
                "upstream": upstream,
            },
            sites=[dataset.sites[i] for i in gauges],
            **about,
        )
