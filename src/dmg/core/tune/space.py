"""Between the searched keys of a configuration and the parameters of an Optuna trial."""

from __future__ import annotations

import json
from collections.abc import Mapping
from copy import deepcopy
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from optuna.trial import BaseTrial

    from dmg.conf.tune import Space


def draw_parameters(trial: BaseTrial, space: Mapping[str, Space]) -> dict[str, Any]:
    """Return a value for every searched key, drawn by the study of the trial."""
    return {key: _draw(trial, key, values) for key, values in space.items()}


def restore_parameters(parameters: Mapping[str, Any], space: Mapping[str, Space]) -> dict[str, Any]:
    """Return the values of parameters as a data base keeps them."""
    return {
        key: _choices(space[key])[value] if space[key].choices is not None else value
        for key, value in parameters.items()
    }


def _draw(trial: BaseTrial, key: str, space: Space) -> Any:
    if space.choices is not None:
        choices = _choices(space)
        return choices[trial.suggest_categorical(key, list(choices))]
    whole = isinstance(space.low, int) and isinstance(space.high, int) and not isinstance(space.step, float)
    if whole:
        return trial.suggest_int(key, space.low, space.high, step=space.step or 1, log=space.log)
    return trial.suggest_float(key, space.low, space.high, step=space.step, log=space.log)


def _choices(space: Space) -> dict[Any, Any]:
    """Return the choices by what the data base keeps: numbers and text; lists and blocks travel as JSON."""
    return {c if isinstance(c, str | int | float | bool | None) else json.dumps(c): c for c in space.choices}


def apply_parameters(config: Mapping[str, Any], parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Return a copy of a plain configuration with dotted keys set."""
    changed = deepcopy(dict(config))
    for key, value in parameters.items():
        *blocks, last = key.split(".")
        at = changed
        for block in blocks:
            if not isinstance(at.get(block), dict):
                at[block] = {}
            at = at[block]
        at[last] = value
    return changed
