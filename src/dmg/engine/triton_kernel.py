"""The loop over time around a step, as Triton kernels; each program runs one block of elements.

Values that a step reads are loaded one step ahead: memory answers while the step before is computed.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence

from dmg.engine.elementary import expand
from dmg.engine.elementary64 import compose64
from dmg.engine.geometry import Geometry
from dmg.engine.graph import Graph
from dmg.engine.kernel import Kernel
from dmg.engine.triton_graph import TritonWriter, write_graph
from dmg.engine.triton_solver import write_solution
from dmg.engine.wanted import Wanted

# Pointers and numbers that kernels may take, those that a kernel does not read left out; see `gpu`.
SIZES = (
    "steps", "segment", "sites", "elements", "columns",
    "forcing_t", "forcing_f", "forcing_s", "dynamic_t", "dynamic_p", "dynamic_s",
)  # fmt: skip
POINTERS = (
    "forcing", "dynamic", "static", "weights", "uniforms", "kept", "start", "end", "flux", "scratch",
    "grad_end", "grad_flux", "grad_start", "grad_static", "grad_dynamic", "grad_forcing", "grad_weights",
    "grad_uniforms",
)  # fmt: skip
# Numbers that enter addresses; those that count steps stay as they are.
_WIDE = SIZES[2:]
_HEAD = '''"""A kernel of the process engine, written by dmg."""

import triton
import triton.language as tl

{imports}

@triton.jit(do_not_specialize={sizes})
def kernel({arguments}):
'''


class TritonKernelWriter(TritonWriter):
    """Writes a kernel for one geometry."""

    def __init__(self, kernel: Kernel, geometry: Geometry, real: str) -> None:
        self.kernel, self.geometry = kernel, geometry
        super().__init__(real, geometry.lanes)

    def prepared(self, graph: Graph) -> Graph:
        """Return the graph in operations that this precision has."""
        return expand(graph) if self.real == "float32" else compose64(graph)

    # Addresses. A row is a whole number of any width, times one of 64 bits.

    def elements_at(self, base: str, row: int | str) -> str:
        """Return the address of the block's elements in a row of [rows, elements]."""
        return f"{base} + {row} * elements + offset"

    def dynamic_at(self, base: str, t: str, p: int) -> str:
        """Return the address of a dynamic parameter of a step."""
        place = "present * dynamic_s + within" if self.geometry.pieces else "offset"
        return f"{base} + {t} * dynamic_t + {p} * dynamic_p + {place}"

    def series_at(self, base: str, t: str, i: int, kind: str) -> str:
        """Return the address in a series [n, steps, columns or elements]: ``read``, ``write`` or ``element``."""
        row = f"({i} * steps + {t})"
        if kind == "element":
            return self.elements_at(base, row)
        width = "columns" if self.geometry.parts == 1 else f"(columns // {self.geometry.parts})"
        return f"{base} + {row} * {width} + site" if kind == "read" else f"{base} + {row} * columns + column"

    def scratch_at(self, t: str, i: int) -> str:
        """Return the address of a state in the memory of the program for the states of a segment."""
        return f"own_scratch + (({t} - begin) * {len(self.kernel.states)} + {i}) * {self.lanes} + lane"

    # Parts of a kernel.

    def begin(self) -> dict[str, str]:
        """Load what does not change in time: physical static parameters, weights of components and of networks."""
        group, size = self.geometry.group, self.lanes // self.geometry.group
        for name in _WIDE:
            self.do(f"{name} = {name}.to(tl.int64)")
        self.do("block = tl.program_id(0).to(tl.int64)")
        self.do(f"zero = tl.full([{self.lanes}], 0.0, tl.{self.real})")
        self.do(f"lane = tl.arange(0, {self.lanes}).to(tl.int64)")
        self.do(f"offset = block * {self.lanes} + lane")
        self.do(f"first_site = (block // {self.geometry.parts}) * {group}")
        self.do(f"site = first_site + lane // {size}")
        # The last block may be short of sites: its last site is then done more than once, with equal results.
        self.do("present = tl.minimum(site, sites - 1)")
        self.do(f"within = (block % {self.geometry.parts}) * {self.lanes} + lane % {size}")
        first = "first_site" if self.geometry.parts == 1 else "block"
        self.do(f"column = {first} + tl.arange(0, {group})")
        raw = {f"r:{n}": self.load(self.elements_at("static", i)) for i, n in enumerate(self.kernel.static)}
        values = raw | write_graph(self, self.prepared(self.kernel.prologue), raw)
        for i, n in enumerate(self.kernel.weighted):
            values[f"w:{n}"] = self.load(self.elements_at("weights", i))
        for i, n in enumerate(self.kernel.uniforms):
            values[f"u:{n}"] = self.emit(f"tl.load(uniforms + {i}) + zero")
        return values

    def load(self, address: str) -> str:
        """Load a block."""
        return self.emit(f"tl.load({address})")

    def store(self, value: str, address: str) -> None:
        """Store a block."""
        self.do(f"tl.store({address}, {value})")

    def store_sum(self, value: str, address: str, scale: float = 1.0) -> None:
        """Store the sum over the components of each site, added in a fixed order."""
        shape = [self.geometry.group, self.lanes // self.geometry.group]
        total = self.emit(f"tl.sum(tl.reshape({value}, {shape}), axis=1)")
        self.store(total if scale == 1.0 else f"{total} * {scale!r}", address)

    def addresses(self, t: str) -> dict[str, str]:
        """Return where forcings and dynamic parameters of a step are."""
        found = {}
        for i, n in enumerate(self.kernel.forcings):
            found[f"x:{n}"] = f"forcing + {t} * forcing_t + {i} * forcing_f + present * forcing_s"
        for i, n in enumerate(self.kernel.dynamic):
            found[f"r:{n}"] = self.dynamic_at("dynamic", t, i)
        return found

    def loop(
        self,
        count: str,
        step: Callable[[str], str],
        reads: Callable[[str], Mapping[str, str]],
        carried: Sequence[str],
        body: Callable[[str, dict[str, str], list[str]], Sequence[str]],
    ) -> None:
        """Write a loop that loads one step ahead.

        Parameters
        ----------
        count
            How often; at least the first loads are made in any case.
        step
            Gives the step of a turn of the loop.
        reads
            Gives the addresses, by name, of what a step loads.
        carried
            Variables that hold what is carried.
        body
            Called with the step, what was loaded and the values of the variables; returns their new values.
        """
        self.count += 1
        turn, t = f"turn{self.count}", f"t{self.count}"
        first, ahead = f"first{self.count}", f"ahead{self.count}"
        self.do(f"{first} = {step('0')}")
        addresses = reads(first)
        slots = {name: f"next{self.count}_{i}" for i, name in enumerate(addresses)}
        for name, address in addresses.items():
            self.do(f"{slots[name]} = tl.load({address})")
        self.do(f"for {turn} in range(0, {count}):")
        self.level += 1
        self.do(f"{t} = {step(turn)}")
        loaded = {name: self.emit(slot) for name, slot in slots.items()}
        if addresses:
            self.do(f"{ahead} = {step(f'tl.minimum({turn} + 1, {count} - 1)')}")
            for name, address in reads(ahead).items():
                self.do(f"{slots[name]} = tl.load({address})")
        current = [self.emit(name) for name in carried]
        new = body(t, loaded, current)
        for name, value in zip(carried, new, strict=True):
            self.do(f"{name} = {value}")
        self.level -= 1

    def carry(self, prefix: str, values: Sequence[str]) -> list[str]:
        """Give values names that a loop can change."""
        names = [f"{prefix}{i}" for i in range(len(values))]
        for name, value in zip(names, values, strict=True):
            self.do(f"{name} = {value}")
        return names

    def module(self) -> str:
        """Return the text of a module that has the kernel alone."""
        constants = [f"    {name} = {text}" for text, name in self.constants.items()]
        zero = next(i for i, line in enumerate(self.lines) if line.startswith("    zero = "))
        body = "\n".join([*self.lines[: zero + 1], *constants, *self.lines[zero + 1 :]])
        arguments = [*SIZES, *(n for n in POINTERS if re.search(rf"\b{n}\b", body))]
        functions = sorted(set(re.findall(r"\b(?:rint|mantissa|exponent|ldexp)(?:32|64)\b", body)))
        imports = f"from dmg.engine.triton_functions import {', '.join(functions)}\n" if functions else ""
        return _HEAD.format(imports=imports, sizes=list(SIZES), arguments=", ".join(arguments)) + body + "\n"


def write_forward(w: TritonKernelWriter, keep: bool) -> str:
    """Return a kernel that runs over time.

    ``keep`` writes the states before every ``segment``-th step into ``kept`` [segments, states, elements].
    """
    kernel, graph = w.kernel, w.prepared(w.kernel.forward)
    count = len(kernel.states)
    values = w.begin()
    states = w.carry("state", [w.load(w.elements_at("start", i)) for i in range(count)])

    def step(t: str, loaded: dict[str, str], current: list[str]) -> list[str]:
        if keep and current:
            w.do(f"if {t} % segment == 0:")
            w.level += 1
            for i, value in enumerate(current):
                w.store(value, w.elements_at("kept", f"({t} // segment * {count} + {i})"))
            w.level -= 1
        known = values | loaded | _named("s", kernel.states, current)
        out = write_graph(w, graph, known | write_solution(w, known))
        for i, n in enumerate(kernel.fluxes):
            if kernel.components:
                w.store(out[f"f:{n}"], w.series_at("flux", t, i, "element"))
            else:
                scale = 1.0 if n in kernel.weighted else 1.0 / w.geometry.components
                w.store_sum(out[f"f:{n}"], w.series_at("flux", t, i, "write"), scale)
        return [out[f"s:{n}"] for n in kernel.states]

    w.loop("steps", lambda turn: turn, w.addresses, states, step)
    for i, name in enumerate(states):
        w.store(name, w.elements_at("end", i))
    return w.module()


def write_adjoint(w: TritonKernelWriter, wanted: Wanted, recompute: bool) -> str:
    """Return a kernel that walks back in time, from kept states and cotangents.

    ``recompute`` computes the states of a segment again; without, every state was kept.
    """
    kernel = w.kernel
    count = len(kernel.states)
    names = wanted.names(kernel)
    summed = [*names["p"], *names["w"], *names["u"]]
    graph = w.prepared(kernel.adjoint([n for group in names.values() for n in group]))
    values = w.begin()
    lambdas = w.carry("lambda", [w.load(w.elements_at("grad_end", i)) for i in range(count)])
    totals = w.carry("total", ["zero"] * len(summed))
    # An implicit step is differentiated at the state after it, where the way back has just been.
    after = [w.load(w.elements_at("end", i)) for i in range(count)] if kernel.solver else []
    carried = [*lambdas, *totals, *w.carry("after", after)]

    def reads(t: str) -> dict[str, str]:
        found = w.addresses(t)
        for i, n in enumerate(kernel.states):
            kept = w.elements_at("kept", f"({t} * {count} + {i})")
            found[f"s:{n}"] = w.scratch_at(t, i) if recompute else kept
        for i, n in enumerate(kernel.fluxes):
            found[f"c:f:{n}"] = w.series_at("grad_flux", t, i, "element" if kernel.components else "read")
        return found

    def back(t: str, loaded: dict[str, str], current: list[str]) -> list[str]:
        known = values | loaded | _named("c:s", kernel.states, current[:count])
        found, later = current[count : count + len(summed)], current[count + len(summed) :]
        known |= _named("n", kernel.states, later) if later else {}
        if not kernel.components and w.geometry.components > 1:
            mean = w.constant(1.0 / w.geometry.components)
            for n in (n for n in kernel.fluxes if n not in kernel.weighted):
                known[f"c:f:{n}"] = w.emit(f"{loaded[f'c:f:{n}']} * {mean}")
        out = write_graph(w, graph, known)
        for i, n in enumerate(names["r"]):
            w.store(out[f"d:{n}"], w.dynamic_at("grad_dynamic", t, i))
        for i, n in enumerate(names["x"]):
            w.store_sum(out[f"d:{n}"], w.series_at("grad_forcing", t, i, "write"))
        sums = [w.emit(f"{a} + {out[f'd:{n}']}") for a, n in zip(found, summed, strict=True)]
        return [out[f"d:s:{n}"] for n in kernel.states] + sums + [loaded[f"s:{n}"] for n in kernel.states if later]

    if recompute:
        _segments(w, values, lambda: w.loop("length", lambda turn: f"stop - 1 - {turn}", reads, carried, back))
    else:
        w.loop("steps", lambda turn: f"steps - 1 - {turn}", reads, carried, back)
    for i, name in enumerate(lambdas):
        w.store(name, w.elements_at("grad_start", i))
    total = dict(zip(summed, totals, strict=True))
    if names["p"]:
        raw = {f"r:{n}": values[f"r:{n}"] for n in kernel.static}
        out = write_graph(w, w.prepared(kernel.epilogue), raw | {f"d:{n}": total[n] for n in names["p"]})
        for i, n in enumerate(kernel.static):
            w.store(out[f"d:r:{n}"], w.elements_at("grad_static", i))
    for kind, base in (("w", "grad_weights"), ("u", "grad_uniforms")):
        for i, n in enumerate(names[kind]):
            w.store(total[n], w.elements_at(base, i))
    return w.module()


def _segments(w: TritonKernelWriter, values: dict[str, str], walk_back: Callable[[], None]) -> None:
    """Write the loop over segments, newest first: compute the states of one again, then walk it back."""
    kernel, count = w.kernel, len(w.kernel.states)
    graph = w.prepared(kernel.step.prune([f"s:{n}" for n in kernel.states]))
    w.do("segments = (steps + segment - 1) // segment")
    w.do(f"own_scratch = scratch + block * (segment.to(tl.int64) * {count * w.lanes})")
    w.do("for back in range(0, segments):")
    w.level += 1
    w.do("begin = (segments - 1 - back) * segment")
    w.do("stop = tl.minimum(begin + segment, steps)")
    w.do("length = stop - begin")
    rows = [f"((segments - 1 - back) * {count} + {i})" for i in range(count)]
    states = w.carry("again", [w.load(w.elements_at("kept", row)) for row in rows])

    def again(t: str, loaded: dict[str, str], current: list[str]) -> list[str]:
        for i, value in enumerate(current):
            w.store(value, w.scratch_at(t, i))
        known = values | loaded | _named("s", kernel.states, current)
        out = write_graph(w, graph, known | write_solution(w, known))
        return [out[f"s:{n}"] for n in kernel.states]

    w.loop("(length - 1)", lambda turn: f"begin + {turn}", w.addresses, states, again)
    for i, name in enumerate(states):
        w.store(name, w.scratch_at("(stop - 1)", i))
    # What one thread wrote another may read, and write again in the next segment.
    w.do("tl.debug_barrier()")
    walk_back()
    w.do("tl.debug_barrier()")
    w.level -= 1


def _named(kind: str, names: Sequence[str], values: Sequence[str]) -> dict[str, str]:
    return {f"{kind}:{n}": value for n, value in zip(names, values, strict=True)}
