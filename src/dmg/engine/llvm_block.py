"""How a block of elements lies in memory, read and written by LLVM instructions."""

from __future__ import annotations

from collections.abc import Sequence

from dmg.engine.geometry import Geometry
from dmg.engine.llvm_writer import FLAGS, Writer

# Bytes that memory moves at once.
LINE = 64


class BlockWriter(Writer):
    """Writes loads and stores of a block: vectors of elements, and numbers of its sites.

    The offset of the block and its first site are values of the function, ``%offset`` and ``%site``.

    Parameters
    ----------
    geometry
        How elements fill vectors.
    real
        ``float`` or ``double``.
    avx512
        Whether the processor has AVX-512.
    """

    def __init__(self, geometry: Geometry, real: str, avx512: bool) -> None:
        super().__init__(real, geometry.lanes, avx512 and real == "float")
        self.geometry = geometry
        self.width, self.group, self.parts = geometry.width, geometry.group, geometry.parts
        self.block_sites: list[str] = []

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

    def kept_at(self, index: str, i: int, count: int) -> str:
        """Return where the i-th one of ``count`` states before a segment is kept: a block has its own in one piece."""
        before = self.integer(f"mul %offset, {self.integer(f'mul {self.segments()}, {count}')}")
        return self.address("%kept", before, f"{index}*{count * self.lanes}", str(i * self.lanes))

    def segments(self) -> str:
        """Return the number of segments of a run."""
        more = self.integer("add %steps, %segment")
        return self.integer(f"sdiv {self.integer(f'sub {more}, 1')}, %segment")

    def load_forcing(self, t: str, i: int) -> str:
        """Load a forcing of a step, and spread it over the components of each site."""
        row = self.integer(f"add {self.integer(f'mul {t}, %forcing_t')}, {self.integer(f'mul {i}, %forcing_f')}")
        if not self.geometry.apart:
            return self.load_sites("%forcing", row, "%site*%forcing_s")
        size, parts = self.lanes // self.group, []
        for site in self.block_sites:
            pointer = self.address("%forcing", row, f"{site}*%forcing_s")
            parts.append(self.splat(self.emit(f"load {self.real}, ptr {pointer}, align {self.bytes}"), lanes=size))
        return self.join(parts, size)

    def prefetch(self, pointers: Sequence[str], write: bool = False) -> None:
        """Call for the memory at pointers that hold a vector together; they may lie outside of all memory."""
        self.declarations.add("declare void @llvm.prefetch.p0(ptr, i32, i32, i32)")
        for pointer in pointers:
            for line in range(0, self.lanes // len(pointers) * self.bytes, LINE):
                at = pointer if not line else self.emit(f"getelementptr i8, ptr {pointer}, i64 {line}")
                self.do(f"call void @llvm.prefetch.p0(ptr {at}, i32 {int(write)}, i32 3, i32 1)")

    def load_dynamic(self, t: str, p: int) -> str:
        """Load a dynamic parameter of a step."""
        pointers = self.dynamic_addresses("%dynamic", t, p)
        if len(pointers) == 1:
            return self.load(pointers[0])
        size = self.lanes // len(pointers)
        parts = [self.emit(f"load <{size} x {self.real}>, ptr {pointer}, align {self.bytes}") for pointer in pointers]
        return self.join(parts, size)

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
