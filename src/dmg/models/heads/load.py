"""The head that a configuration names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dmg.models.heads.base import Head
from dmg.models.heads.point import PointHead
from dmg.registry import heads


def make_head(block: Mapping[str, Any] | Any | None) -> Head:
    """Return the head of a block ``model.head``; of none, the one that gives a number for every target.

    Raises
    ------
    ConfigError
        If its arguments are wrong.
    """
    if block is None:
        return PointHead()
    given = dict(block.model_dump() if hasattr(block, "model_dump") else block)
    return heads.get(given.pop("name"))(**given)
