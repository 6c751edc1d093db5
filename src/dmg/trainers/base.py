"""What every trainer offers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any


class BaseTrainer(ABC):
    """Base class of trainers; one of another kind registers with ``dmg.registry.trainers``."""

    @abstractmethod
    def train(self) -> Any:
        """Train the model."""

    @abstractmethod
    def evaluate(self) -> Any:
        """Run the trained model over the test period and score it."""

    @abstractmethod
    def inference(self) -> Any:
        """Run the trained model without observations."""
