"""The tendency of an implicit model integrated by torchdiffeq, with error control: a reference for backward Euler.

It is a loop in Python over steps, far slower than the engines, and meant for checking what a time step costs in
accuracy. It needs the extra ``ode``: ``pip install dmg[ode]``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from dmg.engine.declare import Values
from dmg.engine.implicit import UNCONVERGED, pack, unpack
from dmg.engine.simulate import Simulation, prepare, run_step
from dmg.errors import StepError

if TYPE_CHECKING:
    from dmg.engine.parameters import RawParameters
    from dmg.engine.process_model import ProcessModel


def integrate(
    model: ProcessModel,
    forcing: Tensor,
    parameters: RawParameters,
    stores: Mapping[str, Tensor] | None = None,
    *,
    attributes: Mapping[str, Tensor] | None = None,
    fluxes: Sequence[str] | None = None,
    components: bool = False,
    method: str = "dopri5",
    rtol: float = 1e-7,
    atol: float = 1e-7,
    options: dict[str, Any] | None = None,
) -> Simulation:
    """Integrate a model that has a tendency, from step to step of its forcings, which are constant within a step.

    Gradients are those of torchdiffeq's solver, by backpropagation through its steps.

    Parameters
    ----------
    model, forcing, parameters, stores, attributes, components
        As `simulate` takes them.
    fluxes
        Names to return, every flux that is no diagnostic if absent; means over each step. States are at its end.
    method, rtol, atol, options
        Those of ``torchdiffeq.odeint``. Errors are controlled for all elements together.

    Returns
    -------
    Simulation
        Fluxes and final states.

    Raises
    ------
    StepError
        If the model has no tendency, or torchdiffeq is not installed.
    """
    name = type(model).__name__
    if not type(model).implicit:
        raise StepError(f"{name} has no tendency to integrate", hint="its step is what it is; use simulate")
    if find_spec("torchdiffeq") is None:
        raise StepError("torchdiffeq is not installed, which integrates tendencies", hint="pip install dmg[ode]")
    odeint = import_module("torchdiffeq").odeint
    layout = model.layout
    names, known, stores = prepare(model, forcing, parameters, stores, attributes, fluxes, layout)
    averaged = [f.name for f in model.fluxes if f.name in names and f != UNCONVERGED]

    def step(s: Values, x: Values, p: Values, dt: float) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        old = pack(vars(s), model.states)

        def slope(_: Tensor, present: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
            values = unpack(present[0], model.states)
            found, series = model.tendency(Values("state", values), x, p)
            changes = pack({n: found[n].expand_as(v) for n, v in values.items()}, model.states)
            given = [series[n].expand(old.shape[1:]) for n in averaged]
            return changes, torch.stack(given) if given else present[1]

        # Integrals of the fluxes are further unknowns: their means close the budget.
        start = old, old.new_zeros(len(averaged), *old.shape[1:])
        found = odeint(slope, start, old.new_tensor([0.0, dt]), method=method, rtol=rtol, atol=atol, options=options)
        new, total = (values[-1] for values in found)
        nothing = {UNCONVERGED.name: torch.zeros_like(new[0])}
        return unpack(new, model.states), nothing | dict(zip(averaged, total / dt, strict=True))

    return Simulation(*run_step(model, step, forcing, known, parameters, stores, layout, names, {}, components))
