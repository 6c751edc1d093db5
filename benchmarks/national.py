"""What national scale costs: HBV 2.0 in 180,000 units, routing through as many reaches, gradients through 10,000.

The network is synthetic (`hydrodl2.data.synthetic_rivers`), its branching, lengths and slopes those of rivers of the
United States; routing is hourly, inflow and output are daily, in float32.

    python benchmarks/national.py                    # every case: one JSON line each; updates results/national.json
    python benchmarks/national.py routing_forward    # some cases
    python benchmarks/national.py --docs             # puts the table into docs/benchmarks.md
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path

import national_routing
import national_simulation
import national_twin
from suite import Case, Figure, Suite


def _simulation(units: int, limit: float | None = None, river: bool = False) -> Case:
    """Return the simulation of so many units, from store to store, and through the river between them."""
    return Case(
        f"δHBV 2.0 with LSTM 64 and MLP 256, {units // 1000} 000 units × 365 days, "
        + ("then through their river hour by hour, " if river else "")
        + f"from Zarr to Zarr, one thread, `sim.max_memory={national_simulation.MAX_MEMORY:g}`",
        partial(national_simulation.simulation, units, river),
        (
            Figure("wall_s", "wall-clock time", "s", at_most=limit),
            Figure("cpu_s", "CPU time", "s"),
            Figure("us_per_unit", "CPU time", "µs per unit"),
            Figure("peak_gb", "peak memory", "GB", at_most=4),
        ),
    )


CASES: Mapping[str, Case] = {
    "physics": Case(
        "HBV 2.0, 180 000 units × 4 components × 365 days, three dynamic parameters, two cores",
        national_simulation.physics,
        (
            Figure("wall_s", "wall-clock time", "s", at_most=3),
            Figure("cpu_s", "CPU time", "s"),
            Figure("ns", "CPU time", "ns per element-step"),
        ),
        threads=2,
    ),
    "simulation_20k": _simulation(20_000),
    "simulation_60k": _simulation(60_000),
    "simulation": _simulation(180_000, 240),
    "simulation_river_20k": _simulation(20_000, river=True),
    "simulation_river": _simulation(180_000, river=True),
    "routing_forward": Case(
        "Muskingum–Cunge, 180 000 reaches × 365 days × 24, inflow and discharge streamed from and to Zarr, two cores",
        national_routing.forward,
        (
            Figure("wall_s", "wall-clock time", "s", at_most=120),
            Figure("cpu_s", "CPU time", "s"),
            Figure("ns", "CPU time", "ns per reach-substep"),
            Figure("peak_gb", "peak memory", "GB", at_most=3),
        ),
        threads=2,
    ),
    "routing_gradient": Case(
        "Muskingum–Cunge, 10 000 reaches × 365 days × 24, forward and gradient of inflow and parameters",
        national_routing.gradient,
        (
            Figure("ns", "CPU time", "ns per reach-substep", at_most=400),
            Figure("peak_gb", "peak memory", "GB", at_most=1),
        ),
    ),
    "routing_twin": Case(
        "Delaware, 456 segments, 168 gauges: Manning's n of a network of area and slope, learned from daily discharge",
        national_twin.twin,
        (
            Figure("median", "error of n, median of the segments", "%"),
            Figure("p90", "error of n, 90th percentile", "%", at_most=10),
            Figure("noisy_median", "the same from discharge with an error of 5 %, median", "%", at_most=10),
            Figure("noisy_p90", "90th percentile", "%"),
            Figure("cpu_s", "CPU time, both", "s"),
        ),
    ),
}

SUITE = Suite(Path(__file__), __doc__, CASES)

if __name__ == "__main__":
    SUITE.main()
