"""Public names of a package that are imported when they are first used, so that importing the package costs nothing."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any


def attach(package: str, homes: Mapping[str, str]) -> tuple[Callable[[str], Any], Callable[[], list[str]], list[str]]:
    """Return ``__getattr__``, ``__dir__`` and ``__all__`` of a package.

    Parameters
    ----------
    package
        Name of the package, ``__name__``.
    homes
        Public name to where it lives: ``module:attribute``, or ``module`` for the module itself.

    Examples
    --------
    >>> __getattr__, __dir__, __all__ = attach("dmg", {"DmgError": "dmg.errors:DmgError"})
    >>> __getattr__("DmgError").__name__
    'DmgError'
    """

    def load(name: str) -> Any:
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        module, _, attribute = homes[name].partition(":")
        found = import_module(module)
        value = getattr(found, attribute) if attribute else found
        setattr(sys.modules[package], name, value)
        return value

    names = sorted(homes)
    return load, lambda: sorted({*vars(sys.modules[package]), *names}), names
