"""Time and peak memory of HBV 1.0, forward and backward, against the length of the series and the number of sites.

Each case runs in a process of its own, so that its peak memory is its own. From the raw output of a network (static
parameters once, dynamic ones at every step) to routed streamflow, and back to gradients of the same.

    python benchmarks/physics.py                  # every case, writes benchmarks/results/physics.json
    python benchmarks/physics.py eager 365 100    # one case: engine, steps, sites
"""

from __future__ import annotations

import json
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path

COMPONENTS = 16
ENGINES = ("eager", "fused")
CASES = [(365, 100), (730, 100), (1460, 100), (3650, 100), (365, 10), (365, 1000)]
REPEATS = 3


def measure(engine: str, steps: int, sites: int) -> dict[str, float]:
    """Return CPU and wall seconds and peak memory [MB] of one case, on one thread."""
    import torch

    from dmg.engine import RawParameters
    from hydrodl2.models.hbv.hbv import Hbv

    torch.set_num_threads(1)
    generator = torch.Generator().manual_seed(0)
    model = Hbv({"nmul": COMPONENTS, "engine": engine, "dynamic_params": {"Hbv": ["parBETA", "parBETAET"]}})
    forcing = torch.rand(steps, sites, 3, generator=generator) * torch.tensor([10.0, 30.0, 5.0]) - torch.tensor(
        [0.0, 10.0, 0.0]
    )
    dynamic = torch.randn(steps, sites, len(model.layout.dynamic_channels), generator=generator, requires_grad=True)
    static = torch.randn(sites, len(model.layout.static_channels), generator=generator, requires_grad=True)
    # A first short run, so that compilation is not counted.
    model.run(forcing[:2], RawParameters(dynamic[:2], static), outputs=["streamflow"])[0]["streamflow"].sum().backward()
    base = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    times: dict[str, list[float]] = {"forward": [], "backward": [], "wall": []}
    for _ in range(REPEATS):
        wall, start = time.perf_counter(), time.process_time()
        flow = model.run(forcing, RawParameters(dynamic, static), outputs=["streamflow"])[0]["streamflow"]
        middle = time.process_time()
        flow.sum().backward()
        times["forward"].append(middle - start)
        times["backward"].append(time.process_time() - middle)
        times["wall"].append(time.perf_counter() - wall)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    result = {f"{name}_s": round(statistics.median(values), 4) for name, values in times.items()}
    return {
        "engine": engine,
        "steps": steps,
        "sites": sites,
        "components": COMPONENTS,
        **result,
        "peak_mb": round(peak),
        "base_mb": round(base),
    }


def main() -> None:
    """Run one case, or every case in its own process."""
    if len(sys.argv) == 4:
        print(json.dumps(measure(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))))
        return
    results = []
    for case in [(engine, *case) for engine in ENGINES for case in CASES]:
        run = subprocess.run([sys.executable, __file__, *map(str, case)], capture_output=True, text=True, check=True)
        results.append(json.loads(run.stdout))
        print(run.stdout.strip(), flush=True)
    Path(__file__).with_name("results").joinpath("physics.json").write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
