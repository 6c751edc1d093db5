"""Run a kernel on a GPU, through Triton."""

from __future__ import annotations

import importlib.util
import inspect
import tempfile
from contextlib import AbstractContextManager, nullcontext
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from dmg.engine.cache import cache_folder, remember
from dmg.engine.geometry import Geometry
from dmg.engine.kernel import Kernel, fingerprint
from dmg.engine.triton_kernel import TritonKernelWriter, write_adjoint, write_forward
from dmg.engine.wanted import Wanted

_FORMAT = 1
REALS = {torch.float32: "float32", torch.float64: "float64"}
# A program is one warp: sums over components stay within it, and few sites already fill many processors.
LANES = {torch.float32: 32, torch.float64: 32}
# No contraction of products and sums, since pruning an output must not change another; loops are pipelined by hand.
OPTIONS = {"num_warps": 1, "num_stages": 1, "enable_fp_fusion": False}


class GpuFunction:
    """A function of a kernel, compiled by Triton when it is first run.

    Parameters
    ----------
    kernel
        What it computes.
    geometry
        How elements fill blocks; only components matter, not the number of sites.
    dtype
        float32 or float64.
    wanted
        Gradients of an adjoint; None for the forward function.
    keep
        Whether a forward function keeps states for an adjoint.
    """

    def __init__(
        self, kernel: Kernel, geometry: Geometry, dtype: torch.dtype, wanted: Wanted | None = None, keep: bool = False
    ) -> None:
        self.kernel, self.geometry, self.dtype, self.wanted, self.keep = kernel, geometry, dtype, wanted, keep

    def __call__(self, blocks: int, scratch: Tensor | None = None, **values: int | Tensor | None) -> None:
        """Run all blocks on the current stream of the device where the tensors are.

        Parameters
        ----------
        blocks
            Number of blocks.
        scratch
            Memory for the states of a segment, see `scratch`.
        values
            The arguments of the function by name; see `triton_kernel`.
        """
        run = self._plain if values["segment"] == 1 or self.wanted is None else self._recomputing
        values["scratch"] = scratch
        given = {n: values[n] for n in _arguments(run)}
        device = next(v.device for v in given.values() if isinstance(v, Tensor))
        with _current(device):
            run[(blocks,)](**given, **OPTIONS)

    def scratch(self, blocks: int, segment: int, device: torch.device) -> Tensor | None:
        """Return memory for the states of a segment, nothing if every state was kept."""
        if segment == 1:
            return None
        shape = blocks, segment, len(self.kernel.states), self.geometry.lanes
        return torch.empty(shape, dtype=self.dtype, device=device)

    def source(self, recompute: bool = False) -> str:
        """Return the text of the module that has the kernel."""
        writer = TritonKernelWriter(self.kernel, self.geometry, REALS[self.dtype])
        if self.wanted is None:
            return write_forward(writer, self.keep)
        return write_adjoint(writer, self.wanted, recompute)

    @cached_property
    def _plain(self) -> Any:
        return load_kernel(self.source())

    @cached_property
    def _recomputing(self) -> Any:
        return load_kernel(self.source(recompute=True))


def _arguments(kernel: Any) -> list[str]:
    return list(inspect.signature(kernel.fn).parameters)


def _current(device: torch.device) -> AbstractContextManager[Any]:
    return torch.cuda.device(device) if device.type == "cuda" else nullcontext()


@cache
def load_kernel(text: str) -> Any:
    """Return the kernel of a module's text; Triton needs the text in a file, and keeps what it compiles itself."""
    name = f"dmg_{fingerprint(_FORMAT, text)}"
    path = cache_folder() / f"{name}.py"
    if not (path.exists() and path.read_text() == text) and not remember(path, text.encode()):
        path = Path(_temporary_folder()) / path.name
        path.write_text(text)
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.kernel


@cache
def _temporary_folder() -> str:
    return tempfile.mkdtemp(prefix="dmg-")
