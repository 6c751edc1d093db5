"""One registry for every kind of plug-in.

A plug-in is registered by decorator in the process, or by an entry point of the group ``dmg.<kind>`` of an installed
distribution. The entry point names a class or function, which is registered under the entry point's name, or a
module, whose import registers what it defines.

Examples
--------
>>> from dmg.registry import losses
>>> @losses.register("HalfLoss")
... class HalfLoss: ...
>>> losses.get("HalfLoss").__name__
'HalfLoss'
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from importlib.metadata import entry_points
from types import ModuleType
from typing import Any, TypeVar

from dmg.errors import UnknownNameError, did_you_mean

T = TypeVar("T")
logger = logging.getLogger(__name__)


class Registry:
    """The plug-ins of one kind, by name.

    Parameters
    ----------
    kind
        Plural name of the kind; the entry-point group is ``dmg.<kind>``.
    """

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._found: dict[str, Any] = {}
        self._aliases: dict[str, str] = {}
        self._failed: list[str] = []
        self._scanned = False

    def register(self, name: str, *aliases: str) -> Callable[[T], T]:
        """Return a decorator that registers a class or function under a name and its aliases.

        Raises
        ------
        ValueError
            If another object has one of the names already.
        """

        def decorate(obj: T) -> T:
            self._add(name, obj)
            for alias in aliases:
                if self._aliases.setdefault(alias, name) != name:
                    raise ValueError(f"dmg.{self.kind}: alias '{alias}' belongs to '{self._aliases[alias]}'")
            return obj

        return decorate

    def get(self, name: str) -> Any:
        """Return the plug-in of that name.

        Raises
        ------
        UnknownNameError
            If there is none; the message suggests the closest name, and names the plug-ins that cannot be imported:
            it may be one of theirs.
        """
        if name not in self:
            lower = {known.lower() for known in self._found}
            names = [*self._found, *(alias for alias in self._aliases if alias.lower() not in lower)]
            raise UnknownNameError(
                f"unknown name '{name}' among the {self.kind.replace('_', ' ')}"
                + "".join(f";\n  {failure}" for failure in self._failed),
                hint=("repair or uninstall what cannot be imported, or: " if self._failed else "")
                + did_you_mean(name, names),
            )
        return self._found[self._resolve(name)]

    def names(self) -> list[str]:
        """Return the names of all plug-ins that can be imported, sorted, without aliases."""
        self._scan()
        return sorted(self._found)

    def __contains__(self, name: str) -> bool:
        if self._resolve(name) not in self._found:
            self._scan()
        return self._resolve(name) in self._found

    def __iter__(self) -> Iterator[str]:
        return iter(self.names())

    def _resolve(self, name: str) -> str:
        return self._aliases.get(name, name)

    def _add(self, name: str, obj: Any) -> None:
        known = self._found.setdefault(name, obj)
        same = getattr(known, "__qualname__", known), getattr(known, "__module__", None)
        if known is not obj and same != (getattr(obj, "__qualname__", obj), getattr(obj, "__module__", None)):
            raise ValueError(f"dmg.{self.kind}: '{name}' is registered already, by {known!r}")
        self._found[name] = obj

    def _scan(self) -> None:
        """Load the entry points, once; one that fails is noted and hides no other."""
        if self._scanned:
            return
        self._scanned = True  # what is imported here may ask this registry
        for entry in entry_points(group=f"dmg.{self.kind}"):
            try:
                loaded = entry.load()
                if not isinstance(loaded, ModuleType) and loaded not in self._found.values():
                    self._add(entry.name, loaded)
            except Exception as error:  # a plug-in may raise what it likes
                self._failed.append(
                    f"the plug-in '{entry.name}' ({entry.value}) of the distribution "
                    f"'{entry.dist.name if entry.dist else 'unknown'}' cannot be imported: "
                    f"{type(error).__name__}: {error}"
                )
                logger.warning(self._failed[-1])


process_models = Registry("process_models")
routers = Registry("routers")
networks = Registry("networks")
delta_models = Registry("delta_models")
heads = Registry("heads")
losses = Registry("losses")
metrics = Registry("metrics")
loaders = Registry("loaders")
samplers = Registry("samplers")
trainers = Registry("trainers")
converters = Registry("converters")
derivations = Registry("derivations")
vocabularies = Registry("vocabularies")
summaries = Registry("summaries")
samples = Registry("samples")
splits = Registry("splits")
