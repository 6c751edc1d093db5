"""What the fused engine makes of a model: size of its graphs, cost per step, time to compile, source of its kernels."""

from __future__ import annotations

import os
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from dmg.engine.cache import cache_folder
from dmg.engine.graph import OPS, Graph
from dmg.engine.lower import RULES
from dmg.engine.trace import ARRAY_RULES, UnsupportedOp
from dmg.errors import StepError, did_you_mean

if TYPE_CHECKING:
    from dmg.engine.fused import Plan
    from dmg.engine.process_model import ProcessModel

#: Forms in which the source of a kernel can be had.
SOURCES = ("llvm", "assembly", "triton")
# Operations that are counted together, in the order of the table.
_KINDS = {
    "add, subtract, negate": ("add", "sub", "neg", "abs", "floor", "rint"),
    "multiply": ("mul", "fma"),
    "divide, square root": ("div", "reciprocal", "sqrt", "lower_pow"),
    "minimum, maximum": ("min", "max"),
    "compare, select": ("lt", "le", "gt", "ge", "eq", "ne", "and", "or", "not", "where"),
}
_OTHER = "exponential, power, …"


@dataclass(frozen=True)
class Work:
    """What one part of a kernel does for one element in one step.

    Parameters
    ----------
    operations
        Operation to how often it occurs in the graph.
    invariant
        How many of them do not change in time, so that they are done once per run.
    flops
        Estimated floating-point operations, elementary functions as what they are made of.
    bytes
        Traffic with memory: forcings and dynamic parameters, kept states, fluxes and their gradients. What a segment
        needs again stays in the cache of the processor and does not count.
    """

    operations: dict[str, int]
    invariant: int
    flops: int
    bytes: float

    @property
    def count(self) -> int:
        """Number of operations."""
        return sum(self.operations.values())

    def by_kind(self) -> dict[str, int]:
        """Return the number of operations by kind."""
        kinds = dict.fromkeys([*_KINDS, _OTHER], 0)
        for op, count in self.operations.items():
            kinds[next((kind for kind, ops in _KINDS.items() if op in ops), _OTHER)] += count
        return kinds


@dataclass(frozen=True)
class Description:
    """What the fused engine makes of a model; ``print`` shows it as a table.

    Parameters
    ----------
    model
        Name of the model.
    components, dynamic, fluxes, dtype
        What was described.
    forward, adjoint
        A step forward, and the same step backward.
    recomputed
        What the way back does in addition where a run is too long to keep the states of every step.
    turn
        One turn of Newton's method, of which an implicit model takes some on each way forward; None for a step.
    kept_bytes
        Memory for kept states; they need ``states`` numbers per element and step.
    states
        Numbers in the state of an element.
    compile_s
        CPU seconds by part with an empty cache; the trace is the first of this process only where it is the first.
    cached_s
        CPU seconds of a later trace and of loading all parts from the cache.
    cache
        Folder of the cache.
    """

    model: str
    components: int
    dynamic: tuple[str, ...]
    fluxes: tuple[str, ...]
    dtype: str
    forward: Work
    adjoint: Work
    recomputed: Work
    turn: Work | None
    kept_bytes: int
    states: int
    compile_s: dict[str, float]
    cached_s: float
    cache: str

    def __str__(self) -> str:
        columns = {"forward": self.forward, "adjoint": self.adjoint, "again*": self.recomputed}
        columns |= {"turn**": self.turn} if self.turn else {}
        parts = list(columns.values())
        kinds = [part.by_kind() for part in parts]
        rows = [(kind, *(counts[kind] for counts in kinds)) for kind in kinds[0]]
        rows += [
            ("operations", *(part.count for part in parts)),
            ("  of them constant in time", *(part.invariant for part in parts)),
            ("flops, estimated", *(part.flops for part in parts)),
            ("bytes to and from memory", *(f"{part.bytes:.4g}" for part in parts)),
        ]
        dynamic = ", ".join(self.dynamic) or "none"
        compiled = ", ".join(f"{name} {seconds:.2f}" for name, seconds in self.compile_s.items())
        return "\n".join(
            [
                f"{self.model}: {self.dtype}, components: {self.components}, dynamic: {dynamic}",
                f"fluxes: {', '.join(self.fluxes)}",
                "",
                "".join([f"{'for one element in one step':30}", *(f"{title:>10}" for title in columns)]),
                *("".join([f"{name:30}", *(f"{value:>10}" for value in values)]) for name, *values in rows),
                f"* done again on the way back if the states, {self.states} numbers per element and step, "
                f"take more than {self.kept_bytes / 2**20:g} MB",
                *(["** Newton's method takes some turns per step, forward and again"] if self.turn else []),
                "",
                f"CPU seconds: {compiled}; traced again and loaded from the cache {self.cached_s:.2f}",
                f"cache: {self.cache}",
            ]
        )


def describe(
    model: ProcessModel, fluxes: Sequence[str] | None = None, dtype: torch.dtype = torch.float32
) -> Description:
    """Describe what the fused engine makes of a model on this machine.

    Parameters
    ----------
    model
        The model, with its components and dynamic parameters.
    fluxes
        Outputs as `ProcessModel.run` takes them; all but the diagnostic ones if absent.
    dtype
        float32 or float64.

    Raises
    ------
    StepError
        If the model cannot be fused, with the operation and its line.
    """
    names = tuple(model.fluxes_of(fluxes))
    start = time.process_time()
    plan = _plan(model, names, dtype)
    traced = time.process_time() - start
    kernel = plan.kernel
    compile_s, cached_s = _time_to_compile(lambda: _plan(model, names, dtype))
    size = torch.finfo(dtype).bits // 8
    m, states = model.nmul, len(kernel.states)
    inputs = len(kernel.forcings) / m + len(kernel.dynamic)
    outputs = len(names) / m
    wanted = [f"p:{n}" for n in kernel.static] + [f"r:{n}" for n in kernel.dynamic]
    return Description(
        model=type(model).__name__,
        components=m,
        dynamic=model.layout.dynamic,
        fluxes=names,
        dtype=str(dtype).removeprefix("torch."),
        forward=_work(kernel.forward, size * (inputs + outputs + states)),
        adjoint=_work(kernel.adjoint(wanted), size * (inputs + outputs + states + len(kernel.dynamic))),
        recomputed=_work(kernel.again, size * inputs),
        turn=_work(kernel.solver.turn, 0.0) if kernel.solver else None,
        kept_bytes=plan.backend.kept_bytes,
        states=states,
        compile_s={"trace": traced} | compile_s,
        cached_s=cached_s,
        cache=str(cache_folder()),
    )


def source(
    model: ProcessModel, form: str, fluxes: Sequence[str] | None = None, dtype: torch.dtype = torch.float32
) -> dict[str, str]:
    """Return the source of a model's kernels, ``forward`` (keeping states) and ``adjoint``.

    Parameters
    ----------
    model, fluxes, dtype
        As for `describe`.
    form
        ``llvm`` (before LLVM optimises it), ``assembly`` for this machine, or ``triton``.

    Raises
    ------
    StepError
        If the model cannot be fused or the form is unknown.
    """
    if form not in SOURCES:
        raise StepError(f"there is no source in the form '{form}'", hint=did_you_mean(form, SOURCES))
    plan = _plan(model, tuple(model.fluxes_of(fluxes)), dtype)
    write = _triton_text if form == "triton" else _llvm_text
    texts = {name: write(plan, name == "adjoint") for name in ("forward", "adjoint")}
    if form == "assembly":
        from dmg.engine.cpu import assembly

        return {name: assembly(text) for name, text in texts.items()}
    return texts


def _plan(model: ProcessModel, fluxes: tuple[str, ...], dtype: torch.dtype) -> Plan:
    # Imported here: without LLVM there is a reason to give, and no plan.
    from dmg.engine.backend import reason_against
    from dmg.engine.fused import Plan

    name = type(model).__name__
    reason = reason_against(torch.device("cpu"))
    if reason is not None:
        raise StepError(f"{name} cannot be fused: {reason}", hint="install it")
    plan = Plan(model, model.layout, fluxes, (), False, dtype, "cpu")
    try:
        plan.kernel  # noqa: B018  traces the step
    except UnsupportedOp as found:
        raise StepError(
            f"{name} cannot be fused, it runs on the eager engine: no kernel can be made of '{found.op}'",
            where=found.line,
            hint=f"write that line with other operations; {did_you_mean(found.op, {*RULES, *ARRAY_RULES})}",
        ) from found
    return plan


def _work(graph: Graph, traffic: float) -> Work:
    operations = Counter(node.op for node in graph.nodes if node.op in OPS)
    changes: list[bool] = []
    for node in graph.nodes:
        own = node.op == "input" and not node.name.startswith(("p:", "u:", "w:"))
        changes.append(own or any(changes[a] for a in node.args))
    invariant = sum(node.op in OPS and not moves for node, moves in zip(graph.nodes, changes, strict=True))
    return Work(dict(sorted(operations.items())), invariant, graph.flops(), traffic)


def _wanted(plan: Plan) -> object:
    from dmg.engine.wanted import Wanted

    return Wanted(dynamic=bool(plan.kernel.dynamic))


def _time_to_compile(make: Callable[[], Plan]) -> tuple[dict[str, float], float]:
    """Return CPU seconds by part with an empty cache, and in all with a full one."""
    with tempfile.TemporaryDirectory() as folder:
        with _forgetful(folder):
            plan, taken = make(), {}
            parts = {
                "forward": lambda: plan.forward.load(),
                "forward that keeps states": lambda: plan.forward_keeping.load(),
                "adjoint": lambda: plan.adjoint(plan.fluxes, _wanted(plan), sparse=False)[1].load(),
            }
            for name, part in parts.items():
                start = time.process_time()
                part()
                taken[name] = time.process_time() - start
        with _forgetful(folder):
            start = time.process_time()
            plan = make()
            for part in parts.values():
                part()
            return taken, time.process_time() - start


@contextmanager
def _forgetful(folder: str) -> Iterator[None]:
    """Use another cache folder, and no code that this process has loaded already."""
    from dmg.engine.cpu import forgetting

    before = os.environ.get("DMG_CACHE_DIR")
    os.environ["DMG_CACHE_DIR"] = folder
    try:
        with forgetting():
            yield
    finally:
        if before is None:
            del os.environ["DMG_CACHE_DIR"]
        else:
            os.environ["DMG_CACHE_DIR"] = before


def _llvm_text(plan: Plan, back: bool) -> str:
    function = plan.adjoint(plan.fluxes, _wanted(plan), sparse=False)[1] if back else plan.forward_keeping
    return function.source()


def _triton_text(plan: Plan, back: bool) -> str:
    from dmg.engine.geometry import Geometry
    from dmg.engine.gpu import LANES, GpuFunction

    shape = Geometry(1, plan.layout.components, LANES[plan.dtype])
    wanted = _wanted(plan) if back else None
    return GpuFunction(plan.kernel, shape, plan.dtype, wanted, keep=not back).source()
