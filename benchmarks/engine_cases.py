"""The cases of `engine.py`: each returns its figures; torch and the package are imported inside, in the child."""

from __future__ import annotations

import functools
import json
import logging
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

    from hydrodl2.models.hbv.hbv import Hbv

SITES, COMPONENTS, STEPS, LONG = 100, 16, 365, 3650
DYNAMIC = {"Hbv": ["parBETA", "parBETAET"]}
ONE_THREAD = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
HERE = Path(__file__).parent


def timed(repeats: int, **functions: Callable[[], object]) -> dict[str, dict[str, float]]:
    """Return CPU and wall seconds of functions that take turns, after one turn that is not counted.

    Medians, and the best CPU time, which tells how far a busy machine slowed the rest.
    """
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in functions}
    for turn in range(repeats + 1):
        for name, function in functions.items():
            wall, cpu = time.perf_counter(), time.process_time()
            function()
            spent = time.process_time() - cpu, time.perf_counter() - wall
            if turn:
                taken[name].append(spent)
    return {
        name: {
            "cpu_s": statistics.median(cpu for cpu, _ in pairs),
            "wall_s": statistics.median(wall for _, wall in pairs),
            "best_cpu_s": min(cpu for cpu, _ in pairs),
        }
        for name, pairs in taken.items()
    }


def memory_kept(measure: Callable[..., dict[str, Any]]) -> Callable[..., dict[str, Any]]:
    """Let a case run with freed memory kept, as every run of the package does."""

    @functools.wraps(measure)
    def measured(*arguments: Any) -> dict[str, Any]:
        from dmg.core.utils.freed_memory import freed_memory_kept

        with freed_memory_kept():
            return measure(*arguments)

    return measured


def refuse_fallbacks() -> None:
    """Let a run fail where the engine would only warn that it falls back to a slower one."""

    def refuse(record: logging.LogRecord) -> bool:
        raise RuntimeError(record.getMessage())

    logging.getLogger("dmg.engine.simulate").addFilter(refuse)


def rounded(values: dict[str, Any]) -> dict[str, Any]:
    """Return figures with four digits, none for what was not measured."""
    return {k: float(f"{v:.4g}") if isinstance(v, float) else v for k, v in values.items()}


class Problem:
    """HBV with its inputs, the same in every process and for every comparator.

    Parameters
    ----------
    steps
        Length of the series.
    """

    def __init__(self, steps: int) -> None:
        import torch

        from hydrodl2.models.hbv.hbv import Hbv

        torch.set_num_threads(1)
        generator = torch.Generator().manual_seed(0)
        self.model: Hbv = Hbv({"nmul": COMPONENTS, "engine": "fused", "dynamic_params": DYNAMIC})
        layout = self.model.layout
        scale, shift = torch.tensor([10.0, 30.0, 5.0]), torch.tensor([0.0, 10.0, 0.0])
        self.forcing = torch.rand(steps, SITES, 3, generator=generator) * scale - shift
        self.dynamic = torch.randn(steps, SITES, len(layout.dynamic_channels), generator=generator)
        self.static = torch.randn(SITES, len(layout.static_channels), generator=generator)
        self.dynamic.requires_grad_()
        self.static.requires_grad_()
        self.flow: Tensor | None = None

    def routed(self) -> None:
        """Run to routed streamflow and back."""
        self._back(self.model.run(self.forcing, self.raw(), outputs=["streamflow"])[0]["streamflow"])

    def unrouted(self) -> None:
        """Run to runoff and back."""
        self._forward()
        self._back(self.flow)

    def raw(self) -> Any:
        """Return the parameters as the head gives them."""
        from dmg.engine import RawParameters

        return RawParameters(self.dynamic, self.static)

    def _forward(self) -> None:
        from dmg.engine import simulate

        run = simulate(self.model, self.forcing, self.raw(), fluxes=["streamflow"], engine="fused")
        self.flow = run.fluxes["streamflow"]

    def _back(self, flow: Tensor) -> None:
        self.dynamic.grad = self.static.grad = None
        self.flow = flow
        flow.sum().backward()


@memory_kept
def kernel() -> dict[str, Any]:
    """Time per element-step, against the loop and its adjoint written by hand in C."""
    problem = Problem(STEPS)
    functions: dict[str, Callable[[], object]] = {"routed": problem.routed, "unrouted": problem.unrouted}
    functions["forward"] = problem._forward
    found = _hand_written(problem)
    if found is not None:
        library, agreement = found
        functions |= {"c_forward": library.forward, "c_adjoint": library.adjoint}
    times = timed(25, **functions)
    per_ns = 1e9 / (STEPS * SITES * COMPONENTS)
    ns = {name: spent["cpu_s"] * per_ns for name, spent in times.items()}
    best = {name: spent["best_cpu_s"] * per_ns for name, spent in times.items()}
    result = {
        "ns": ns["routed"],
        "unrouted_ns": ns["unrouted"],
        "forward_ns": ns["forward"],
        "adjoint_ns": ns["unrouted"] - ns["forward"],
        "routing_ns": ns["routed"] - ns["unrouted"],
        "best_ns": best["routed"],
        "best_unrouted_ns": best["unrouted"],
        **times["routed"],
        "repeats": 25,
    }
    if found is not None:
        c = ns["c_forward"] + ns["c_adjoint"]
        result |= {
            "times_c": ns["routed"] / c,
            "unrouted_times_c": ns["unrouted"] / c,
            "c_ns": c,
            "best_c_ns": best["c_forward"] + best["c_adjoint"],
            "c_forward_ns": ns["c_forward"],
            "c_adjoint_ns": ns["c_adjoint"],
            **agreement,
        }
    return rounded(result)


def _hand_written(problem: Problem) -> tuple[Any, dict[str, float]] | None:
    """Return the C comparator and how far its results are from the engine's; None where it cannot be built."""
    from engine_c_loop import HandWritten

    library = HandWritten.build()
    if library is None:
        return None
    library.take(problem)
    library.forward()
    library.adjoint()
    problem.unrouted()
    return library, library.agreement(problem)


@memory_kept
def published(steps: int, repeats: int) -> dict[str, Any]:
    """CPU time of the published package over that of the engine."""
    python = os.environ.get("DMG_PUBLISHED_PYTHON")
    problem = Problem(steps)
    functions: dict[str, Callable[[], object]] = {"routed": problem.routed}
    if steps != STEPS:
        functions["short"] = Problem(STEPS).routed
    times = timed(9, **functions)
    own = times["routed"]
    result: dict[str, Any] = {**own, "repeats": 9}
    if steps != STEPS:
        result["times_365"] = own["cpu_s"] / times["short"]["cpu_s"]
    if python is None:
        print(
            "the published package is left out; to measure it: python -m venv V && "
            "V/bin/pip install -c constraints.txt hydrodl2==1.4.0 (its licence is non-commercial), "
            "and set DMG_PUBLISHED_PYTHON=V/bin/python",
            file=sys.stderr,
        )
        return rounded(result)
    script = HERE / "engine_published.py"
    given = json.dumps({"steps": steps, "sites": SITES, "components": COMPONENTS, "dynamic": DYNAMIC})
    with tempfile.TemporaryDirectory() as folder:
        child = subprocess.run(
            [python, "-I", str(script), given, str(repeats)],
            cwd=folder,
            env=os.environ | ONE_THREAD,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
    theirs = json.loads(child.stdout.splitlines()[-1])
    result |= {
        "speedup": theirs["cpu_s"] / own["cpu_s"],
        "published_cpu_s": theirs["cpu_s"],
        "published_wall_s": theirs["wall_s"],
        "published_peak_mb": theirs["peak_mb"],
        "published_repeats": repeats,
    }
    return rounded(result)


def memory() -> dict[str, Any]:
    """Peak memory of a long run beyond inputs, outputs and gradients.

    Memory is counted by Linux; the allocator is told to give back what is freed, so that nothing hides in it.
    """
    if os.environ.get("MALLOC_MMAP_THRESHOLD_") is None:
        tight = {"MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "65536"}
        command = [sys.executable, str(HERE / "engine.py"), "--child", "memory"]
        for _ in range(2):  # the first one compiles
            child = subprocess.run(command, env=os.environ | tight, stdout=subprocess.PIPE, text=True, check=True)
        return json.loads(child.stdout.splitlines()[-1])
    import gc

    # Compiled, loaded and run once, on few steps, before anything is counted.
    Problem(4).routed()
    problem = Problem(LONG)
    gc.collect()
    before = _resident("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew
    problem.routed()
    peak = _resident("VmHWM")
    outputs = [problem.flow, problem.dynamic.grad, problem.static.grad]
    own = sum(t.numel() * t.element_size() for t in outputs) / 2**20
    inputs = sum(t.numel() * t.element_size() for t in (problem.forcing, problem.dynamic, problem.static)) / 2**20
    return rounded(
        {"extra_mb": peak - before - own, "inputs_mb": inputs, "outputs_and_gradients_mb": own, "peak_mb": peak}
    )


def _resident(field: str) -> float:
    line = next(text for text in Path("/proc/self/status").read_text().splitlines() if text.startswith(field))
    return int(line.split()[1]) / 1024


@memory_kept
def compiled_step() -> dict[str, Any]:
    """A Python loop over the step compiled by PyTorch, from physical parameters; ours scales raw ones as well."""
    import torch
    from engine_compiled_step import CompiledLoop

    with tempfile.TemporaryDirectory() as folder:
        os.environ["TORCHINDUCTOR_CACHE_DIR"] = folder
        problem = Problem(STEPS)
        loop = CompiledLoop(problem.model, problem.forcing, problem.raw())
        start = time.process_time()
        loop.run()
        first = time.process_time() - start
        times = timed(7, fused=problem.unrouted, compiled=loop.run)
        difference = (loop.flow.detach() - problem.flow.detach()).abs().max() / problem.flow.detach().abs().max()
    return rounded(
        {
            "speedup": times["compiled"]["cpu_s"] / times["fused"]["cpu_s"],
            **times["fused"],
            "compiled_cpu_s": times["compiled"]["cpu_s"],
            "compiled_wall_s": times["compiled"]["wall_s"],
            "compiled_first_cpu_s": first,
            "flow_difference": float(difference),
            "torch": torch.__version__,
            "repeats": 7,
        }
    )


@memory_kept
def training_step() -> dict[str, Any]:
    """One optimizer step of δHBV over one of its network alone, with a loss on the output of the head.

    Denormal numbers are flushed to zero in both: gradients that fade over the warm-up become denormal, and an LSTM
    works on them several times as long. ``denormals_cpu_s`` is the whole step without that.
    """
    import torch

    from dmg.models.criterion import NseBatchLoss
    from dmg.models.delta_models import DplModel
    from dmg.models.neural_networks import LstmModel
    from hydrodl2.models.hbv.hbv import Hbv

    inputs, warmup, rho, hidden = 38, 365, 365, 256
    torch.set_num_threads(1)
    torch.manual_seed(0)
    physics = Hbv({"nmul": COMPONENTS, "warmup": warmup, "engine": "fused", "dynamic_params": DYNAMIC})
    model = DplModel(phy_model=physics, nn_model=LstmModel(inputs, physics.learnable_param_count, hidden, 0.5))
    optimizer = torch.optim.Adadelta(model.parameters())
    scale, shift = torch.tensor([10.0, 30.0, 5.0]), torch.tensor([0.0, 10.0, 0.0])
    batch = {
        "x_phy": torch.rand(warmup + rho, SITES, 3) * scale - shift,
        "xc_nn_norm": torch.randn(warmup + rho, SITES, inputs),
    }
    observed = torch.rand(rho, SITES)
    loss_func = NseBatchLoss(y_obs=observed)
    model.train()

    def descend(loss: Tensor) -> None:
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    def whole() -> None:
        output, _ = model.run(batch, outputs=["streamflow"])
        descend(loss_func(output["streamflow"], observed))

    def network() -> None:
        last = warmup + rho - 1
        raw = model.raw_parameters(batch, (last,))[0][last]
        descend(raw.dynamic[warmup:].square().mean() + raw.static.square().mean())

    def process() -> None:
        with torch.no_grad():
            _, state = physics.run(batch["x_phy"][:warmup], raw.window(0, warmup), outputs=["streamflow"])
        series, _ = physics.run(
            batch["x_phy"][warmup:], raw.window(warmup, warmup + rho), state, outputs=["streamflow"]
        )
        loss_func(series["streamflow"], observed).backward()

    with torch.no_grad():
        last = warmup + rho - 1
        raw = model.raw_parameters(batch, (last,))[0][last]
    raw.dynamic.requires_grad_()
    raw.static.requires_grad_()
    slow = timed(1, whole=whole)["whole"]["cpu_s"]
    torch.set_flush_denormal(True)
    times = timed(5, whole=whole, network=network, process=process)
    return rounded(
        {
            "times_network": times["whole"]["cpu_s"] / times["network"]["cpu_s"],
            **times["whole"],
            "network_cpu_s": times["network"]["cpu_s"],
            "network_wall_s": times["network"]["wall_s"],
            "process_and_loss_cpu_s": times["process"]["cpu_s"],
            "denormals_cpu_s": slow,
            "repeats": 5,
        }
    )


@memory_kept
def min_gru() -> dict[str, Any]:
    """Trunk against trunk, forward and backward to the gradients of all weights."""
    import torch

    from dmg.models.neural_networks import MinGruModel

    inputs, hidden, steps = 32, 128, 730
    torch.set_num_threads(1)
    torch.manual_seed(0)
    ours = MinGruModel(inputs, 1, hidden, dr=0.0, blocks=2)
    lstm = torch.nn.LSTM(inputs, hidden)
    x = torch.randn(steps, SITES, inputs)

    def run(features: Callable[[Tensor], Tensor], network: torch.nn.Module) -> Callable[[], None]:
        def once() -> None:
            network.zero_grad()
            features(x).sum().backward()

        return once

    times = timed(7, min_gru=run(lambda x: ours.features(x)[0], ours), lstm=run(lambda x: lstm(x)[0], lstm))
    return rounded(
        {
            "times_lstm": times["min_gru"]["cpu_s"] / times["lstm"]["cpu_s"],
            **times["min_gru"],
            "lstm_cpu_s": times["lstm"]["cpu_s"],
            "lstm_wall_s": times["lstm"]["wall_s"],
            "repeats": 7,
        }
    )


FIRST = """
import resource, sys
sys.path.insert(0, {folder!r})
import torch, dmg.engine, hydrodl2.models.hbv.hbv
from engine_cases import Problem
import time
problem = Problem(4)
start = time.process_time(); problem.routed(); first = time.process_time() - start
start = time.process_time(); problem.routed(); print(first - (time.process_time() - start))
"""


def first_call() -> dict[str, Any]:
    """First call less the second, in fresh processes: with an empty cache, and with one that has the code."""
    taken: dict[str, list[float]] = {"cold_s": [], "cached_s": []}
    for _ in range(3):
        with tempfile.TemporaryDirectory() as folder:
            for name in taken:
                child = subprocess.run(
                    [sys.executable, "-c", FIRST.format(folder=str(HERE))],
                    env=os.environ | {"DMG_CACHE_DIR": folder},
                    stdout=subprocess.PIPE,
                    text=True,
                    check=True,
                )
                taken[name].append(float(child.stdout))
    return rounded({name: statistics.median(values) for name, values in taken.items()} | {"repeats": 3})
