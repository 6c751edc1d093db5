"""What the fused engine costs, each case against what users have otherwise.

The problem: HBV 1.0, parBETA and parBETAET dynamic, 100 sites, 16 components, float32; from the raw output of the
network's head to routed streamflow, and back to gradients of the same. Every case runs in a process of its own on one
thread, its comparator in the same process, turn by turn, or right after it; figures are medians. CPU seconds count:
wall seconds are given for the state of the machine.

    python benchmarks/engine.py                    # every case: one JSON line each; updates results/engine.json
    python benchmarks/engine.py kernel memory      # some cases
    python benchmarks/engine.py --table            # results/engine.json as Markdown
    python benchmarks/engine.py --docs             # puts that table into docs/benchmarks.md

Comparators that are not there are left out, with a message that says how to get them.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import engine_cases as cases
import page

RESULTS = Path(__file__).with_name("results") / "engine.json"


@dataclass(frozen=True)
class Figure:
    """A figure of a case: its key in the JSON line, what it is, its unit, and the target if it has one."""

    key: str
    text: str
    unit: str
    at_most: float | None = None
    at_least: float | None = None

    def met(self, value: float | None) -> bool | None:
        """Return whether a value meets the target; None without either."""
        if value is None or (self.at_most is None and self.at_least is None):
            return None
        return value <= self.at_most if self.at_most is not None else value >= self.at_least

    @property
    def target(self) -> str:
        """The target as text."""
        if self.at_most is not None:
            return f"≤ {self.at_most:g} {self.unit}"
        return "" if self.at_least is None else f"≥ {self.at_least:g} {self.unit}"


@dataclass(frozen=True)
class Case:
    """Something to measure, and what its figures mean."""

    title: str
    measure: Callable[[], dict[str, Any]]
    figures: tuple[Figure, ...]


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


def run_case(name: str) -> dict[str, Any] | None:
    """Measure a case in a process of its own and return its JSON line; None if it failed and said why."""
    child = subprocess.run(
        [sys.executable, __file__, "--child", name],
        env=os.environ | cases.ONE_THREAD,
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    if child.returncode:
        return None
    measured = json.loads(child.stdout.splitlines()[-1])
    met = {f.key: f.met(measured.get(f.key)) for f in CASES[name].figures}
    return {
        "case": name,
        **measured,
        "met": {key: value for key, value in met.items() if value is not None},
        "threads": 1,
        "load": round(os.getloadavg()[0], 1) if hasattr(os, "getloadavg") else None,
        "machine": page.machine(),
        "date": datetime.date.today().isoformat(),
    }


def table(results: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the results as a Markdown table."""
    rows = ["| case | figure | measured | target | machine | date |", "|---|---|---|---|---|---|"]
    for name, case in CASES.items():
        line = results.get(name, {})
        title = case.title
        for figure in case.figures:
            value = line.get(figure.key)
            if value is None:
                continue
            met = {True: "", False: " (missed)", None: ""}[figure.met(value)]
            shown = f"{float(f'{value:.3g}'):g} {figure.unit}{met}"
            rows.append(f"| {title} | {figure.text} | {shown} | {figure.target} | {line['machine']} | {line['date']} |")
            title = ""
    return "\n".join(rows) + "\n"


def load() -> dict[str, dict[str, Any]]:
    """Return the results so far, by case."""
    return {line["case"]: line for line in json.loads(RESULTS.read_text())} if RESULTS.exists() else {}


def save(results: Mapping[str, Mapping[str, Any]]) -> None:
    """Write all results, one line each, in the order of the cases."""
    lines = [json.dumps(results[name], ensure_ascii=False) for name in CASES if name in results]
    RESULTS.write_text("[\n" + ",\n".join(lines) + "\n]\n", encoding="utf-8")


def main() -> None:
    """Measure, print and save; or print what was measured."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cases", nargs="*", metavar="CASE", help=f"one of {', '.join(CASES)} (default: all)")
    parser.add_argument("--table", action="store_true", help="print the saved results as Markdown")
    parser.add_argument("--docs", action="store_true", help="put them into docs/benchmarks.md")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    words = parser.parse_args()
    for name in words.cases:
        if name not in CASES:
            parser.error(f"unknown case '{name}'; there are {', '.join(CASES)}")
    if words.table or words.docs:
        page.put("engine", table(load())) if words.docs else print(table(load()), end="")
        return
    if words.child:
        cases.refuse_fallbacks()
        print(json.dumps(CASES[words.cases[0]].measure()))
        return
    failed = []
    for name in words.cases or CASES:
        line = run_case(name)
        if line is None:
            failed.append(name)
            continue
        print(json.dumps(line, ensure_ascii=False), flush=True)
        save(load() | {name: line})
    if failed:
        sys.exit(f"failed: {', '.join(failed)}")


if __name__ == "__main__":
    main()
