"""What the fused engine costs, each case against what users have otherwise.

The problem: HBV 1.0, parBETA and parBETAET dynamic, 100 sites, 16 components, float32; from the raw output of the
network's head to routed streamflow, and back to gradients of the same. Every case runs in a process of its own on one
thread, its comparator in the same process, turn by turn, or right after it; figures are medians. Freed memory is kept,
as every run of the package keeps it, but where memory is what is measured. CPU seconds count: wall seconds are given
for the state of the machine.

    python benchmarks/engine.py                    # every case: one JSON line each; updates results/engine.json
    python benchmarks/engine.py kernel memory      # some cases
    python benchmarks/engine.py --table            # results/engine.json as Markdown
    python benchmarks/engine.py --docs             # puts that table into docs/benchmarks.md

Comparators that are not there are left out, with a message that says how to get them.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path

import engine_cases as cases
from suite import Case, Figure, Suite

CASES: Mapping[str, Case] = {
    "kernel": Case(
        "365 steps, forward and adjoint, scaling, recomputation and routing included",
        cases.kernel,
        (
            Figure("ns", "time", "ns per element-step", at_most=15),
            Figure("times_c", "over the loop written by hand in C (which neither scales, recomputes nor routes)", "×",
                   at_most=1.6),
            Figure("unrouted_ns", "time without routing", "ns per element-step"),
            Figure("unrouted_times_c", "over C without routing", "×"),
        ),
    ),
    "published": Case(
        "365 steps against the published hydrodl2 1.4.0",
        partial(cases.published, 365, 3),
        (Figure("speedup", "less CPU time", "×", at_least=80),),
    ),
    "published_long": Case(
        "3650 steps against the published hydrodl2 1.4.0",
        partial(cases.published, 3650, 1),
        (
            Figure("speedup", "less CPU time", "×", at_least=800),
            Figure("times_365", "over its own 365 steps", "×", at_most=11),
        ),
    ),
    "memory": Case(
        "3650 steps, peak memory beyond inputs, outputs and gradients",
        cases.memory,
        (Figure("extra_mb", "extra memory", "MB", at_most=32),),
    ),
    "compiled_step": Case(
        "365 steps, unrouted, against torch.compile of the step in a Python loop",
        cases.compiled_step,
        (Figure("speedup", "less CPU time", "×", at_least=10),),
    ),
    "training_step": Case(
        "a δHBV training step (LSTM 256, 365 + 365 days) over the same without the physics",
        cases.training_step,
        (Figure("times_network", "over trunk and reduced head alone", "×", at_most=1.10),),
    ),
    "min_gru": Case(
        "MinGruModel, two blocks of 128, 730 steps, against torch's LSTM of 128",
        cases.min_gru,
        (Figure("times_lstm", "CPU time over that of the LSTM", "×", at_most=0.5),),
    ),
    "first_call": Case(
        "first forward and backward of a process, above importing torch and the package",
        cases.first_call,
        (
            Figure("cold_s", "trace and compile", "s", at_most=3),
            Figure("cached_s", "compiled before", "s", at_most=0.3),
        ),
    ),
}  # fmt: skip


SUITE = Suite(Path(__file__), __doc__, CASES, cases.refuse_fallbacks)

if __name__ == "__main__":
    SUITE.main()
