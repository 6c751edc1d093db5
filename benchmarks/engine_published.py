"""Time the published hydrodl2 through its public call; run by `engine.py` with the Python of its own environment.

V/bin/python -I engine_published.py '{"steps": 365, "sites": 100, …}' REPEATS
"""

import json
import resource
import statistics
import sys
import time

import torch

from hydrodl2.models.hbv.hbv import Hbv


def main() -> None:
    """Print one JSON line: median CPU and wall seconds of forward and backward, peak memory."""
    given, repeats = json.loads(sys.argv[1]), int(sys.argv[2])
    torch.set_num_threads(1)
    generator = torch.Generator().manual_seed(0)
    model = Hbv({"nmul": given["components"], "dynamic_params": given["dynamic"]})
    scale, shift = torch.tensor([10.0, 30.0, 5.0]), torch.tensor([0.0, 10.0, 0.0])
    forcing = torch.rand(given["steps"], given["sites"], 3, generator=generator) * scale - shift
    shape = given["steps"], given["sites"], model.learnable_param_count
    raw = torch.randn(shape, generator=generator).requires_grad_()
    model({"x_phy": forcing[:4]}, raw[:4])["streamflow"].sum().backward()
    cpu, wall = [], []
    for _ in range(repeats):
        raw.grad = None
        start, begin = time.process_time(), time.perf_counter()
        model({"x_phy": forcing}, raw)["streamflow"].sum().backward()
        cpu.append(time.process_time() - start)
        wall.append(time.perf_counter() - begin)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"cpu_s": statistics.median(cpu), "wall_s": statistics.median(wall), "peak_mb": round(peak)}))


if __name__ == "__main__":
    main()
