"""Run a model whose sites pass on to each other as one differentiable operation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from dmg.engine.forest import Forest
from dmg.engine.forest_plan import ForestPlan, plan_for
from dmg.engine.forest_run import ForestRun, span_for
from dmg.engine.llvm_forest import Passing
from dmg.engine.once import only_once

if TYPE_CHECKING:
    from dmg.engine.process_model import ProcessModel


def run_forest(
    model: ProcessModel,
    forest: Forest,
    passing: Passing,
    forcing: Mapping[str, Tensor],
    static: Tensor,
    attributes: Mapping[str, Tensor],
    states: Mapping[str, Tensor],
    substeps: int,
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Run a model on a forest of sites.

    Parameters
    ----------
    model
        A model of one component with static parameters and scalar states.
    forest
        Which site passes on to which; its lanes are those of the precision of the forcing.
    passing
        Which forcings come from the sites above, and which fluxes are returned.
    forcing
        Every other forcing, [T, N].
    static
        Parameters before link and bounds, [N, S].
    attributes
        [N] each.
    states
        Initial states, [N] each.
    substeps
        Steps in one step of the forcing.

    Returns
    -------
    fluxes
        [T, N] each, means over the substeps; or [T * substeps, N], if every step is returned.
    states
        Final states, [N] each.

    Raises
    ------
    StepError
        For a model that cannot be run in this way.
    """
    plan = plan_for(model, passing, next(iter(forcing.values())).dtype)
    given = [forcing[n] for n in passing.outer(plan.kernel)]
    series = torch.stack(given) if len(given) > 1 else given[0][None]
    known = [attributes[a.name] for a in model.attributes]
    about = torch.stack(known).to(series) if known else series.new_empty(0, forest.sites)
    start = [states[s.name].to(series) for s in model.states]
    inputs = [series, static.to(series), *start]
    if not torch.is_grad_enabled():
        # Otherwise what could have a gradient would have states kept for nothing.
        inputs = [t.detach() for t in inputs]
    flux, *final = _Forest.apply(plan, forest, substeps, about, *inputs)
    names = [s.name for s in model.states]
    return dict(zip(passing.fluxes, flux.unbind(0), strict=True)), dict(zip(names, final, strict=True))


class _Forest(torch.autograd.Function):
    """Fluxes and final states of a run, and the gradient of what needs one."""

    @staticmethod
    def forward(
        ctx: Any,
        plan: ForestPlan,
        forest: Forest,
        substeps: int,
        attributes: Tensor,
        forcing: Tensor,
        static: Tensor,
        *states: Tensor,
    ) -> tuple[Tensor, ...]:
        site = torch.from_numpy(forest.site)
        forcing = forcing.contiguous()
        rows = torch.cat([static.T, attributes])[:, site].contiguous()
        needs_gradient = any(ctx.needs_input_grad)
        span = span_for(plan, forest, substeps, forcing.shape[1], back=needs_gradient)
        run = ForestRun(plan, forest, substeps, forcing, rows, back=False, span=span)
        kept = rows.new_empty(run.segments + 1 if needs_gradient else 2, len(states), forest.elements)
        kept[0] = torch.stack(states)[:, site]
        steps = forcing.shape[1] * (substeps if plan.passing.each else 1)
        flux = forcing.new_empty(len(plan.passing.fluxes), steps, forest.sites)
        run.forward(kept, flux)
        if needs_gradient:
            ctx.plan, ctx.forest, ctx.substeps, ctx.rows, ctx.span = plan, forest, substeps, rows, span
            ctx.save_for_backward(forcing, static, kept)
        place = torch.from_numpy(forest.place)
        final = kept[run.segments % len(kept)][:, place]
        return flux, *final.unbind(0)

    @staticmethod
    def backward(ctx: Any, d_flux: Tensor, *d_states: Tensor) -> tuple[Tensor | None, ...]:
        with torch.no_grad():
            found = _Forest.gradients(ctx, d_flux, *d_states)
        return only_once(found, "a run on a forest", "use the eager form for them")

    @staticmethod
    def gradients(ctx: Any, d_flux: Tensor, *d_states: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradient of every input of `forward` that needs one."""
        forcing, static, kept = ctx.saved_tensors
        plan, forest, needs = ctx.plan, ctx.forest, ctx.needs_input_grad
        place = torch.from_numpy(forest.place)
        run = ForestRun(plan, forest, ctx.substeps, forcing, ctx.rows, back=True, span=ctx.span)
        # Lanes that are left over repeat a site in all they do, and what they find is dropped.
        state = torch.stack(d_states)[:, torch.from_numpy(forest.site)]
        gradients = {
            "grad_flux": d_flux.contiguous(),
            "grad_state": state,
            "grad_static": kept.new_zeros(len(plan.static), forest.elements) if needs[5] else None,
            "grad_forcing": torch.empty_like(forcing) if needs[4] else None,
        }
        run.backward(kept, gradients)
        d_static = None
        if needs[5]:
            d_static = torch.zeros_like(static)
            d_static[:, : len(plan.static)] = gradients["grad_static"][:, place].T
        return None, None, None, None, gradients["grad_forcing"], d_static, *state[:, place].unbind(0)
