"""What a field knows about its variable names: units, other spellings, numbers of categories.

Tables rarely say what unit a column has. A domain package registers a :class:`Vocabulary` for the names of its data
sets (``dmg.registry.vocabularies``); converters ask it where a file is silent.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from dmg.core.data.quantity import parse_unit
from dmg.registry import vocabularies

UNKNOWN = "unknown"
"""Unit of an attribute that neither its file nor a vocabulary knows; conversion of it is refused."""


@dataclass(frozen=True)
class Vocabulary:
    """The names of one data set or field.

    Attributes
    ----------
    units
        Unit by variable name.
    aliases
        Other spelling to the name used here.
    categories
        Numbers of the labels of a categorical attribute, by attribute name; the label ``""`` is what a missing
        label means, where that is a category of its own.
    nonnegative
        Variables that cannot be negative.
    extremes
        Variable that is an extreme of another within a step: name to that one and ``min`` or ``max``.
    cf_names
        CF standard names with their canonical units, by variable name; the first one is taken whose unit measures the
        same as that of the variable.
    csdms_names
        Names and units under which another framework knows a variable, by variable name; the first is the main one.
    """

    units: Mapping[str, str] = field(default_factory=dict)
    aliases: Mapping[str, str] = field(default_factory=dict)
    categories: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    nonnegative: frozenset[str] = frozenset()
    cf_names: Mapping[str, tuple[tuple[str, str], ...]] = field(default_factory=dict)
    extremes: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    csdms_names: Mapping[str, tuple[tuple[str, str], ...]] = field(default_factory=dict)


def known_unit(name: str) -> str | None:
    """Return the unit of a variable of that name, if a vocabulary has it."""
    return next((v.units[name] for v in _all() if name in v.units), None)


def preferred_name(name: str) -> str:
    """Return the name that the vocabularies use for a spelling; the name itself by default."""
    return next((v.aliases[name] for v in _all() if name in v.aliases), name)


def category_numbers(name: str) -> Mapping[str, int] | None:
    """Return the numbers of the labels of a categorical attribute, if a vocabulary has them."""
    return next((v.categories[name] for v in _all() if name in v.categories), None)


def csdms_names(name: str) -> tuple[tuple[str, str], ...]:
    """Return the names and units under which another framework knows a variable; nothing if no vocabulary says."""
    return next((tuple(v.csdms_names[name]) for v in _all() if name in v.csdms_names), ())


def extreme_of(name: str) -> tuple[str, str] | None:
    """Return the variable of which one is the extreme within a step, and ``min`` or ``max``; None if it is none."""
    return next((v.extremes[name] for v in _all() if name in v.extremes), None)


def is_nonnegative(name: str) -> bool:
    """Return whether a variable of that name cannot be negative."""
    return any(name in v.nonnegative for v in _all())


def cf_standard_name(name: str, unit: str) -> str | None:
    """Return the CF standard name of a variable of that name and unit, if a vocabulary has one."""
    candidates = (pair for v in _all() for pair in v.cf_names.get(name, ()))
    measured = parse_unit(unit).dimensionality
    return next((found for found, canonical in candidates if parse_unit(canonical).dimensionality == measured), None)


def _all() -> Iterator[Vocabulary]:
    return (vocabularies.get(name) for name in vocabularies.names())
