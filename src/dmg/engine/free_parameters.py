"""Parameters that no network supplies: fixed by the user, or one learned number for all sites."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from dmg.engine.declare import Parameter
from dmg.engine.parameters import scale_to_bounds
from dmg.errors import StepError, did_you_mean


def with_fixed(
    model: str, table: Sequence[Parameter], fixed: Mapping[str, float], taken: Sequence[str]
) -> tuple[Parameter, ...]:
    """Return the parameters of a model with the fixed ones at their values.

    Parameters
    ----------
    model
        Its name, for errors.
    table
        The declared parameters.
    fixed
        Name to value, in the unit of the parameter.
    taken
        Parameters that are something else: dynamic, or global.

    Raises
    ------
    StepError
        For a name that is no parameter or taken, or a value beyond the bounds.
    """
    known = {p.name: p for p in table}
    for name, value in fixed.items():
        check_name(model, name, list(known), "model.phy.fixed_params")
        low, high = known[name].low, known[name].high
        if name in taken:
            raise StepError(
                f"'{name}' of {model} is fixed, and dynamic or global too",
                where="model.phy.fixed_params",
                hint="list it once",
            )
        if not low <= float(value) <= high:
            raise StepError(
                f"'{name}' of {model} is fixed at {value}, beyond its bounds [{low:g}, {high:g}]",
                where="model.phy.fixed_params",
                hint="give a value between them",
            )
    return tuple(replace(p, default=float(fixed[p.name])) if p.name in fixed else p for p in table)


def check_name(model: str, name: str, known: Sequence[str], where: str) -> None:
    """Refuse what is no parameter of a model."""
    if name not in known:
        raise StepError(f"{model} has no parameter '{name}'", where=where, hint=did_you_mean(name, known))


class GlobalParameters(nn.Module):
    """Parameters with one value for all sites and components, weights of the process model.

    Parameters
    ----------
    parameters
        Which; they start from the middle of their bounds.
    """

    def __init__(self, parameters: Sequence[Parameter]) -> None:
        super().__init__()
        self.table = {p.name: p for p in parameters}
        self.raw = nn.ParameterDict({p.name: nn.Parameter(torch.zeros(1, 1)) for p in parameters})

    def forward(self) -> dict[str, Tensor]:
        """Return name to value [1, 1], in the unit of the parameter."""
        return {name: scale_to_bounds(torch.sigmoid(self.raw[name]), p) for name, p in self.table.items()}
