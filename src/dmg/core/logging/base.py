"""What every experiment logger offers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self


class BaseLogger(ABC):
    """Receiver of the scalars of a run; use it as a context manager or close it."""

    @abstractmethod
    def log_metrics(self, metrics: Mapping[str, float], step: int) -> None:
        """Record scalars by name (``Loss/train_total``, ``learning_rate`` …) at a step, usually the epoch."""

    @abstractmethod
    def log_config(self, config: Mapping[str, Any]) -> None:
        """Record the configuration of the run."""

    def keep_until(self, step: int) -> None:  # noqa: B027 (a log that cannot be shortened has some steps twice)
        """Forget what was logged after a step, because the run continues there."""

    def close(self) -> None:  # noqa: B027 (a logger without a file has nothing to close)
        """Write out what is pending and release the file."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
