"""Run a model whose sites pass on to each other, forward and back, in compiled kernels."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from dmg.engine.cache import sources
from dmg.engine.cpu import REALS, host_has, kernel_key, load_object, target
from dmg.engine.forest import Forest
from dmg.engine.fused import Plans
from dmg.engine.geometry import LANES
from dmg.engine.kernel import Kernel, build_kernel, fingerprint
from dmg.engine.llvm_forest import ADJOINT, FORWARD, ForestWriter, Passing, write_adjoint, write_forward
from dmg.engine.once import only_once
from dmg.engine.pipeline import Task, run_pipeline
from dmg.engine.trace import settings_of
from dmg.errors import StepError

if TYPE_CHECKING:
    from dmg.engine.process_model import ProcessModel

# Memory of the tapes of all segments that are under way.
TAPE_BYTES = 48 * 2**20
# Blocks that are worth a thread.
BLOCKS_PER_THREAD = 16


class ForestPlan:
    """The kernels of a model on a forest, compiled when first used.

    Parameters
    ----------
    model
        Its parameters are static and it has one component.
    passing
        How sites pass on, and what is returned.
    dtype
        float32 or float64.
    """

    def __init__(self, model: ProcessModel, passing: Passing, dtype: torch.dtype) -> None:
        _check(model, passing)
        self.model, self.passing, self.dtype = model, passing, dtype
        passed = [g for _, g in passing.above if g not in [s.name for s in model.states]]
        self.kernel: Kernel = build_kernel(
            model, model.layout, list(dict.fromkeys([*passed, *passing.fluxes])), dtype=dtype
        )
        self.static = tuple(p.name for p in model.layout.static_parameters)
        self._adjoints: dict[tuple[bool, bool], Any] = {}

    @property
    def lanes(self) -> int:
        """Sites of a block."""
        return LANES[self.dtype]

    def width(self, keep: bool) -> int:
        """Return the numbers of a block and a step on the tape."""
        return len(self.passing.slots(self.kernel, keep)) * self.lanes

    @cached_property
    def forward(self) -> Any:
        """The function of a run without gradient."""
        return self._compiled("forward", FORWARD, lambda w: write_forward(w, False), False)

    @cached_property
    def again(self) -> Any:
        """The function of a run that keeps what the way back needs."""
        return self._compiled("forward", FORWARD, lambda w: write_forward(w, True), True)

    def adjoint(self, static: bool, forcing: bool) -> Any:
        """Return the function of the way back, with the gradients that are asked for."""
        key, names = (static, forcing), self.static if static else ()
        if key not in self._adjoints:
            self._adjoints[key] = self._compiled("adjoint", ADJOINT, lambda w: write_adjoint(w, names, forcing), *key)
        return self._adjoints[key]

    def _compiled(self, name: str, arguments: Sequence[str], write: Any, *what: object) -> Any:
        def text() -> str:
            writer = ForestWriter(self.kernel, self.passing, REALS[self.dtype], self.lanes, host_has("avx512f"))
            return writer.module([write(writer)])

        key = (kernel_key(self.kernel), self.passing, str(self.dtype), name, *what)
        engine = load_object(fingerprint(sources(), "forest", *key, *target()), text)
        kinds = [ctypes.c_int64 if a.startswith("i64") else ctypes.c_void_p for a in arguments]
        call = ctypes.CFUNCTYPE(None, *kinds)(engine.get_function_address(name))
        names = [a.split()[1] for a in arguments]

        def function(**values: int | Tensor | None) -> None:
            call(*(v.data_ptr() if isinstance(v, Tensor) else v or 0 for v in (values[n] for n in names)))

        return function


def threads_for(forest: Forest) -> int:
    """Return how many threads share a forest."""
    return max(1, min(torch.get_num_threads(), forest.blocks // BLOCKS_PER_THREAD))


def ring_of(threads: int, back: bool) -> int:
    """Return how many segments are under way: the way back of one begins where the last worker is done with it."""
    return 2 * threads - 1 if back else min(2, threads)


def span_for(plan: ForestPlan, forest: Forest, substeps: int, steps: int, back: bool) -> int:
    """Return the steps of the forcing in a segment: as many as its tapes have room for, and threads have work for."""
    threads = threads_for(forest)
    numbers = ring_of(threads, back) * forest.blocks * plan.width(back) * substeps
    longest = -(-steps // (4 * threads)) if threads > 1 else steps
    return max(1, min(TAPE_BYTES // (numbers * plan.dtype.itemsize), longest))


class _Run:
    """A run of a plan over time: segments, the share of every thread, and the arrays of a forest.

    Parameters
    ----------
    plan, forest
        What is run, and where.
    substeps
        Steps in one step of the forcing.
    forcing
        [F, T, N].
    static
        Raw static parameters and attributes, [S, elements].
    keep
        Whether this is the way back, which needs more of a segment, and has more of them under way.
    span
        Steps of the forcing in a segment.
    """

    def __init__(
        self,
        plan: ForestPlan,
        forest: Forest,
        substeps: int,
        forcing: Tensor,
        static: Tensor,
        *,
        keep: bool,
        span: int,
    ) -> None:
        self.plan, self.forest, self.substeps, self.forcing, self.static = plan, forest, substeps, forcing, static
        self.total, self.span, self.threads = forcing.shape[1], span, threads_for(forest)
        self.bounds = [forest.blocks * i // self.threads for i in range(self.threads + 1)]
        self.ring, self.segments = ring_of(self.threads, keep), -(-self.total // span)
        self.tapes, self.stride = self.new_tapes(plan.width(keep))
        self.lane_site = torch.from_numpy(forest.site.astype("int32"))

    def new_tapes(self, width: int) -> tuple[Tensor, int]:
        """Return tapes [ring, (blocks + 1) * stride]; the lanes after the last block give and owe nothing."""
        stride = self.span * self.substeps * width
        tapes = torch.empty(self.ring, (self.forest.blocks + 1) * stride, dtype=self.plan.dtype)
        tapes[:, self.forest.blocks * stride :] = 0.0
        return tapes, stride

    def on_tape(self, lanes: Any, stride: int) -> Tensor:
        """Return where on a tape the numbers of lanes begin."""
        width = self.forest.lanes
        return torch.from_numpy((lanes // width * stride + lanes % width).astype("int32"))

    def common(self, worker: int, segment: int) -> dict[str, int | Tensor]:
        """Return the arguments that all functions take."""
        begin = segment * self.span
        return {
            "first": self.bounds[worker], "last": self.bounds[worker + 1],
            "begin": begin, "steps": min(self.span, self.total - begin), "substeps": self.substeps,
            "total": self.total, "sites": self.forest.sites, "elements": self.forest.elements,
            "forcing": self.forcing, "static": self.static, "lane_site": self.lane_site,
            "tape": self.tapes[segment % self.ring], "stride": self.stride,
        }  # fmt: skip

    @cached_property
    def above(self) -> dict[str, Tensor]:
        """What the functions that run forward take besides."""
        forest = self.forest
        return {"rows": torch.from_numpy(forest.first), "upstream": self.on_tape(forest.upstream, self.stride)}

    def needs(self, counts: Mapping[tuple[str, int], int]) -> dict[tuple[str, int], int]:
        """Return what is left of the needs of a task without those of workers that there are not."""
        return {(way, p): n for (way, p), n in counts.items() if 0 <= p < self.threads}

    def forward(self, states: Tensor, flux: Tensor) -> None:
        """Run.

        Parameters
        ----------
        states
            [K, S, elements] with the initial states in row 0; receives those after segment k in row (k + 1) % K.
        flux
            Receives [fluxes, T, N], or with every step [fluxes, T * substeps, N].
        """

        def task(p: int, k: int) -> Task:
            def run() -> None:
                start, end = states[k % len(states)], states[(k + 1) % len(states)]
                self.plan.forward(**self.common(p, k), **self.above, start=start, end=end, flux=flux)

            # What the worker before has done; and the worker after has read the tape that is used again.
            return run, ("on", p), self.needs({("on", p - 1): k + 1, ("on", p + 1): k + 1 - self.ring})

        run_pipeline([[task(p, k) for k in range(self.segments)] for p in range(self.threads)])

    def backward(self, states: Tensor, gradients: Mapping[str, Tensor | None]) -> None:
        """Walk back: every segment is run again from its first states, then back.

        Parameters
        ----------
        states
            States before each segment [segments, S, elements].
        gradients
            ``grad_flux``, shaped as the fluxes; ``grad_state`` [S, elements] of the final states, which becomes that of
            the initial ones; ``grad_static`` [parameters, elements], zeros to which is added; ``grad_forcing`` as the
            forcing, or None.
        """
        owed, owed_stride = self.new_tapes(len(self.plan.passing.above) * self.plan.lanes)
        below, end = self.on_tape(self.forest.below, owed_stride), torch.empty_like(states[0])
        back = self.plan.adjoint(gradients["grad_static"] is not None, gradients["grad_forcing"] is not None)

        def again(p: int, k: int) -> Task:
            def run() -> None:
                segment = self.segments - 1 - k
                arguments = self.common(p, segment) | {"tape": self.tapes[k % self.ring]}
                self.plan.again(**arguments, **self.above, start=states[segment], end=end, flux=None)

            return run, ("on", p), self.needs({("on", p - 1): k + 1})

        def backwards(p: int, k: int) -> Task:
            def run() -> None:
                arguments = self.common(p, self.segments - 1 - k) | {"tape": self.tapes[k % self.ring]}
                back(**arguments, below=below, owed=owed[k % self.ring], owed_stride=owed_stride, **gradients)

            return run, ("back", p), self.needs({("back", p + 1): k + 1, ("back", p - 1): k + 1 - self.ring})

        def tasks(p: int) -> Iterator[Task]:
            # What runs ahead is as much as the way to the last worker and back takes.
            ahead = 2 * (self.threads - 1 - p)
            for k in range(self.segments + ahead):
                if k < self.segments:
                    yield again(p, k)
                if k >= ahead:
                    yield backwards(p, k - ahead)

        run_pipeline([tasks(p) for p in range(self.threads)])


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
    flux, *final = _ForestRun.apply(plan, forest, substeps, about, series, static.to(series), *start)
    names = [s.name for s in model.states]
    return dict(zip(passing.fluxes, flux.unbind(0), strict=True)), dict(zip(names, final, strict=True))


def plan_for(model: ProcessModel, passing: Passing, dtype: torch.dtype) -> ForestPlan:
    """Return the plan of a model, made once."""
    plans = model.__dict__.setdefault("_plans", Plans())
    key = ("forest", passing, dtype, settings_of(model))
    if key not in plans:
        plans[key] = ForestPlan(model, passing, dtype)
    return plans[key]


class _ForestRun(torch.autograd.Function):
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
        span = span_for(plan, forest, substeps, forcing.shape[1], needs_gradient)
        run = _Run(plan, forest, substeps, forcing, rows, keep=False, span=span)
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
            found = _ForestRun.gradients(ctx, d_flux, *d_states)
        return only_once(found, "a run on a forest", "use the eager form for them")

    @staticmethod
    def gradients(ctx: Any, d_flux: Tensor, *d_states: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradient of every input of `forward` that needs one."""
        forcing, static, kept = ctx.saved_tensors
        plan, forest, needs = ctx.plan, ctx.forest, ctx.needs_input_grad
        place = torch.from_numpy(forest.place)
        run = _Run(plan, forest, ctx.substeps, forcing, ctx.rows, keep=True, span=ctx.span)
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


def _check(model: ProcessModel, passing: Passing) -> None:
    """Refuse a model that cannot be run on a forest."""
    layout = model.layout
    forcings, given = {f.name for f in model.forcings}, {f.name for f in model.fluxes} | {s.name for s in model.states}
    wrong = next(
        (
            name
            for pair in passing.above
            for name, known in zip(pair, (forcings, given), strict=True)
            if name not in known
        ),
        None,
    )
    reason = None
    if wrong is not None:
        reason = f"'{wrong}' is neither a forcing nor what a site passes on"
    elif layout.dynamic_parameters or layout.components > 1:
        reason = "its parameters vary in time or it has parallel components"
    elif model.implicit or any(s.size > 1 for s in model.states) or next(model.parameters(), None) is not None:
        reason = "it is implicit, has vector states, or has weights of its own"
    if reason:
        raise StepError(f"{type(model).__name__} cannot run on a forest: {reason}")
