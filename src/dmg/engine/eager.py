"""The reference engine: a loop over time in PyTorch, linear in the length of the series."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

import torch
from torch import Tensor

from dmg.engine.declare import Values
from dmg.engine.state import content
from dmg.errors import StepError, did_you_mean

# Steps whose fluxes are held per component before they are reduced: bounds the memory of long runs.
CHUNK = 128


def run_eager(
    step: Callable[..., tuple[Mapping[str, Tensor], Mapping[str, Tensor]]],
    forcing: Mapping[str, Tensor],
    attributes: Mapping[str, Tensor],
    static: Mapping[str, Tensor | float],
    dynamic: Mapping[str, Tensor],
    stores: Mapping[str, Tensor],
    *,
    dt: float,
    fluxes: Sequence[str],
    reduce: Callable[[str, Tensor], Tensor],
    steps: int,
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Run a step function over time.

    The series are unbound once and the fluxes stacked once: indexing them by time inside the graph would make the
    backward pass quadratic in the number of steps.

    Parameters
    ----------
    step
        ``step(s, x, p, dt) -> (stores, fluxes)``.
    forcing
        Name to tensor [T, B, 1].
    attributes
        Name to tensor [B, 1].
    static
        Name to tensor [B, M] or number.
    dynamic
        Name to tensor [T, B, M].
    stores
        Name to initial value [B, M].
    dt
        Time step in days.
    fluxes
        Names to return: fluxes, or states, whose series are their values at the end of every step.
    reduce
        Called with a name and its values [t, B, M]; what it returns is kept.
    steps
        Number of time steps.

    Returns
    -------
    fluxes
        Name to reduced series, time first.
    stores
        Name to final value.
    """
    names = list(dynamic)
    forcing_steps, dynamic_steps = _unbind(forcing, steps), _unbind(dynamic, steps)
    stores = dict(stores)
    pending: dict[str, list[Tensor]] = {name: [] for name in fluxes}
    kept: dict[str, list[Tensor]] = {name: [] for name in fluxes}
    known_static = dict(static)
    for t, (x_values, p_values) in enumerate(zip(forcing_steps, dynamic_steps, strict=True)):
        x = Values("forcing", {**attributes, **dict(zip(forcing, x_values, strict=True))})
        p = Values("parameter", known_static | dict(zip(names, p_values, strict=True)))
        new_stores, new_fluxes = step(Values("state", stores), x, p, dt)
        if t == 0:
            check_names("state", new_stores, stores)
            check_names("flux", new_fluxes, [name for name in fluxes if name not in stores], subset=True)
        stores = {name: new_stores[name] for name in stores}
        for name in fluxes:
            pending[name].append(content(stores[name]) if name in stores else new_fluxes[name])
        if (t + 1) % CHUNK == 0 or t + 1 == steps:
            for name in fluxes:
                kept[name].append(reduce(name, torch.stack(pending[name])))
                pending[name].clear()
    return {name: torch.cat(chunks) for name, chunks in kept.items()}, stores


def _unbind(series: Mapping[str, Tensor], steps: int) -> Iterable[tuple[Tensor, ...]]:
    """Return the values of all series step by step; nothing, as often, if there is no series."""
    return zip(*(values.unbind(0) for values in series.values()), strict=True) if series else [()] * steps


def check_names(kind: str, got: Mapping[str, Tensor], declared: Sequence[str], *, subset: bool = False) -> None:
    """Check that a step returned what its model declares.

    Raises
    ------
    StepError
        If a name is missing, or (unless ``subset``) not declared.
    """
    declared = list(declared)
    for name in declared:
        if name not in got:
            raise StepError(
                f"the step returns no {kind} '{name}', which the model declares",
                hint=did_you_mean(name, got),
            )
    for name in got:
        if not subset and name not in declared:
            raise StepError(
                f"the step returns the {kind} '{name}', which the model does not declare",
                hint=did_you_mean(name, declared),
            )
