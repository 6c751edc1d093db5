"""What every sampler offers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

from dmg.core.data.batch import Batch


class BaseSampler(ABC):
    """Base class of samplers: minibatches for training, parts of the sites for evaluation.

    A sampler draws from its own generator, so that a resumed training sees the batches that an uninterrupted one
    would have seen.
    """

    @abstractmethod
    def get_training_sample(self, dataset: Mapping[str, Any], ngrid_train: int, nt: int) -> Batch:
        """Return one minibatch of training windows."""

    @abstractmethod
    def get_validation_sample(self, dataset: Mapping[str, Any], i_s: int, i_e: int) -> Batch:
        """Return the sites ``i_s`` to ``i_e`` (exclusive) over all time steps."""

    @abstractmethod
    def state_dict(self) -> dict[str, Any]:
        """Return the state of the generator, of what JSON can hold."""

    @abstractmethod
    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from a state of ``state_dict``."""
