"""The steps of sites that pass on to each other, forward and back, as LLVM functions.

A run is cut into segments of time. Within one, a block of sites is run over all its steps before the block after it;
what others read of it lies on the *tape* [blocks, steps, slots, lanes], one numbered line per step and slot. On the way
back, blocks are walked in the opposite order, and what a site owes to those above lies on a second tape.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from dmg.engine.geometry import Geometry
from dmg.engine.kernel import Kernel
from dmg.engine.llvm_graph import FLAGS, write_graph
from dmg.engine.llvm_kernel import KernelWriter
from dmg.engine.llvm_loop import write_loop

_COMMON = (
    "i64 first", "i64 last", "i64 begin", "i64 steps", "i64 substeps", "i64 total", "i64 sites", "i64 elements",
    "ptr forcing", "ptr static", "ptr lane_site", "ptr tape", "i64 stride",
)  # fmt: skip
FORWARD = (*_COMMON, "ptr rows", "ptr upstream", "ptr start", "ptr end", "ptr flux")
ADJOINT = (
    *_COMMON, "ptr below", "ptr owed", "i64 owed_stride", "ptr grad_flux",
    "ptr grad_state", "ptr grad_static", "ptr grad_forcing",
)  # fmt: skip


@dataclass(frozen=True)
class Passing:
    """How sites pass on, and what is kept of a run.

    Parameters
    ----------
    above
        Forcing to what it is the sum of over the sites above: a flux of this step, or a state before it.
    fluxes
        Those that are returned.
    each
        Whether they are returned for every step, or as means over the steps of a step of the forcing.
    """

    above: tuple[tuple[str, str], ...]
    fluxes: tuple[str, ...]
    each: bool

    def slots(self, kernel: Kernel, keep: bool) -> list[str]:
        """Return what lies on the tape: what sites above give, and with ``keep`` all that the way back needs."""
        given = [name for _, name in self.above]
        states = [f"s:{n}" for n in kernel.states if keep or n in given]
        passed = [f"f:{n}" for n in dict.fromkeys(given) if n not in kernel.states]
        return states + passed + ([f"x:{n}" for n, _ in self.above] if keep else [])

    def outer(self, kernel: Kernel) -> list[str]:
        """Return the forcings that do not come from other sites."""
        return [n for n in kernel.forcings if n not in dict(self.above)]


class ForestWriter(KernelWriter):
    """Writes the functions of a kernel of one component whose sites pass on to each other.

    Parameters
    ----------
    kernel
        What is computed.
    passing
        How sites pass on.
    real, lanes, avx512
        See `Writer`.
    """

    def __init__(self, kernel: Kernel, passing: Passing, real: str, lanes: int, avx512: bool) -> None:
        super().__init__(kernel, Geometry(lanes, 1, lanes), real, avx512)
        self.passing = passing

    @property
    def indices(self) -> str:
        """Type of a vector of indices."""
        return f"<{self.lanes} x i32>"

    def load_indices(self, base: str, offset: str) -> str:
        """Load a vector of indices."""
        pointer = self.emit(f"getelementptr i32, ptr {base}, i64 {offset}")
        return self.emit(f"load {self.indices}, ptr {pointer}, align 4")

    def gather(self, base: str, indices: str) -> str:
        """Load numbers at indices."""
        pointers = self.emit(f"getelementptr {self.real}, ptr {base}, {self.indices} {indices}")
        name = f"llvm.masked.gather.{self.suffix}.v{self.lanes}p0"
        mask = (f"<{self.lanes} x i1>", self.constant(True))
        return self.call(
            name,
            self.vector,
            (f"<{self.lanes} x ptr>", pointers),
            ("i32", str(self.bytes)),
            mask,
            (self.vector, "poison"),
        )

    def scatter(self, value: str, base: str, indices: str) -> None:
        """Store numbers at indices."""
        pointers = self.emit(f"getelementptr {self.real}, ptr {base}, {self.indices} {indices}")
        name, many, mask = (
            f"llvm.masked.scatter.{self.suffix}.v{self.lanes}p0",
            f"<{self.lanes} x ptr>",
            self.constant(True),
        )
        self.declarations.add(f"declare void @{name}({self.vector}, {many}, i32, <{self.lanes} x i1>)")
        self.do(
            f"call void @{name}({self.vector} {value}, {many} {pointers}, i32 {self.bytes}, <{self.lanes} x i1> {mask})"
        )

    def add(self, a: str, b: str) -> str:
        """Add vectors."""
        return self.emit(f"fadd {FLAGS} {self.vector} {a}, {b}")

    def row(self, base: str, i: int, t: str) -> str:
        """Return the address of row ``t`` of the i-th series in [series, total, sites]."""
        before = self.integer(f"mul %total, {i}")
        return self.address(base, f"{self.integer(f'add {before}, {t}')}*%sites")

    def row_of_each(self, base: str, i: int, t: str, substep: str) -> str:
        """Return the address of the row of a substep of step ``t`` in [series, total * substeps, sites]."""
        before = self.integer(f"mul {self.integer(f'mul %total, {i}')}, %substeps")
        row = self.integer(f"add {self.integer(f'mul {t}, %substeps')}, {substep}")
        return self.address(base, f"{self.integer(f'add {before}, {row}')}*%sites")

    def outer(self, t: str, site: str) -> dict[str, str]:
        """Load the forcings of a step that do not come from other sites."""
        names = self.passing.outer(self.kernel)
        return {f"x:{n}": self.gather(self.row("%forcing", i, t), site) for i, n in enumerate(names)}


def write_forward(w: ForestWriter, keep: bool) -> str:
    """Return the function that runs blocks ``first`` to ``last`` over a segment.

    With ``keep`` it does so again for the way back: the tape has all that is needed there, and no flux is returned.
    """
    kernel, passing = w.kernel, w.passing
    slots, fluxes = passing.slots(kernel, keep), () if keep else passing.fluxes
    passed = [f"f:{n}" for n in dict.fromkeys([*fluxes, *(n for _, n in passing.above if n in kernel.fluxes)])]
    graph = w.prepared(kernel.step.prune([*(f"s:{n}" for n in kernel.states), *passed]))
    width, count = len(slots) * w.lanes, len(kernel.states)
    source = {n: f"s:{g}" if g in kernel.states else f"f:{g}" for n, g in passing.above}

    def block(b: str) -> list[str]:
        values = w.begin_block(b)
        site = w.load_indices("%lane_site", "%offset")
        own = w.integer(f"mul {b}, %stride")
        rows = [_load_integer(w, "%rows", index) for index in (b, w.integer(f"add {b}, 1"))]

        def given(at: str) -> dict[str, str]:
            """Sum what the sites above give."""

            def one(row: str, *sums: str) -> list[str]:
                lanes = w.load_indices("%upstream", w.integer(f"mul {row}, {w.lanes}"))
                pointers = [w.address("%tape", at, str(slots.index(slot) * w.lanes)) for slot in source.values()]
                return [w.add(total, w.gather(p, lanes)) for total, p in zip(sums, pointers, strict=True)]

            zero = [(w.vector, w.constant(0.0))] * len(source)
            return {f"x:{n}": v for n, v in zip(source, write_loop(w, *rows, zero, one), strict=True)}

        def step(j: str, *carried: str) -> list[str]:
            time = w.integer(f"add %begin, {j}")
            forcing = w.outer(time, site)
            before = w.integer(f"mul {j}, %substeps")

            def substep(i: str, *carried: str) -> list[str]:
                at = w.integer(f"mul {w.integer(f'add {before}, {i}')}, {width}")
                states = dict(zip((f"s:{n}" for n in kernel.states), carried[:count], strict=True))
                known = values | forcing | states | given(at)
                out = write_graph(w, graph, known)
                for k, name in enumerate(slots):
                    value = out[name] if name.startswith("f:") else known[name]
                    w.store(value, w.address("%tape", own, at, str(k * w.lanes)))
                returned = [out[f"f:{n}"] for n in fluxes]
                if passing.each:
                    for k, value in enumerate(returned):
                        w.scatter(value, w.row_of_each("%flux", k, time, i), site)
                    returned = []
                sums = [w.add(total, value) for total, value in zip(carried[count:], returned, strict=True)]
                return [*(out[f"s:{n}"] for n in kernel.states), *sums]

            zero = [] if passing.each else [(w.vector, w.constant(0.0))] * len(fluxes)
            final = write_loop(w, "0", "%substeps", [*((w.vector, c) for c in carried), *zero], substep)
            for k, total in enumerate(final[count:]):
                w.scatter(_mean(w, total), w.row("%flux", k, time), site)
            return final[:count]

        states = [(w.vector, w.load(w.elements_at("%start", i))) for i in range(count)]
        for i, value in enumerate(write_loop(w, "0", "%steps", states, step)):
            w.store(value, w.elements_at("%end", i))
        return []

    return w.function("forward", FORWARD, lambda: write_loop(w, "%first", "%last", [], block))


def write_adjoint(w: ForestWriter, static: tuple[str, ...], forcing: bool) -> str:
    """Return the function that walks blocks ``last`` to ``first`` back through a segment.

    Parameters
    ----------
    w
        Writer of the functions.
    static
        Parameters whose gradients are computed; they are added to those there are.
    forcing
        Whether the gradients of forcings are computed.
    """
    kernel, passing = w.kernel, w.passing
    slots, owed = passing.slots(kernel, keep=True), [n for n, _ in passing.above]
    outer = passing.outer(kernel) if forcing else []
    wanted = [*(f"p:{n}" for n in static), *(f"x:{n}" for n in [*owed, *outer])]
    graph = w.prepared(kernel.adjoint(wanted))
    width, owed_width, count = len(slots) * w.lanes, len(owed) * w.lanes, len(kernel.states)
    zero = (w.vector, w.constant(0.0))

    def block(index: str) -> list[str]:
        b = w.integer(f"sub {w.integer('add %first, %last')}, {w.integer(f'add {index}, 1')}")
        values = w.begin_block(b)
        site, below = w.load_indices("%lane_site", "%offset"), w.load_indices("%below", "%offset")
        own, own_owed = w.integer(f"mul {b}, %stride"), w.integer(f"mul {b}, %owed_stride")

        def step(j: str, *carried: str) -> list[str]:
            time = w.integer(f"add %begin, {j}")
            known = values | w.outer(time, site)
            before = w.integer(f"mul {j}, %substeps")
            means = {}
            if not passing.each:
                means = {
                    n: _mean(w, w.gather(w.row("%grad_flux", k, time), site)) for k, n in enumerate(passing.fluxes)
                }

            def substep(i: str, *carried: str) -> list[str]:
                t = w.integer(f"add {before}, {i}")
                at, line = w.integer(f"mul {t}, {width}"), w.integer(f"mul {t}, {owed_width}")
                taped = {n: w.load(w.address("%tape", own, at, str(k * w.lanes))) for k, n in enumerate(slots)}
                lambdas = dict(zip((f"c:s:{n}" for n in kernel.states), carried[:count], strict=True))
                due: dict[str, str] = {}
                for k, (_, g) in enumerate(passing.above):
                    value = w.gather(w.address("%owed", line, str(k * w.lanes)), below)
                    due[g] = w.add(due[g], value) if g in due else value
                out = write_graph(w, graph, known | taped | lambdas | cotangents(time, i, due))
                for k, n in enumerate(owed):
                    w.store(out[f"d:x:{n}"], w.address("%owed", own_owed, line, str(k * w.lanes)))
                new = [w.add(out[f"d:s:{n}"], due[n]) if n in due else out[f"d:s:{n}"] for n in kernel.states]
                more = [out[f"d:{n}"] for n in (*(f"p:{n}" for n in static), *(f"x:{n}" for n in outer))]
                return new + [w.add(total, value) for total, value in zip(carried[count:], more, strict=True)]

            def cotangents(time: str, i: str, due: Mapping[str, str]) -> dict[str, str]:
                found = dict(means)
                if passing.each:
                    rows = {n: w.row_of_each("%grad_flux", k, time, i) for k, n in enumerate(passing.fluxes)}
                    found = {n: w.gather(row, site) for n, row in rows.items()}
                for n in kernel.fluxes:
                    parts = [group[n] for group in (found, due) if n in group]
                    found[n] = parts[0] if len(parts) == 1 else w.add(*parts)
                return {f"c:f:{n}": value for n, value in found.items()}

            last = w.integer("sub %substeps, 1")
            start = [*((w.vector, c) for c in carried), *([zero] * len(outer))]
            final = write_loop(w, last, "-1", start, substep, -1)
            for k, value in enumerate(final[len(carried) :]):
                w.scatter(value, w.row("%grad_forcing", k, time), site)
            return final[: len(carried)]

        lambdas = [(w.vector, w.load(w.elements_at("%grad_state", i))) for i in range(count)]
        newest = w.integer("sub %steps, 1")
        final = write_loop(w, newest, "-1", [*lambdas, *([zero] * len(static))], step, -1)
        for i in range(count):
            w.store(final[i], w.elements_at("%grad_state", i))
        if static:
            raw = {f"r:{n}": values[f"r:{n}"] for n in kernel.static}
            total = {f"d:p:{n}": v for n, v in zip(static, final[count:], strict=True)}
            epilogue = kernel.epilogue.prune([f"d:r:{n}" for n in static])
            out = write_graph(w, w.prepared(epilogue), raw | total)
            for i, n in enumerate(static):
                pointer = w.elements_at("%grad_static", i)
                w.store(w.add(w.load(pointer), out[f"d:r:{n}"]), pointer)
        return []

    return w.function("adjoint", ADJOINT, lambda: write_loop(w, "%first", "%last", [], block))


def _mean(w: ForestWriter, total: str) -> str:
    """Divide by the number of substeps."""
    number = w.emit(f"sitofp i64 %substeps to {w.real}")
    return w.emit(f"fdiv {FLAGS} {w.vector} {total}, {w.splat(number)}")


def _load_integer(w: ForestWriter, base: str, index: str) -> str:
    pointer = w.emit(f"getelementptr i64, ptr {base}, i64 {index}")
    return w.emit(f"load i64, ptr {pointer}, align 8")
