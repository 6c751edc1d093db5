"""Random rows of a table."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from dmg.core.data.batch import Batch
from dmg.core.data.samplers.hydro_sampler import HydroSampler
from dmg.registry import samplers


@samplers.register("TableSampler")
class TableSampler(HydroSampler):
    """Draws rows that have an observation, each at most once in a minibatch; all of them if they fit into one.

    Parameters
    ----------
    config
        As for `HydroSampler`: ``seed``, ``device``, ``train.batch_size``.
    """

    def get_training_sample(self, dataset: Mapping[str, Any], ngrid_train: int, nt: int) -> Batch:
        """Return one minibatch, ``x_phy`` [1, B, F] and ``target`` [1, B, K], from the first ``ngrid_train`` rows."""
        seen = torch.isnan(dataset["target"][0, :ngrid_train]).all(dim=-1).logical_not()
        rows = np.flatnonzero(seen.cpu().numpy())
        if self.batch_size < len(rows):
            rows = self.generator.choice(rows, self.batch_size, replace=False)
        batch = (dataset if isinstance(dataset, Batch) else Batch(dataset)).select(sites=rows)
        batch["batch_sample"] = rows
        return batch.to(self.device)
