"""A logger that keeps nothing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dmg.core.logging.base import BaseLogger


class NullLogger(BaseLogger):
    """Logger for runs that want none."""

    def log_metrics(self, metrics: Mapping[str, float], step: int) -> None:
        """Keep nothing."""

    def log_config(self, config: Mapping[str, Any]) -> None:
        """Keep nothing."""
