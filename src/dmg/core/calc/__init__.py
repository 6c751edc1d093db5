"""Calculations: metrics, statistics, units."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dmg.core.calc.metrics import Metrics

__all__ = ["Metrics"]


def __getattr__(name: str) -> Any:
    if name == "Metrics":
        from dmg.core.calc.metrics import Metrics

        return Metrics
    raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
