"""The loop over blocks and time around a step, as LLVM functions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from dmg.engine.elementary import compose, expand
from dmg.engine.geometry import Geometry
from dmg.engine.graph import Graph
from dmg.engine.kernel import Kernel
from dmg.engine.llvm_graph import FLAGS, Writer, write_function, write_graph
from dmg.engine.llvm_solver import write_solution

# Pointers and numbers that every kernel takes, in order; see `cpu` for what they point to.
COMMON = (
    "i64 first", "i64 last", "i64 steps", "i64 segment", "i64 sites", "i64 elements", "i64 columns",
    "ptr forcing", "i64 forcing_t", "i64 forcing_f", "i64 forcing_s",
    "ptr dynamic", "i64 dynamic_t", "i64 dynamic_p", "i64 dynamic_s",
    "ptr static", "ptr weights", "ptr uniforms", "ptr kept",
)  # fmt: skip
FORWARD = (*COMMON, "ptr start", "ptr end", "ptr flux")
ADJOINT = (
    *COMMON, "ptr scratch", "ptr end", "ptr grad_end", "ptr grad_flux",
    "ptr grad_start", "ptr grad_static", "ptr grad_dynamic",
    "ptr grad_forcing", "ptr grad_weights", "ptr grad_uniforms",
)  # fmt: skip


@dataclass(frozen=True)
class Wanted:
    """Which gradients an adjoint computes, besides those of initial states.

    Parameters
    ----------
    static, dynamic, forcing, weights, uniforms
        Whether the gradients of all inputs of a kind are computed.
    """

    static: bool = True
    dynamic: bool = True
    forcing: bool = False
    weights: bool = False
    uniforms: bool = False


class KernelWriter(Writer):
    """Writes the functions of a kernel for one geometry."""

    def __init__(self, kernel: Kernel, geometry: Geometry, real: str, avx512: bool) -> None:
        super().__init__(real, geometry.lanes, avx512 and real == "float")
        self.kernel, self.geometry = kernel, geometry
        self.width, self.group, self.parts = geometry.width, geometry.group, geometry.parts
        self.labels = 0
        self.block_sites: list[str] = []

    # Addresses and vectors.

    def integer(self, expression: str) -> str:
        """Emit an integer instruction, written without its type."""
        op, operands = expression.split(" ", 1)
        return self.emit(f"{op} i64 {operands}")

    def address(self, base: str, *terms: str) -> str:
        """Return base plus a sum of products ``a*b`` or plain terms, in numbers."""
        total = None
        for term in terms:
            value = term
            if "*" in term:
                a, b = term.split("*")
                value = self.integer(f"mul {a}, {b}")
            total = value if total is None else self.integer(f"add {total}, {value}")
        return self.emit(f"getelementptr {self.real}, ptr {base}, i64 {total}")

    def load(self, pointer: str) -> str:
        """Load a vector."""
        return self.emit(f"load {self.vector}, ptr {pointer}, align {self.bytes}")

    def store(self, value: str, pointer: str) -> None:
        """Store a vector."""
        self.do(f"store {self.vector} {value}, ptr {pointer}, align {self.bytes}")

    @property
    def bytes(self) -> int:
        """Size of a number."""
        return 4 if self.real == "float" else 8

    def load_sites(self, base: str, *terms: str) -> str:
        """Load one number per site of the block and spread it over the components."""
        pointer = self.address(base, *terms)
        if self.group == 1:
            return self.splat(self.emit(f"load {self.real}, ptr {pointer}, align {self.bytes}"))
        if self.group == self.lanes:
            return self.load(pointer)
        few = f"<{self.group} x {self.real}>"
        value = self.emit(f"load {few}, ptr {pointer}, align {self.bytes}")
        lanes = ", ".join(f"i32 {lane // self.width}" for lane in range(self.lanes))
        return self.emit(f"shufflevector {few} {value}, {few} poison, <{self.lanes} x i32> <{lanes}>")

    def sum_sites(self, value: str) -> str:
        """Return in every lane the sum over the components of its site, added in a fixed order."""
        distance = 1
        while distance < min(self.width, self.lanes):
            lanes = ", ".join(f"i32 {lane ^ distance}" for lane in range(self.lanes))
            other = self.emit(
                f"shufflevector {self.vector} {value}, {self.vector} poison, <{self.lanes} x i32> <{lanes}>"
            )
            value = self.emit(f"fadd {self.vector} {value}, {other}")
            distance *= 2
        return value

    def store_sites(self, value: str, base: str, *terms: str) -> None:
        """Store one number per site of the block (per block, if a site fills several)."""
        pointer = self.address(base, *terms)
        if self.group == 1:
            one = self.emit(f"extractelement {self.vector} {value}, i32 0")
            self.do(f"store {self.real} {one}, ptr {pointer}, align {self.bytes}")
        elif self.group == self.lanes:
            self.store(value, pointer)
        else:
            few = f"<{self.group} x {self.real}>"
            lanes = ", ".join(f"i32 {site * self.width}" for site in range(self.group))
            packed = self.emit(
                f"shufflevector {self.vector} {value}, {self.vector} poison, <{self.group} x i32> <{lanes}>"
            )
            self.do(f"store {few} {packed}, ptr {pointer}, align {self.bytes}")

    def elements_at(self, base: str, row: int | str) -> str:
        """Return the address of the block's elements in a row of [rows, elements]."""
        return self.address(base, f"{row}*%elements", "%offset")

    # Loops.

    def loop(
        self,
        start: str,
        stop: str,
        carried: Sequence[tuple[str, str]],
        body: Callable[..., Sequence[str]],
        step: int = 1,
    ) -> list[str]:
        """Write a loop over integers that carries values; return what it carries in the end.

        Parameters
        ----------
        start, stop
            First value, and the one that is not reached any more.
        carried
            Type and initial value of what is carried.
        body
            Called with the counter and the carried values; returns the new ones.
        step
            1 or -1.
        """
        self.labels += 1
        n = self.labels
        self.do(f"br label %before{n}")
        self.do(f"before{n}:")
        self.do(f"br label %head{n}")
        self.do(f"head{n}:")
        phis = [f"%i{n}"] + [f"%c{n}_{k}" for k in range(len(carried))]
        kinds = ["i64"] + [kind for kind, _ in carried]
        starts = [start] + [value for _, value in carried]
        slots = []
        for phi, kind, value in zip(phis, kinds, starts, strict=True):
            slots.append((len(self.lines), phi, kind, value))
            self.do("")
        self.do(f"%go{n} = icmp {'slt' if step > 0 else 'sgt'} i64 %i{n}, {stop}")
        self.do(f"br i1 %go{n}, label %body{n}, label %done{n}")
        self.do(f"body{n}:")
        # What the body computes is unknown after it.
        known, self.logarithms = self.logarithms, dict(self.logarithms)
        new = list(body(*phis))
        self.logarithms = known
        following = self.integer(f"add %i{n}, {step}")
        self.do(f"br label %latch{n}")
        self.do(f"latch{n}:")
        self.do(f"br label %head{n}")
        for (line, phi, kind, value), update in zip(slots, [following, *new], strict=True):
            self.lines[line] = f"  {phi} = phi {kind} [ {value}, %before{n} ], [ {update}, %latch{n} ]"
        self.do(f"done{n}:")
        return phis[1:]

    # Parts of a step.

    def begin_block(self, block: str) -> dict[str, str]:
        """Load what does not change in time: physical static parameters, weights of components and of networks."""
        self.do(f"%offset = mul i64 {block}, {self.lanes}")
        site = block if self.parts == 1 else self.integer(f"udiv {block}, {self.parts}")
        self.do(f"%site = mul i64 {site}, {self.group}")
        if self.parts > 1:
            self.do(f"%whole = mul i64 %site, {self.width}")
            self.do("%part = sub i64 %offset, %whole")
        # The last block may be short of sites: its last site is then done more than once, with equal results.
        newest = self.integer("sub %sites, 1")
        self.block_sites = [
            _smaller(self, self.integer(f"add %site, {k}"), newest) for k in range(self.geometry.pieces)
        ]
        raw = {f"r:{n}": self.load(self.elements_at("%static", i)) for i, n in enumerate(self.kernel.static)}
        values = raw | write_graph(self, self.prepared(self.kernel.prologue), raw)
        for i, n in enumerate(self.kernel.weighted):
            values[f"w:{n}"] = self.load(self.elements_at("%weights", i))
        for i, n in enumerate(self.kernel.uniforms):
            pointer = self.address("%uniforms", str(i))
            values[f"u:{n}"] = self.splat(self.emit(f"load {self.real}, ptr {pointer}, align {self.bytes}"))
        return values

    def prepared(self, graph: Graph) -> Graph:
        """Return the graph in operations that this precision has."""
        if self.real == "double":
            return compose(graph)
        return expand(graph, keep=("pow", "lower_pow", "log", "reciprocal"))

    def begin_step(self, t: str) -> dict[str, str]:
        """Load forcings and dynamic parameters of a step."""
        values = {}
        for i, n in enumerate(self.kernel.forcings):
            values[f"x:{n}"] = self.load_sites("%forcing", f"{t}*%forcing_t", f"{i}*%forcing_f", "%site*%forcing_s")
        for i, n in enumerate(self.kernel.dynamic):
            values[f"r:{n}"] = self.load_dynamic(t, i)
        return values

    def load_dynamic(self, t: str, p: int) -> str:
        """Load a dynamic parameter of a step."""
        pointers = self.dynamic_addresses("%dynamic", t, p)
        if len(pointers) == 1:
            return self.load(pointers[0])
        size = self.lanes // len(pointers)
        parts = [self.emit(f"load <{size} x {self.real}>, ptr {pointer}, align {self.bytes}") for pointer in pointers]
        while len(parts) > 1:
            kind, both = f"<{size} x {self.real}>", ", ".join(f"i32 {i}" for i in range(2 * size))
            parts = [
                self.emit(f"shufflevector {kind} {a}, {kind} {b}, <{2 * size} x i32> <{both}>")
                for a, b in zip(parts[::2], parts[1::2], strict=True)
            ]
            size *= 2
        return parts[0]

    def store_dynamic(self, value: str, t: str, p: int) -> None:
        """Store the gradient of a dynamic parameter of a step."""
        pointers = self.dynamic_addresses("%grad_dynamic", t, p)
        if len(pointers) == 1:
            self.store(value, pointers[0])
            return
        size = self.lanes // len(pointers)
        for k, pointer in enumerate(pointers):
            lanes = ", ".join(f"i32 {k * size + i}" for i in range(size))
            few = f"<{size} x {self.real}>"
            part = self.emit(f"shufflevector {self.vector} {value}, {self.vector} poison, <{size} x i32> <{lanes}>")
            self.do(f"store {few} {part}, ptr {pointer}, align {self.bytes}")

    def dynamic_addresses(self, base: str, t: str, p: int) -> list[str]:
        """Return where the dynamic parameter of a block lies: at one place, or at one per site."""
        if not self.geometry.pieces:
            return [self.address(base, f"{t}*%dynamic_t", f"{p}*%dynamic_p", "%offset")]
        row = self.integer(f"add {self.integer(f'mul {t}, %dynamic_t')}, {self.integer(f'mul {p}, %dynamic_p')}")
        within = ["%part"] if self.parts > 1 else []
        return [self.address(base, row, f"{site}*%dynamic_s", *within) for site in self.block_sites]

    def mean(self, value: str) -> str:
        """Scale a sum over components to their mean."""
        scale = self.constant(1.0 / self.geometry.components)
        return value if self.geometry.components == 1 else self.emit(f"fmul {FLAGS} {self.vector} {value}, {scale}")

    def function(self, name: str, arguments: Sequence[str], body: Callable[[], None]) -> str:
        """Return the text of a function."""
        self.lines.clear()
        self.logarithms.clear()
        self.do("entry:")
        body()
        self.do("ret void")
        written = ", ".join(a.replace("ptr ", "ptr noalias %").replace("i64 ", "i64 %") for a in arguments)
        return f"define void @{name}({written}) #0 {{\n" + "\n".join(self.lines) + "\n}\n"

    def module(self, functions: Sequence[str]) -> str:
        """Return the text of a module."""
        rare = [write_function(self, op) for op in sorted(self.functions)]
        width = '"prefer-vector-width"="512" "min-legal-vector-width"="512"'
        attributes = f"attributes #0 = {{ nounwind {width} }}\nattributes #1 = {{ nounwind noinline cold {width} }}\n"
        weights = '!0 = !{!"branch_weights", i32 1048576, i32 1}\n'
        return "\n".join([*functions, *rare, *sorted(self.declarations), attributes, weights])


def write_forward(w: KernelWriter, keep: bool) -> str:
    """Return the function that runs blocks ``first`` to ``last`` over time.

    ``keep`` writes the states before every ``segment``-th step into ``kept`` [segments, states, elements].
    """
    kernel, graph = w.kernel, w.prepared(w.kernel.forward)
    count = len(kernel.states)

    def block(b: str) -> list[str]:
        values = w.begin_block(b)
        states = [(w.vector, w.load(w.elements_at("%start", i))) for i in range(count)]

        def step(t: str, *carried: str) -> list[str]:
            known = values | dict(zip((f"s:{n}" for n in kernel.states), carried, strict=True)) | w.begin_step(t)
            out = write_graph(w, graph, known | write_solution(w, known))
            for i, n in enumerate(kernel.fluxes):
                row = w.integer(f"add {w.integer(f'mul %steps, {i}')}, {t}")
                if kernel.components:
                    w.store(out[f"f:{n}"], w.address("%flux", f"{row}*%elements", "%offset"))
                    continue
                total = w.sum_sites(out[f"f:{n}"])
                total = total if n in kernel.weighted else w.mean(total)
                w.store_sites(total, "%flux", f"{row}*%columns", "%site" if w.parts == 1 else b)
            return [out[f"s:{n}"] for n in kernel.states]

        def segment(index: str, *carried: str) -> list[str]:
            begin = w.integer(f"mul {index}, %segment")
            end = _smaller(w, w.integer(f"add {begin}, %segment"), "%steps")
            for i, value in enumerate(carried):
                row = w.integer(f"add {w.integer(f'mul {index}, {count}')}, {i}")
                w.store(value, w.elements_at("%kept", row))
            return w.loop(begin, end, [(w.vector, v) for v in carried], step)

        final = w.loop("0", _segments(w), states, segment) if keep else w.loop("0", "%steps", states, step)
        for i, value in enumerate(final):
            w.store(value, w.elements_at("%end", i))
        return []

    return w.function("forward", FORWARD, lambda: _blocks(w, block))


def write_adjoint(w: KernelWriter, wanted: Wanted, sparse: bool) -> str:
    """Return the function that walks blocks ``first`` to ``last`` back in time, from kept states and cotangents.

    Parameters
    ----------
    w
        Writer of the kernel.
    wanted
        Gradients to compute.
    sparse
        Whether only the states of every ``segment``-th step were kept: those between are computed again, a segment at
        a time, together with the costly numbers that the way back needs.
    """
    kernel = w.kernel
    count = len(kernel.states)
    kinds = {
        "p": kernel.static if wanted.static else (),
        "w": kernel.weighted if wanted.weights else (),
        "u": kernel.uniforms if wanted.uniforms else (),
        "r": kernel.dynamic if wanted.dynamic else (),
        "x": kernel.forcings if wanted.forcing else (),
    }
    names = {kind: [f"{kind}:{n}" for n in group] for kind, group in kinds.items()}
    summed = [*names["p"], *names["w"], *names["u"]]
    graph = w.prepared(kernel.adjoint([n for group in names.values() for n in group], kept=sparse))
    again = w.prepared(kernel.again)
    stored = [f"s:{n}" for n in kernel.states] + ([f"k:{i}" for i in range(len(kernel.costly))] if sparse else [])

    def block(b: str) -> list[str]:
        values = w.begin_block(b)
        zero = w.constant(0.0)
        lambdas = [(w.vector, w.load(w.elements_at("%grad_end", i))) for i in range(count)]
        carried = [*lambdas, *((w.vector, zero) for _ in summed)]
        # An implicit step is differentiated at the state after it, where the way back has just been.
        carried += [(w.vector, w.load(w.elements_at("%end", i))) for i in range(count) if kernel.solver]

        def back(t: str, *carried: str, known: dict[str, str]) -> list[str]:
            known = values | w.begin_step(t) | known
            known |= dict(zip((f"c:s:{n}" for n in kernel.states), carried[:count], strict=True))
            later = carried[count + len(summed) :]
            known |= dict(zip((f"n:{n}" for n in kernel.states), later, strict=bool(later)))
            known |= _cotangents(w, t)
            out = write_graph(w, graph, known)
            for i, n in enumerate(names["r"]):
                w.store_dynamic(out[f"d:{n}"], t, i)
            for i, n in enumerate(names["x"]):
                row = w.integer(f"add {w.integer(f'mul %steps, {i}')}, {t}")
                column = "%site" if w.parts == 1 else b
                w.store_sites(w.sum_sites(out[f"d:{n}"]), "%grad_forcing", f"{row}*%columns", column)
            new = [out[f"d:s:{n}"] for n in kernel.states]
            for total, n in zip(carried[count:], summed, strict=not later):
                new.append(w.emit(f"fadd {FLAGS} {w.vector} {total}, {out[f'd:{n}']}"))
            return new + [known[f"s:{n}"] for n in kernel.states if later]

        def kept(index: str) -> list[str]:
            rows = [w.integer(f"add {w.integer(f'mul {index}, {count}')}, {i}") for i in range(count)]
            return [w.load(w.elements_at("%kept", row)) for row in rows]

        def step_back(t: str, *carried: str) -> list[str]:
            return back(t, *carried, known=dict(zip(stored, kept(t), strict=True)))

        def segment(index: str, *carried: str) -> list[str]:
            begin = w.integer(f"mul {index}, %segment")
            end = _smaller(w, w.integer(f"add {begin}, %segment"), "%steps")

            def forth(t: str, *states: str) -> list[str]:
                now = values | dict(zip((f"s:{n}" for n in kernel.states), states, strict=True)) | w.begin_step(t)
                out = write_graph(w, again, now | write_solution(w, now))
                numbers = [*states, *(out[n] for n in stored[count:])]
                for number, pointer in zip(numbers, _scratch(w, t, begin, len(stored)), strict=True):
                    w.store(number, pointer)
                return [out[f"s:{n}"] for n in kernel.states]

            def from_scratch(t: str, *carried: str) -> list[str]:
                numbers = [w.load(pointer) for pointer in _scratch(w, t, begin, len(stored))]
                return back(t, *carried, known=dict(zip(stored, numbers, strict=True)))

            w.loop(begin, end, [(w.vector, value) for value in kept(index)], forth)
            last, stop = w.integer(f"sub {end}, 1"), w.integer(f"sub {begin}, 1")
            return w.loop(last, stop, [(w.vector, value) for value in carried], from_scratch, -1)

        newest = w.integer(f"sub {_segments(w)}, 1")
        final = w.loop(newest, "-1", carried, segment if sparse else step_back, -1)
        for i in range(count):
            w.store(final[i], w.elements_at("%grad_start", i))
        total = dict(zip(summed, final[count : count + len(summed)], strict=True))
        if names["p"]:
            raw = {f"r:{n}": values[f"r:{n}"] for n in kernel.static}
            out = write_graph(w, w.prepared(kernel.epilogue), raw | {f"d:{n}": total[n] for n in names["p"]})
            for i, n in enumerate(kernel.static):
                w.store(out[f"d:r:{n}"], w.elements_at("%grad_static", i))
        for i, n in enumerate(names["w"]):
            w.store(total[n], w.elements_at("%grad_weights", i))
        for i, n in enumerate(names["u"]):
            w.store(total[n], w.elements_at("%grad_uniforms", i))
        return []

    return w.function("adjoint", ADJOINT, lambda: _blocks(w, block))


def _cotangents(w: KernelWriter, t: str) -> dict[str, str]:
    """Load the gradients of the fluxes of a step."""
    found = {}
    for i, n in enumerate(w.kernel.fluxes):
        row = w.integer(f"add {w.integer(f'mul %steps, {i}')}, {t}")
        if w.kernel.components:
            found[f"c:f:{n}"] = w.load(w.address("%grad_flux", f"{row}*%elements", "%offset"))
            continue
        cotangent = w.load_sites("%grad_flux", f"{row}*{w.integer(f'udiv %columns, {w.parts}')}", "%site")
        found[f"c:f:{n}"] = cotangent if n in w.kernel.weighted else w.mean(cotangent)
    return found


def _blocks(w: KernelWriter, block: Callable[[str], list[str]]) -> None:
    w.loop("%first", "%last", [], block)


def _smaller(w: KernelWriter, a: str, b: str) -> str:
    less = w.emit(f"icmp slt i64 {a}, {b}")
    return w.emit(f"select i1 {less}, i64 {a}, i64 {b}")


def _segments(w: KernelWriter) -> str:
    more = w.integer("add %steps, %segment")
    return w.integer(f"sdiv {w.integer(f'sub {more}, 1')}, %segment")


def _scratch(w: KernelWriter, t: str, begin: str, count: int) -> list[str]:
    """Return where the scratch memory of the thread has the numbers of a step."""
    row = w.integer(f"mul {w.integer(f'sub {t}, {begin}')}, {count * w.lanes}")
    return [w.address("%scratch", row, str(i * w.lanes)) for i in range(count)]
