"""What the process model costs on a GPU: in a training step of δHBV, and alone against the eager engine.

HBV 1.0, parBETA and parBETAET dynamic, 100 sites, 16 components, float32; the network is an LSTM of 256 (cuDNN) on 365
days of warm-up and 365 days of training. Wall seconds, medians, the device synchronised around every turn. Needs
PyTorch with CUDA (and the Triton that comes with it), NumPy and this package; no data.

    python benchmarks/gpu.py                     # one JSON line for the device, one per case
    python benchmarks/gpu.py physics             # some cases
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from dmg.engine import RawParameters, simulate
from dmg.models.neural_networks import LstmModel
from hydrodl2.models.hbv.hbv import Hbv

SITES, COMPONENTS, INPUTS, HIDDEN, WARMUP, RHO = 100, 16, 38, 256, 365, 365
DYNAMIC = {"Hbv": ["parBETA", "parBETAET"]}


def wait(device: torch.device) -> None:
    """Wait until the device has done all its work."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def timed(device: torch.device, repeats: int, **functions: Callable[[], object]) -> dict[str, float]:
    """Return median wall seconds of functions that take turns, after two turns that are not counted."""
    taken: dict[str, list[float]] = {name: [] for name in functions}
    for turn in range(repeats + 2):
        for name, function in functions.items():
            wait(device)
            start = time.perf_counter()
            function()
            wait(device)
            if turn > 1:
                taken[name].append(time.perf_counter() - start)
    return {name: statistics.median(spent) for name, spent in taken.items()}


def model(engine: str) -> Hbv:
    """Return the process model."""
    return Hbv({"nmul": COMPONENTS, "engine": engine, "dynamic_params": DYNAMIC})


def forcing(steps: int, device: torch.device) -> Tensor:
    """Draw precipitation, temperature and potential evapotranspiration."""
    scale, shift = torch.tensor([10.0, 30.0, 5.0], device=device), torch.tensor([0.0, 10.0, 0.0], device=device)
    return torch.rand(steps, SITES, 3, device=device) * scale - shift


def training_step(device: torch.device, repeats: int = 9) -> dict[str, Any]:
    """One optimizer step of δHBV over one of its network alone, with a loss on the output of the head."""
    physics = model("fused")
    network = LstmModel(INPUTS, physics.learnable_param_count, HIDDEN, 0.5).to(device).train()
    optimizer = torch.optim.Adadelta(network.parameters())
    x, features = forcing(WARMUP + RHO, device), torch.randn(WARMUP + RHO, SITES, INPUTS, device=device)
    observed = torch.rand(RHO, SITES, device=device)

    def head() -> RawParameters:
        hidden, _ = network.features(features)
        layout = physics.layout
        dynamic = network.head(hidden, layout.dynamic_channels)
        return RawParameters(dynamic, network.head(hidden[-1], layout.static_channels))

    def descend(loss: Tensor) -> None:
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    def whole() -> None:
        raw = head()
        with torch.no_grad():
            _, state = physics.run(x[:WARMUP], raw.window(0, WARMUP), outputs=["streamflow"])
        series, _ = physics.run(x[WARMUP:], raw.window(WARMUP, WARMUP + RHO), state, outputs=["streamflow"])
        descend((series["streamflow"] - observed).square().mean())

    def alone() -> None:
        raw = head()
        descend(raw.dynamic[WARMUP:].square().mean() + raw.static.square().mean())

    start = time.perf_counter()
    whole()
    wait(device)
    first = time.perf_counter() - start
    times = timed(device, repeats, whole=whole, alone=alone)
    return {
        "times_network": times["whole"] / times["alone"],
        "target": 1.3,
        "whole_s": times["whole"],
        "network_s": times["alone"],
        "first_call_s": first,
        "repeats": repeats,
    }


def physics(device: torch.device, steps: int = 365, repeats: int = 3) -> dict[str, Any]:
    """Forward and adjoint, from raw parameters to unrouted streamflow and back, against the eager engine."""
    hbv, x = model("auto"), forcing(steps, device)
    dynamic = torch.randn(steps, SITES, len(hbv.layout.dynamic_channels), device=device, requires_grad=True)
    static = torch.randn(SITES, len(hbv.layout.static_channels), device=device, requires_grad=True)

    def run(engine: str) -> tuple[Tensor, ...]:
        series = simulate(hbv, x, RawParameters(dynamic, static), fluxes=["streamflow"], engine=engine).fluxes
        flow = series["streamflow"]
        return flow.detach(), *torch.autograd.grad(flow.sum(), (dynamic, static))

    pairs = zip(run("fused"), run("eager"), strict=True)
    difference = [float((a - b).abs().max() / b.abs().max()) for a, b in pairs]
    times = timed(device, repeats, fused=lambda: run("fused"), eager=lambda: run("eager"))
    result = {
        "steps": steps,
        "speedup": times["eager"] / times["fused"],
        "fused_s": times["fused"],
        "eager_s": times["eager"],
        "ns_per_element_step": times["fused"] / (steps * SITES * COMPONENTS) * 1e9,
        "flow_difference": difference[0],
        "gradient_difference": max(difference[1:]),
        "repeats": repeats,
    }
    if device.type == "cuda":
        for engine in ("fused", "eager"):
            wait(device)
            torch.cuda.reset_peak_memory_stats(device)
            before = torch.cuda.memory_allocated(device)
            run(engine)
            result[f"{engine}_extra_mb"] = (torch.cuda.max_memory_allocated(device) - before) / 2**20
    return result


CASES: dict[str, Callable[[torch.device], dict[str, Any]]] = {
    "training_step": training_step,
    "physics": physics,
    "physics_long": lambda device: physics(device, 3650, 1),
}


def main() -> None:
    """Run the cases that are named, or all."""
    names = sys.argv[1:] or list(CASES)
    if unknown := [name for name in names if name not in CASES]:
        sys.exit(f"unknown case {', '.join(unknown)}; there are {', '.join(CASES)}")
    if not torch.cuda.is_available():
        sys.exit("benchmarks/gpu.py needs a GPU that PyTorch can use: torch.cuda.is_available() is false here")
    import triton

    device = torch.device("cuda", torch.cuda.current_device())
    about = {"device": torch.cuda.get_device_name(device), "torch": torch.__version__, "cuda": torch.version.cuda}
    print(json.dumps(about | {"triton": triton.__version__, "cudnn": torch.backends.cudnn.version()}), flush=True)
    torch.manual_seed(0)
    for name in names:
        found = CASES[name](device)
        rounded = {k: float(f"{v:.4g}") if isinstance(v, float) else v for k, v in found.items()}
        print(json.dumps({"case": name, "sites": SITES, "components": COMPONENTS, **rounded}), flush=True)


if __name__ == "__main__":
    main()
