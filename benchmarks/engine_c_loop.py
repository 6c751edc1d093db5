"""The loop of HBV 1.0 and its adjoint written by hand in C, for one AVX-512 register of components.

Its source is not part of this repository; where it lies beside it, in ``../shared/bench``, it is built with the
command that its first line gives.
"""

from __future__ import annotations

import ctypes
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from engine_cases import Problem

SOURCE = Path(__file__).parents[2] / "shared" / "bench" / "hbv_loop.cpp"
STATES = 5


def _at(values: Tensor) -> ctypes.c_void_p:
    return ctypes.c_void_p(values.data_ptr())


class HandWritten:
    """The comparator: physical parameters in, runoff out, states of every step kept for the adjoint.

    Parameters
    ----------
    library
        The compiled code.
    order
        Static parameters in its order, named as in the model.
    """

    def __init__(self, library: ctypes.CDLL, order: list[str]) -> None:
        self.library, self.order = library, order

    @classmethod
    def build(cls) -> HandWritten | None:
        """Compile the source; None, with a message, if source, compiler or AVX-512 are missing."""
        flags = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
        for there, what in (
            (SOURCE.exists(), f"no {SOURCE}"),
            (shutil.which("g++"), "no g++"),
            ("avx512f" in flags, "no AVX-512"),
        ):
            if not there:
                print(f"{what}: the comparison with the loop written by hand is left out", file=sys.stderr)
                return None
        names = re.search(r"enum\s*{([^}]*)}", SOURCE.read_text()).group(1).split(",")
        with tempfile.TemporaryDirectory() as folder:
            target = Path(folder) / "hbv_loop.so"
            command = ["g++", "-O3", "-march=native", "-fopenmp", "-shared", "-fPIC", str(SOURCE), "-o", str(target)]
            subprocess.run(command, check=True)
            library = ctypes.CDLL(str(target))
        return cls(library, [f"par{n.strip()}" for n in names if n.strip() and n.strip() != "NS"])

    def take(self, problem: Problem) -> None:
        """Take the inputs of a problem, scaled, and make room for the results."""
        steps, sites, width = problem.forcing.shape[0], problem.forcing.shape[1], problem.model.nmul
        with torch.no_grad():
            physical = problem.model.physical_parameters(problem.raw())
        self.shape = steps, sites
        self.static = torch.stack([physical[n] for n in self.order]).contiguous()
        self.dynamic = torch.stack([physical[n] for n in problem.model.layout.dynamic]).contiguous()
        self.forcing = problem.forcing.contiguous()
        self.flow, self.cotangent = torch.empty(steps, sites), torch.ones(steps, sites)
        self.states = torch.empty(sites, steps, STATES * width)
        self.grad_static, self.grad_dynamic = torch.zeros_like(self.static), torch.empty_like(self.dynamic)

    def forward(self) -> None:
        """Run the loop on one thread."""
        inputs = map(_at, (self.static, self.dynamic, self.forcing, self.flow, self.states))
        self.library.hbv_fwd(*self.shape, *inputs, 1)

    def adjoint(self) -> None:
        """Run the adjoint on one thread."""
        inputs = (self.static, self.dynamic, self.forcing, self.states, self.cotangent)
        self.library.hbv_bwd(*self.shape, *map(_at, (*inputs, self.grad_static, self.grad_dynamic)), 1)

    def agreement(self, problem: Problem) -> dict[str, float]:
        """Return how far flow and gradients of the dynamic parameters are from the engine's, relative to their size."""
        layout = problem.model.layout
        with torch.no_grad():
            unit = torch.sigmoid(problem.dynamic)
            width = torch.tensor([p.high - p.low for p in layout.dynamic_parameters])
            slope = unit * (1 - unit) * width.repeat_interleave(layout.components)
            theirs = self.grad_dynamic.permute(1, 2, 0, 3).flatten(2) * slope
            flow = (problem.flow - self.flow).abs().max() / self.flow.abs().max()
            gradient = (problem.dynamic.grad - theirs).norm() / theirs.norm()
        return {"flow_difference": float(flow), "gradient_difference": float(gradient)}
