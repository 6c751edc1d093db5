"""Calculations: metrics of series against observations."""

from __future__ import annotations

from dmg.lazy import attach

__getattr__, __dir__, __all__ = attach(__name__, {"Metrics": "dmg.core.calc.metrics:Metrics"})
