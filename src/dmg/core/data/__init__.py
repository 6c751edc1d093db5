"""Data: canonical datasets, loaders, samplers, normalisation."""

from __future__ import annotations

from importlib import import_module
from typing import Any

_EXPORTS = {
    "Batch": "batch",
    "Normalisation": "normalisation",
    "TargetScale": "target_scale",
    "create_training_grid": "training_grid",
    "load_json": "text_files",
    "txt_to_array": "text_files",
}
_MODULES = ("loaders", "samplers")

__all__ = [*sorted(_EXPORTS), *_MODULES]


def __getattr__(name: str) -> Any:
    if name in _EXPORTS:
        return getattr(import_module(f"{__name__}.{_EXPORTS[name]}"), name)
    if name in _MODULES:
        return import_module(f"{__name__}.{name}")
    raise AttributeError(f"module '{__name__}' has no attribute '{name}'")


def __dir__() -> list[str]:
    return sorted(__all__)
