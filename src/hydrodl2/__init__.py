"""Hydrology for δMG: process models, routing, data conversion."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dmg.engine import ProcessModel

__all__ = ["available_models", "load_model"]

_MODELS = {"hbv": "Hbv"}


def available_models() -> list[str]:
    """Return the names that ``load_model`` takes."""
    return sorted(_MODELS)


def load_model(name: str, ver_name: str | None = None) -> type[ProcessModel]:
    """Return the class of a model.

    Parameters
    ----------
    name
        Name of the module, such as ``hbv``, or of the class, such as ``Hbv``.
    ver_name
        Name of the class, where a module has several.

    Raises
    ------
    UnknownNameError
        If there is no such model.
    """
    from dmg.registry import process_models

    return process_models.get(ver_name or _MODELS.get(name.lower(), name))
