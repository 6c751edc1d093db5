"""A configuration with some keys changed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dmg.conf.config import Config


def changed(config: Config, **updates: Any) -> Config:
    """Return the configuration with some keys changed, those of a block by a mapping."""
    blocks = {
        key: getattr(config, key).model_copy(update=value) if isinstance(value, dict) else value
        for key, value in updates.items()
    }
    return config.model_copy(update=blocks)
