"""One block of the configuration: frozen, closed to unknown keys, tolerant of legacy spellings."""

from __future__ import annotations

from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, model_validator

from dmg.errors import ConfigError


class Section(BaseModel):
    """A frozen block of the configuration; unknown keys are errors.

    A subclass names the legacy spellings of its keys in ``legacy`` (old → present).
    """

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=(), allow_inf_nan=False)
    legacy: ClassVar[dict[str, str]] = {}

    @classmethod
    def present_spelling(cls, values: dict[str, Any]) -> dict[str, Any]:
        """Return the values of a block with the present spelling of every key.

        Raises
        ------
        ConfigError
            If a key is given under both spellings, with different values.
        """
        values = dict(values)
        for old, new in cls.legacy.items():
            if (value := values.pop(old, None)) is None:
                continue
            if values.get(new) not in (None, value):
                raise ConfigError(
                    f"'{old}' is the old name of '{new}', and the two differ: {value!r} and {values[new]!r}",
                    hint=f"keep '{new}' only",
                )
            values[new] = value
        return values

    @model_validator(mode="before")
    @classmethod
    def _present_spelling(cls, values: Any) -> Any:
        return cls.present_spelling(values) if isinstance(values, dict) else values


class OpenSection(Section):
    """A named plug-in with its own arguments beside ``name``.

    The arguments are checked against what the plug-in declares once the tree is whole (``dmg.conf.plugins``).
    Arguments that are null count as not given: published files list ``step_size: null`` for every scheduler.
    """

    model_config = ConfigDict(extra="allow")

    @model_validator(mode="before")
    @classmethod
    def _named(cls, values: Any) -> Any:
        if isinstance(values, str):
            return {"name": values}
        if isinstance(values, dict):
            return {key: v for key, v in values.items() if v is not None or key in cls.model_fields}
        return values

    @property
    def arguments(self) -> dict[str, Any]:
        """The arguments beside ``name``, as given."""
        return dict(self.model_extra or {})


def as_list(value: Any) -> Any:
    """Return one name as a list of one; published files write either."""
    return [value] if isinstance(value, str) else value
