"""What every loader offers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from functools import cached_property

from dmg.core.data.batch import Batch


class BaseLoader(ABC):
    """Base class of loaders: data of a configuration as batches, built when they are first asked for.

    A loader of another domain derives from it and registers with ``dmg.registry.loaders``.
    """

    @cached_property
    def dataset(self) -> Batch:
        """All sites over exactly the period of ``mode``; for ``train_test`` from the first to the last day used."""
        return self.build_dataset()

    @cached_property
    def train_dataset(self) -> Batch:
        """Training sites over the training period and, before it, the warm-up as far as the record allows."""
        return self.build_train_dataset()

    @cached_property
    def eval_dataset(self) -> Batch:
        """Sites to evaluate over the test period (in mode ``sim`` the simulation period), warm-up before it."""
        return self.build_eval_dataset()

    @abstractmethod
    def build_dataset(self) -> Batch:
        """Read what ``dataset`` holds."""

    @abstractmethod
    def build_train_dataset(self) -> Batch:
        """Read what ``train_dataset`` holds."""

    @abstractmethod
    def build_eval_dataset(self) -> Batch:
        """Read what ``eval_dataset`` holds."""
