"""Run a kernel forward and back as one differentiable operation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from dmg.engine import layout as arrange
from dmg.engine.backend import backend_for
from dmg.engine.geometry import Geometry
from dmg.engine.kernel import Kernel, build_kernel
from dmg.engine.once import only_once
from dmg.engine.parameters import ParameterLayout, RawParameters
from dmg.engine.trace import settings_of
from dmg.engine.wanted import Wanted
from dmg.engine.workspace import Loan

if TYPE_CHECKING:
    from dmg.engine.process_model import ProcessModel

# Numbers that are added up at once: fewer than PyTorch gives to several threads.
SUMMED = 1024


class Plan:
    """The kernels of a model for one choice of parameters, fluxes and precision, compiled when first used.

    Parameters
    ----------
    model, layout, fluxes, weighted, components, dtype
        What is run; ``weighted`` names the fluxes that have component weights, ``components`` asks for all of them.
    device
        Kind of device on which it is run.
    """

    def __init__(
        self,
        model: ProcessModel,
        layout: ParameterLayout,
        fluxes: tuple[str, ...],
        weighted: tuple[str, ...],
        components: bool,
        dtype: torch.dtype,
        device: str,
    ) -> None:
        self.model, self.layout, self.fluxes, self.dtype = model, layout, fluxes, dtype
        self.components, self.backend = components, backend_for(device)
        # With padded components every flux is weighted: the padding weighs nothing.
        self.shape = self.geometry(1)
        self.given_weights = weighted
        self.weighted = () if components else weighted if self.shape.exact else fluxes
        self._adjoints: dict[tuple[Any, ...], tuple[Kernel, Any]] = {}

    def geometry(self, sites: int) -> Geometry:
        """Return how the elements of a number of sites fill blocks."""
        return Geometry(sites, self.layout.components, self.backend.lanes[self.dtype])

    @cached_property
    def kernel(self) -> Kernel:
        """The graphs of a run forward."""
        return build_kernel(self.model, self.layout, self.fluxes, self.weighted, self.components, self.dtype)

    @cached_property
    def forward(self) -> Any:
        """The function of a run without gradient."""
        return self.backend.function(self.kernel, self.shape, self.dtype)

    @cached_property
    def forward_keeping(self) -> Any:
        """The function of a run that keeps states for the way back."""
        return self.backend.function(self.kernel, self.shape, self.dtype, keep=True)

    def adjoint(self, fluxes: tuple[str, ...], wanted: Wanted, sparse: bool) -> tuple[Kernel, Any]:
        """Return graphs and function of the way back from some fluxes, with the states of all steps or of a few."""
        key = (fluxes, wanted, sparse)
        if key not in self._adjoints:
            weighted = tuple(n for n in fluxes if n in self.weighted)
            kernel = self.kernel
            if fluxes != self.fluxes:
                kernel = build_kernel(self.model, self.layout, fluxes, weighted, self.components, self.dtype)
            self._adjoints[key] = kernel, self.backend.function(kernel, self.shape, self.dtype, wanted, sparse)
        return self._adjoints[key]


class Plans(dict[tuple[Any, ...], Plan]):
    """The plans of a model; compiled code is not copied with it, a copy makes its own."""

    def __reduce__(self) -> tuple[type[Plans], tuple[()]]:
        return Plans, ()


def plan_for(
    model: ProcessModel,
    layout: ParameterLayout,
    fluxes: tuple[str, ...],
    weighted: tuple[str, ...],
    components: bool,
    dtype: torch.dtype,
    device: str,
) -> Plan:
    """Return the plan of a model, made once; numbers that the step reads from the model are part of the key."""
    plans = model.__dict__.setdefault("_plans", Plans())
    key = (layout, fluxes, weighted, components, dtype, device, settings_of(model))
    plan = plans.get(key)
    if plan is None:
        plan = plans[key] = Plan(model, layout, fluxes, weighted, components, dtype, device)
    return plan


def run_fused(
    model: ProcessModel,
    forcing: Tensor,
    raw: RawParameters,
    stores: Mapping[str, Tensor],
    *,
    attributes: Mapping[str, Tensor],
    layout: ParameterLayout,
    fluxes: Sequence[str],
    weights: Mapping[str, Tensor],
    components: bool = False,
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Run a model over time in one compiled kernel.

    Parameters
    ----------
    model
        The model.
    forcing
        [T, B, F].
    raw
        Parameters before link and bounds.
    stores
        State name to initial value [B, M] or [B, M, size].
    attributes
        Name to values [B] of those that the model declares, in their order.
    layout
        Which channel is which parameter.
    fluxes
        Names to return.
    weights
        Flux name to component weights [B, M].
    components
        Return fluxes per component.

    Returns
    -------
    fluxes
        Name to series [T, B], or [T, B, M] per component.
    stores
        Name to final value.
    """
    weighted = () if components else tuple(n for n in fluxes if n in weights)
    plan = plan_for(model, layout, tuple(fluxes), weighted, components, forcing.dtype, forcing.device.type)
    dynamic = raw.dynamic
    if raw.dropped is not None:
        mask = raw.dropped.T.repeat_interleave(layout.components, dim=1)
        dynamic = torch.where(mask, raw.held, dynamic)
    shape = (forcing.shape[1], layout.components)
    static = raw.static
    if attributes:
        # To a kernel an attribute is one more static parameter.
        own = static[:, : len(layout.static_parameters) * layout.components]
        static = torch.cat([own, *(value[:, None].expand(shape) for value in attributes.values())], dim=1)
    elements = [weights[n].expand(shape) for n in plan.given_weights]
    uniforms = [p for _, p in model.named_parameters()]
    states = [stores[s.name] for s in model.states]
    # One precision inside the kernel: that of the forcing.
    inputs = [t.to(forcing.dtype) for t in (forcing, dynamic, static, *states, *elements, *uniforms)]
    if not torch.is_grad_enabled():
        # Otherwise weights that could have a gradient would have states kept for nothing.
        inputs = [t.detach() for t in inputs]
    results = _Fused.apply(plan, *inputs[:3], len(states), len(elements), *inputs[3:])
    series, final = results[: len(fluxes)], results[len(fluxes) :]
    return dict(zip(fluxes, series, strict=True)), {s.name: v for s, v in zip(model.states, final, strict=True)}


class _Fused(torch.autograd.Function):
    """Fluxes and final states of a run, and the gradient of what needs one."""

    @staticmethod
    def forward(
        ctx: Any,
        plan: Plan,
        forcing: Tensor,
        dynamic: Tensor,
        static: Tensor,
        n_states: int,
        n_weights: int,
        *rest: Tensor,
    ) -> tuple[Tensor, ...]:
        geometry, kernel = plan.geometry(forcing.shape[1]), plan.kernel
        states, given, uniforms = rest[:n_states], rest[n_states : n_states + n_weights], rest[n_states + n_weights :]
        steps, dtype = forcing.shape[0], plan.dtype
        needs_gradient = any(ctx.needs_input_grad)
        x, p = arrange.forcing_series(forcing, geometry), arrange.dynamic_series(dynamic, geometry)
        rows = arrange.static_rows(static, len(kernel.static), geometry)
        start = arrange.to_rows(list(states), geometry)
        weights = _weights(plan, plan.weighted, given, geometry, forcing)
        flat = torch.cat([u.reshape(-1) for u in uniforms]) if uniforms else forcing.new_empty(0)
        width = arrange.columns(geometry)
        flux = forcing.new_empty(len(kernel.fluxes), steps, geometry.elements if plan.components else width)
        end = torch.empty_like(start)
        segment, kept = steps, None
        if needs_gradient:
            step_bytes = start.numel() * start.element_size()
            segment = max(1, -(-steps * step_bytes // plan.backend.kept_bytes))
            kept = Loan((-(-steps // segment), *start.shape), dtype, forcing.device)
        common = {
            "steps": steps, "segment": segment, "sites": geometry.sites,
            "elements": geometry.elements, "columns": width,
            "forcing": x.values, "forcing_t": x.time, "forcing_f": x.row, "forcing_s": x.column,
            "dynamic": p.values, "dynamic_t": p.time, "dynamic_p": p.row, "dynamic_s": p.column,
            "static": rows, "uniforms": flat, "kept": kept.tensor if kept else None,
        }  # fmt: skip
        function = plan.forward_keeping if needs_gradient else plan.forward
        function(geometry.blocks, **common, weights=weights, start=start, end=end, flux=flux)
        if needs_gradient:
            ctx.plan, ctx.geometry, ctx.common, ctx.n_states = plan, geometry, common, n_states
            ctx.given, ctx.shapes, ctx.loan, ctx.start = given, [r.shape for r in rest], kept, start.shape
            ctx.channels = dynamic.shape[-1], static.shape[-1]
            # The way back of an implicit model starts from the final states; those returned belong to the caller.
            ctx.end = end.clone() if kernel.solver else None
            ctx.save_for_backward(forcing, dynamic, static, *rest)
            ctx.set_materialize_grads(False)
        back = arrange.from_elements if plan.components else arrange.from_columns
        series = back(flux, geometry).unbind(0)
        return (*series, *_unflatten(end, [s.shape for s in states], geometry))

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, ...]:
        with torch.no_grad():
            found = _Fused.gradients(ctx, *gradients)
        return only_once(found, "the fused engine", "use engine: eager for them")

    @staticmethod
    def gradients(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, ...]:
        """Return the gradient of every input of `forward` that needs one."""
        # Asked for even though the kernel reads copies: PyTorch then says what was freed, or changed in place.
        _ = ctx.saved_tensors
        plan, geometry, common = ctx.plan, ctx.geometry, ctx.common
        count, steps, dtype, like = len(plan.fluxes), common["steps"], plan.dtype, common["forcing"]
        fluxes = tuple(n for n, g in zip(plan.fluxes, gradients, strict=False) if g is not None)
        needs = ctx.needs_input_grad
        n_states, n_given = ctx.n_states, len(ctx.given)
        wanted = Wanted(
            static=needs[3], dynamic=needs[2] and bool(plan.kernel.dynamic), forcing=needs[1],
            weights=any(needs[6 + n_states : 6 + n_states + n_given]), uniforms=any(needs[6 + n_states + n_given :]),
        )  # fmt: skip
        segment = common["segment"]
        kernel, function = plan.adjoint(fluxes, wanted, sparse=segment > 1)
        shapes = ctx.shapes[:n_states]
        grad_end = like.new_zeros(ctx.start)
        if any(g is not None for g in gradients[count:]):
            rest = [g if g is not None else like.new_zeros(s) for g, s in zip(gradients[count:], shapes, strict=True)]
            grad_end = arrange.without_padding(arrange.to_rows(rest, geometry), geometry)
        present = [g for g in gradients[:count] if g is not None]
        to_kernel = arrange.to_elements if plan.components else arrange.to_columns
        grad_flux = to_kernel(torch.stack(present), geometry) if present else None
        width, elements = common["columns"], common["elements"]

        def new(*shape: int) -> Tensor:
            return like.new_empty(shape)

        out = {
            "grad_start": torch.empty_like(grad_end),
            "grad_static": new(len(kernel.static), elements) if wanted.static else None,
            "grad_dynamic": torch.empty_like(common["dynamic"]) if wanted.dynamic else None,
            "grad_forcing": new(len(kernel.forcings), steps, width) if wanted.forcing else None,
            "grad_weights": new(len(kernel.weighted), elements) if wanted.weights else None,
            "grad_uniforms": new(len(kernel.uniforms), elements) if wanted.uniforms else None,
        }
        scratch = function.scratch(geometry.blocks, segment, like.device)
        weights = _weights(plan, kernel.weighted, ctx.given, geometry, like)
        out |= {"weights": weights, "end": ctx.end, "grad_end": grad_end, "grad_flux": grad_flux}
        function(geometry.blocks, scratch, **common, **out)
        channels, static_channels = ctx.channels
        dynamic = static = forcing = None
        if wanted.dynamic:
            dynamic = arrange.dynamic_from_series(out["grad_dynamic"], steps, channels, geometry)
        elif needs[2]:
            dynamic = new(steps, geometry.sites, channels).zero_()
        if wanted.static:
            static = arrange.static_from_rows(out["grad_static"], static_channels, geometry)
        if wanted.forcing:
            forcing = arrange.from_columns(out["grad_forcing"], geometry).permute(1, 2, 0)
        states = _unflatten(out["grad_start"], shapes, geometry) if any(needs[6 : 6 + n_states]) else [None] * n_states
        given = [None] * n_given
        if wanted.weights:
            by_name = dict(zip(kernel.weighted, arrange.from_rows(out["grad_weights"], geometry), strict=True))
            given = [by_name.get(n) for n in plan.given_weights]
        uniforms = [None] * (len(ctx.shapes) - n_states - n_given)
        if wanted.uniforms:
            total = arrange.from_rows(out["grad_uniforms"], geometry).reshape(len(kernel.uniforms), -1)
            flat = _sum_in_order(total.double()).to(dtype)
            sizes = [s.numel() for s in ctx.shapes[n_states + n_given :]]
            uniforms = [u.reshape(s) for u, s in zip(flat.split(sizes), ctx.shapes[n_states + n_given :], strict=True)]
        return (None, forcing, dynamic, static, None, None, *states, *given, *uniforms)


def _sum_in_order(values: Tensor) -> Tensor:
    """Return sums [n] over rows [n, elements], added in an order that no number of threads changes.

    PyTorch splits a single long sum between threads, but never one of several sums.
    """
    while values.shape[1] > 1:
        missing = -values.shape[1] % SUMMED
        values = torch.nn.functional.pad(values, (0, missing)).unflatten(1, (-1, SUMMED)).sum(-1)
    return values[:, 0]


def _weights(plan: Plan, weighted: Sequence[str], given: Sequence[Tensor], geometry: Geometry, like: Tensor) -> Tensor:
    """Return component weights as rows [n, elements]; the mean where none are given, and nothing for padding."""
    if not weighted:
        return like.new_empty(0)
    by_name = dict(zip(plan.given_weights, given, strict=True))
    mean = like.new_full((geometry.sites, geometry.components), 1.0 / geometry.components)
    return arrange.without_padding(arrange.to_rows([by_name.get(n, mean) for n in weighted], geometry), geometry)


def _unflatten(rows: Tensor, shapes: Sequence[torch.Size], geometry: Geometry) -> list[Tensor]:
    """Return rows [n, elements] as tensors [B, M] or [B, M, size]."""
    values = list(arrange.from_rows(rows, geometry).unbind(0))
    result = []
    for shape in shapes:
        size = shape[2] if len(shape) == 3 else 1
        parts, values = values[:size], values[size:]
        result.append(torch.stack(parts, dim=-1) if len(shape) == 3 else parts[0])
    return result
