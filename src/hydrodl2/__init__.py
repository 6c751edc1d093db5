"""Hydrology for δMG: process models, routing, data conversion."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dmg.engine import ProcessModel

__all__ = ["available_models", "load_model"]


def available_models() -> list[str]:
    """Return the names of the modules of this package that have a model, such as ``hbv``; ``load_model`` takes them."""
    from dmg.registry import process_models

    modules = {process_models.get(name).__module__ for name in process_models}
    return sorted(module.rpartition(".")[2] for module in modules if module.startswith(f"{__name__}."))


def load_model(name: str, ver_name: str | None = None) -> type[ProcessModel]:
    """Return the class of a model.

    Parameters
    ----------
    name
        Name of the class, such as ``Hbv``, or of its module, ``hbv``.
    ver_name
        Name of the class, where a module has several.

    Raises
    ------
    UnknownNameError
        If there is no such model.
    """
    from dmg.registry import process_models

    return process_models.get(ver_name or name)
