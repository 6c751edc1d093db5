"""Compile a kernel for the processor at hand and run it on threads."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache

import llvmlite
import llvmlite.binding as llvm
import torch
from torch import Tensor

from dmg.engine.cache import cache_folder, recall, remember, seal, sources
from dmg.engine.geometry import Geometry
from dmg.engine.kernel import Kernel, fingerprint
from dmg.engine.llvm_kernel import ADJOINT, FORWARD, KernelWriter, Wanted, write_adjoint, write_forward

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
        self._numbers, self._lanes, self._dtype = len(kernel.states) + len(kernel.costly), geometry.lanes, dtype
        self.arguments = FORWARD if wanted is None else ADJOINT
        name = "forward" if wanted is None else "adjoint"
        shape = (geometry.components, geometry.width, geometry.lanes)
        key = fingerprint(sources(), kernel_key(kernel), shape, str(dtype), wanted, keep, *_target())

        def text() -> str:
            writer = KernelWriter(kernel, geometry, REALS[dtype], "avx512f" in _host_features())
            function = write_forward(writer, keep) if wanted is None else write_adjoint(writer, wanted, keep)
            return writer.module([function])

        self._engine = load_object(key, text)
        address = self._engine.get_function_address(name)
        kinds = [ctypes.c_int64 if a.startswith("i64") else ctypes.c_void_p for a in self.arguments]
        # A function of ctypes releases the interpreter's lock while it runs.
        self._call = ctypes.CFUNCTYPE(None, *kinds)(address)

    def scratch(self, blocks: int, segment: int, device: torch.device) -> list[Tensor]:
        """Return memory for the numbers of a segment, one tensor per thread."""
        shape = segment, self._numbers, self._lanes
        return [torch.empty(shape, dtype=self._dtype, device=device) for _ in range(threads_for(blocks))]

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
        threads = threads_for(blocks)
        bounds = [blocks * i // threads for i in range(threads + 1)]

        def run(i: int) -> None:
            own = raw | {"first": bounds[i], "last": bounds[i + 1]}
            if scratch is not None:
                own["scratch"] = scratch[i].data_ptr()
            self._call(*(own[a.split()[1]] for a in self.arguments))

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


def _target() -> tuple[str, ...]:
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
