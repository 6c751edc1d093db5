"""Data, metrics, plots, logging and small utilities around the models."""

from __future__ import annotations

from importlib import import_module
from typing import Any

_MODULES = ("calc", "data", "logging", "post", "utils")
_EXPORTS = {"Dates": "utils", "format_resample_interval": "utils", "timestep_resample": "utils"}

__all__ = [*_MODULES, *_EXPORTS]


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return import_module(f"{__name__}.{name}")
    if name in _EXPORTS:
        return getattr(import_module(f"{__name__}.{_EXPORTS[name]}"), name)
    raise AttributeError(f"module '{__name__}' has no attribute '{name}'")


def __dir__() -> list[str]:
    return sorted(__all__)
