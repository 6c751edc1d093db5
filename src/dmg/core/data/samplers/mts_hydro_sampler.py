"""Random windows of hours, with the days before them, of random gauges and the units above them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from torch import Tensor

from dmg.core.data.batch import Batch
from dmg.core.data.samplers.hydro_sampler import HydroSampler, gather_windows
from dmg.core.data.upstream import HOURS, Upstream
from dmg.registry import samplers


@samplers.register("MtsHydroSampler")
class MtsHydroSampler(HydroSampler):
    """Draws gauges and windows as `HydroSampler` does; a window begins at midnight and brings the days before it.

    Columns are independent: a unit above two gauges of a batch, or above one that is drawn twice, is there twice, with
    the time of each.

    Parameters
    ----------
    config
        As for `HydroSampler`; ``model.rho`` in hours, ``model.warmup`` and ``train.stride`` in hours of whole days.
    """

    default_stride = HOURS
    two_time_steps = True

    def _gather(
        self, dataset: Mapping[str, Any], sites: np.ndarray, starts: np.ndarray, target: Tensor, rho: int
    ) -> Batch:
        batch = super()._gather(dataset, sites, starts, target, rho)
        whole: Upstream = dataset["upstream"]
        units, owner, topo, paths = whole.above(sites)
        begins = (starts - self.warmup)[owner]
        batch["upstream"] = Upstream(
            gather_windows(whole.hourly, units, begins, self.warmup + rho),
            gather_windows(whole.daily, units, begins // HOURS, whole.days),
            whole.days,
            topo,
            paths,
        )
        return batch
