"""The plain dict of a configuration at the published seams: ``config['model']['phy']`` and the like."""

from __future__ import annotations

from typing import Any

from dmg.conf.config import Config
from dmg.conf.explain import section_of


class PublishedDict(dict):
    """A dict whose older spellings lead to the present keys: ``config['model']['warm_up']`` is ``['warmup']``.

    The older spellings are not stored, so what is written under one of them is never out of step with its key.
    """

    def __init__(self, values: dict[str, Any], legacy: dict[str, str]) -> None:
        super().__init__(values)
        self._legacy = legacy

    def __missing__(self, key: str) -> Any:
        if (present := self._legacy.get(key)) in self:
            return self[present]
        raise KeyError(key)

    def __setitem__(self, key: str, value: Any) -> None:
        present = self._legacy.get(key)
        super().__setitem__(present if present in self else key, value)

    def __reduce__(self) -> tuple[Any, ...]:
        return PublishedDict, (dict(self), self._legacy)


def published(config: Config) -> dict[str, Any]:
    """Return the published dict of a configuration, derived keys included."""
    return _nested(config.to_dict(), Config)


def _nested(values: dict[str, Any], block: type) -> PublishedDict:
    out = dict(values)
    for name, field in block.model_fields.items():
        inner = section_of(field.annotation)
        if inner is not None and isinstance(out.get(name), dict):
            out[name] = _nested(out[name], inner)
    return PublishedDict(out, getattr(block, "legacy", {}))
