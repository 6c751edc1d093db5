"""Functions of a kernel in LLVM: their arguments, and what all of them do for a block and a step."""

from __future__ import annotations

from collections.abc import Sequence

from dmg.engine.elementary import compose, expand
from dmg.engine.geometry import Geometry
from dmg.engine.graph import Graph
from dmg.engine.kernel import Kernel
from dmg.engine.llvm_block import BlockWriter
from dmg.engine.llvm_graph import write_function, write_graph

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


# Steps from the call for what a step reads to its use: rows of a series lie too far apart for a processor to foresee.
AHEAD = 8


class KernelWriter(BlockWriter):
    """Writes the functions of a kernel for one geometry.

    Parameters
    ----------
    kernel
        What is computed.
    geometry, real, avx512
        See `BlockWriter`.
    """

    def __init__(self, kernel: Kernel, geometry: Geometry, real: str, avx512: bool) -> None:
        super().__init__(geometry, real, avx512)
        self.kernel = kernel

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
        self.block_sites = [self.smaller(self.integer(f"add %site, {k}"), newest) for k in range(self.group)]
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
            values[f"x:{n}"] = self.load_forcing(t, i)
        for i, n in enumerate(self.kernel.dynamic):
            values[f"r:{n}"] = self.load_dynamic(t, i)
        return values

    def prefetch_rows(self, t: str, direction: int, written: int = 0) -> None:
        """Call for the dynamic parameters of a later step in that direction, and for as many gradients of them."""
        later = self.integer(f"add {t}, {AHEAD * direction}")
        for i in range(len(self.kernel.dynamic)):
            self.prefetch(self.dynamic_addresses("%dynamic", later, i))
        for i in range(written):
            self.prefetch(self.dynamic_addresses("%grad_dynamic", later, i), write=True)

    def flux_row(self, t: str, i: int) -> str:
        """Return the row of a step in the series [fluxes, steps, ...] of a flux."""
        return self.integer(f"add {self.integer(f'mul %steps, {i}')}, {t}")

    def module(self, functions: Sequence[str]) -> str:
        """Return the text of a module, with the elementary functions that its functions need."""
        return super().module([*functions, *(write_function(self, op) for op in sorted(self.functions))])
