"""The routing cases of `national.py`; torch and the package are imported inside, in the child."""

from __future__ import annotations

import resource
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from hydrodl2.data.synthetic_rivers import Rivers
    from hydrodl2.routing import MuskingumCunge

REACHES, FEWER, DAYS, SUBSTEPS = 180_000, 10_000, 365, 24
BLOCK = 30
"""Days of inflow that are read, routed and written at a time."""


def forward() -> dict[str, Any]:
    """Route a year through the national network, from a store of daily inflow to one of daily discharge."""
    import torch
    import zarr

    from hydrodl2.data.synthetic_rivers import Rivers

    with tempfile.TemporaryDirectory() as folder:
        rivers = Rivers.grow(REACHES)
        store = zarr.open_group(Path(folder) / "routing.zarr", mode="w")
        series = {"shape": (DAYS, REACHES), "chunks": (BLOCK, REACHES // 16), "dtype": "float32"}
        inflow, discharge = (store.create_array(name, **series) for name in ("inflow", "discharge"))
        draw = runoff(rivers)
        for begin in range(0, DAYS, BLOCK):
            inflow[begin : begin + BLOCK] = draw(min(BLOCK, DAYS - begin))

        def run() -> None:
            router = reaches(rivers)
            parameters = router.parameters_at(torch.full((REACHES, 3), 0.3))
            state = None
            with torch.no_grad():
                for begin in range(0, DAYS, BLOCK):
                    read = torch.from_numpy(inflow[begin : begin + BLOCK])
                    routed, state = router(read, parameters, state)
                    discharge[begin : begin + BLOCK] = routed.numpy()

        return measured(run, REACHES)


def gradient() -> dict[str, Any]:
    """Route a year through a large basin, and find the gradients of all inflow and of every parameter."""
    import torch

    from hydrodl2.data.synthetic_rivers import Rivers

    rivers = Rivers.grow(FEWER)
    router = reaches(rivers)
    inflow = torch.from_numpy(runoff(rivers)(DAYS)).requires_grad_()
    share = torch.full((FEWER, 3), 0.3, requires_grad=True)

    def run(days: int = DAYS) -> None:
        routed, _ = router(inflow[:days], router.parameters_at(share))
        routed.square().mean().backward()

    run(1)  # compiles, or finds what was compiled before
    inflow.grad = share.grad = None
    return measured(run, FEWER)


def reaches(rivers: Rivers) -> MuskingumCunge:
    """Return the router of rivers."""
    from hydrodl2.routing import MuskingumCunge

    return MuskingumCunge(rivers.network, 1000.0 * rivers.length, rivers.slope, substeps=SUBSTEPS)


def runoff(rivers: Rivers, seed: int = 0) -> Callable[[int], np.ndarray]:
    """Return a function that draws the lateral inflow of the next days [days, N], m3 s-1: storms and recessions."""
    rng, store = np.random.default_rng(seed), np.full(len(rivers.network), 10.0, dtype=np.float32)
    area = (rivers.area / 86.4).astype(np.float32)

    def draw(days: int) -> np.ndarray:
        nonlocal store
        found = np.empty((days, len(area)), dtype=np.float32)
        for row in found:
            store = store + np.float32(rng.exponential(4.0) * (rng.random() < 0.4)) * rng.random(len(area), np.float32)
            row[:] = store * np.float32(0.1) * area
            store = store * np.float32(0.9)
        return found

    return draw


def measured(run: Callable[[], None], count: int) -> dict[str, Any]:
    """Return wall and CPU seconds of a run, CPU time per reach and routing step, and the peak memory of the process."""
    wall, cpu = time.perf_counter(), time.process_time()
    run()
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    return {
        "wall_s": round(wall, 1),
        "cpu_s": round(cpu, 1),
        "ns": round(cpu / (count * DAYS * SUBSTEPS) * 1e9, 1),
        "peak_gb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, 2),
    }
