"""Compile a kernel for the processor at hand and run it on threads."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache, cached_property
from typing import Any

import llvmlite
import llvmlite.binding as llvm
import torch
from torch import Tensor

from dmg.engine.cache import cache_folder, recall, remember, seal, sources
from dmg.engine.geometry import Geometry
from dmg.engine.kernel import Kernel, fingerprint
from dmg.engine.llvm_adjoint import write_adjoint
from dmg.engine.llvm_forward import write_forward
from dmg.engine.llvm_kernel import ADJOINT, FORWARD, KernelWriter
from dmg.engine.wanted import Wanted

REALS = {torch.float32: "float", torch.float64: "double"}


class CpuFunction:
    """A compiled function of a kernel.

    Parameters
    ----------
    kernel
        What it computes.
    geometry
        How elements fill vectors; only components matter, not the number of sites.
    dtype
        float32 or float64.
    wanted
        Gradients of an adjoint; None for the forward function.
    keep
        Whether a forward function keeps states for an adjoint; for an adjoint, whether it finds those of every
        ``segment``-th step only.
    """

    def __init__(
        self, kernel: Kernel, geometry: Geometry, dtype: torch.dtype, wanted: Wanted | None = None, keep: bool = False
    ) -> None:
        self.kernel, self.geometry, self.dtype, self.wanted, self.keep = kernel, geometry, dtype, wanted, keep
        self._arguments = FORWARD if wanted is None else ADJOINT

    def source(self) -> str:
        """Return the text of the module that has the function, before LLVM optimises it."""
        writer = KernelWriter(self.kernel, self.geometry, REALS[self.dtype], host_has("avx512f"))
        if self.wanted is None:
            return writer.module([write_forward(writer, self.keep)])
        return writer.module([write_adjoint(writer, self.wanted, self.keep)])

    def load(self) -> None:
        """Compile the function, or find it in the cache, now instead of when it is first run."""
        _ = self._call

    @cached_property
    def _call(self) -> Any:
        shape = (self.geometry.components, self.geometry.width, self.geometry.lanes)
        what = (kernel_key(self.kernel), shape, str(self.dtype), self.wanted, self.keep)
        self._engine = load_object(fingerprint(sources(), *what, *target()), self.source)
        address = self._engine.get_function_address("forward" if self.wanted is None else "adjoint")
        kinds = [ctypes.c_int64 if a.startswith("i64") else ctypes.c_void_p for a in self._arguments]
        # A function of ctypes releases the interpreter's lock while it runs.
        return ctypes.CFUNCTYPE(None, *kinds)(address)

    def scratch(self, blocks: int, segment: int, device: torch.device) -> list[Tensor]:
        """Return memory for the numbers of a segment, one tensor per thread."""
        numbers = len(self.kernel.states) + len(self.kernel.costly)
        shape = segment, numbers, self.geometry.lanes
        return [torch.empty(shape, dtype=self.dtype, device=device) for _ in range(threads_for(blocks))]

    def __call__(self, blocks: int, scratch: Sequence[Tensor] | None = None, **values: int | Tensor | None) -> None:
        """Run all blocks, spread over the threads that PyTorch may use.

        Parameters
        ----------
        blocks
            Number of blocks.
        scratch
            Memory for the states of a segment, one tensor per thread.
        values
            The arguments of the function by name, without ``first`` and ``last``.
        """
        raw = {n: (v.data_ptr() if isinstance(v, Tensor) else v or 0) for n, v in values.items()}
        threads, call = threads_for(blocks), self._call
        bounds = [blocks * i // threads for i in range(threads + 1)]

        def run(i: int) -> None:
            own = raw | {"first": bounds[i], "last": bounds[i + 1]}
            if scratch is not None:
                own["scratch"] = scratch[i].data_ptr()
            call(*(own[a.split()[1]] for a in self._arguments))

        if threads == 1:
            run(0)
        else:
            list(_pool(threads, os.getpid()).map(run, range(threads)))


def threads_for(blocks: int) -> int:
    """Return how many threads share a number of blocks."""
    return max(1, min(torch.get_num_threads(), blocks))


def kernel_key(kernel: Kernel) -> tuple[object, ...]:
    """Return what a kernel's code depends on."""
    graphs = [(tuple(g.nodes), tuple(g.outputs.items())) for g in kernel.graphs]
    names = (kernel.states, kernel.forcings, kernel.static, kernel.dynamic, kernel.fluxes, kernel.uniforms)
    return (*names, kernel.weighted, kernel.components, *graphs)


@cache
def _pool(threads: int, process: int) -> ThreadPoolExecutor:
    """Return the threads of a process; after a fork they are new ones, since threads do not survive it."""
    del process
    return ThreadPoolExecutor(threads, thread_name_prefix="dmg")


def _machine() -> llvm.TargetMachine:
    """Return the processor at hand; an execution engine owns the one it is given, so each gets its own."""
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    target = llvm.Target.from_default_triple()
    return target.create_target_machine(
        cpu=llvm.get_host_cpu_name(), features=llvm.get_host_cpu_features().flatten(), opt=3, jit=True
    )


@cache
def _host_features() -> frozenset[str]:
    return frozenset(name for name, there in llvm.get_host_cpu_features().items() if there)


def host_has(feature: str) -> bool:
    """Return whether the processor at hand has a feature."""
    return feature in _host_features()


def target() -> tuple[str, ...]:
    """Return what compiled code depends on besides its source."""
    return (llvmlite.__version__, llvm.get_host_cpu_name(), *sorted(_host_features()))


# Engines by key, for as long as the process lives: functions may run in any thread at any time.
_engines: dict[str, llvm.ExecutionEngine] = {}


def load_object(key: str, text: Callable[[], str]) -> llvm.ExecutionEngine:
    """Return an engine with the compiled code of a key; compile the text only if the cache has none."""
    if key in _engines:
        return _engines[key]
    path = cache_folder() / f"{key}.o"
    code = recall(path)
    if code is None:
        code = compile_text(text())
        remember(path, seal(code))
    engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), _machine())
    engine.add_object_file(llvm.ObjectFileRef.from_data(code))
    engine.finalize_object()
    _engines[key] = engine
    return engine


@contextmanager
def forgetting() -> Iterator[None]:
    """Load code anew as a new process does, to see how long that takes."""
    loaded = dict(_engines)
    _engines.clear()
    try:
        yield
    finally:
        _engines.update(loaded)


def compile_text(text: str) -> bytes:
    """Return the object code of a module."""
    machine = _machine()
    module = llvm.parse_assembly(text)
    module.verify()
    builder = llvm.create_pass_builder(machine, llvm.create_pipeline_tuning_options(speed_level=2))
    builder.getModulePassManager().run(module, builder)
    return machine.emit_object(module)


def assembly(text: str) -> str:
    """Return the instructions that a module becomes on this machine."""
    machine = _machine()
    module = llvm.parse_assembly(text)
    builder = llvm.create_pass_builder(machine, llvm.create_pipeline_tuning_options(speed_level=2))
    builder.getModulePassManager().run(module, builder)
    return machine.emit_assembly(module)
