"""From pydantic's report to messages that name the key, the value and the remedy."""

from __future__ import annotations

import difflib
import types
import typing
from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel, ValidationError

from dmg.errors import ConfigError, DmgError, did_you_mean


def sections(model: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, type[BaseModel]]]:
    """Yield every block of the schema with its dotted key; the tree itself has the key ''."""
    yield prefix, model
    for name, field in model.model_fields.items():
        if (inner := section_of(field.annotation)) is not None:
            yield from sections(inner, f"{prefix}.{name}" if prefix else name)


def section_of(annotation: Any) -> type[BaseModel] | None:
    """Return the block that a field holds, looking through ``Optional`` and ``Annotated``."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    if typing.get_origin(annotation) in (typing.Union, types.UnionType, typing.Annotated):
        for part in typing.get_args(annotation):
            if (found := section_of(part)) is not None:
                return found
    return None


def known_keys(model: type[BaseModel]) -> list[str]:
    """Return every dotted key of the schema."""
    return [f"{at}.{name}" if at else name for at, block in sections(model) for name in block.model_fields]


def suggest_key(key: str, model: type[BaseModel]) -> str:
    """Return a hint for an unknown dotted key: the closest key of its block, or of the whole schema."""
    keys = known_keys(model)
    block, _, last = key.rpartition(".")
    if (block and block not in keys) and (close := difflib.get_close_matches(key, keys, n=1, cutoff=0.75)):
        return f"did you mean '{close[0]}'?"
    siblings = {k.rpartition(".")[2]: k for k in keys if k.rpartition(".")[0] == block}
    close = difflib.get_close_matches(last, siblings, n=2, cutoff=0.8)
    if close := close or difflib.get_close_matches(last, siblings, n=1, cutoff=0.6):
        return "did you mean " + " or ".join(f"'{siblings[name]}'" for name in close) + "?"
    if elsewhere := [k for k in keys if k.rpartition(".")[2] == last]:
        return "did you mean " + " or ".join(f"'{k}'" for k in elsewhere[:3]) + "?"
    if close := difflib.get_close_matches(key, keys, n=1, cutoff=0.7):
        return f"did you mean '{close[0]}'?"
    return did_you_mean(last, siblings) if siblings else did_you_mean(key, keys)


def explain(error: ValidationError, model: type[BaseModel]) -> ConfigError:
    """Return one ConfigError that names every problem of a failed validation with its dotted key."""
    return join([_problem(e, model) for e in error.errors(include_url=False)])


def join(problems: list[tuple[str, str | None]]) -> ConfigError:
    """Return one ConfigError for a list of (what, hint)."""
    unique = list(dict.fromkeys(problems))
    if len(unique) == 1:
        return ConfigError(unique[0][0], hint=unique[0][1])
    lines = [f"the configuration has {len(unique)} problems:"]
    lines += [f"  - {what}" + (f"\n    hint: {hint}" if hint else "") for what, hint in unique]
    return ConfigError("\n".join(lines))


def _problem(detail: Any, model: type[BaseModel]) -> tuple[str, str | None]:
    key = ".".join(str(part) for part in detail["loc"] if not _is_type_tag(part))
    kind, value = detail["type"], detail.get("input")
    cause = (detail.get("ctx") or {}).get("error")
    if kind == "extra_forbidden":
        return f"unknown key '{key}'", suggest_key(key, model)
    if kind == "missing":
        return f"the key '{key}' is missing", f"give {key}=… on the command line or in the YAML file"
    if isinstance(cause, DmgError):
        return (f"{key}: {cause.what}" if key else cause.what), cause.hint
    if kind == "literal_error":
        expected = detail["ctx"]["expected"]
        choices = [part.strip(" '") for part in expected.replace(" or ", ",").split(",")]
        return f"{key}: {value!r} is not one of {expected}", did_you_mean(str(value), choices).split(" known:")[0]
    return f"{key}: {detail['msg']} (given: {value!r})", None


def _is_type_tag(part: Any) -> bool:
    """Pydantic adds the tag of the tried branch of a union to the location."""
    return isinstance(part, str) and ("[" in part or part in {"int", "str", "constrained-int", "dict"})
