"""Cases with figures and targets: each is measured in a process of its own, saved, and shown in docs/benchmarks.md."""

from __future__ import annotations

import argparse
import datetime
import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import page


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
    """Something to measure, what its figures mean, and on how many threads."""

    title: str
    measure: Callable[[], dict[str, Any]]
    figures: tuple[Figure, ...]
    threads: int = 1

    @property
    def environment(self) -> dict[str, str]:
        """Variables that set the number of threads."""
        return dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), str(self.threads))


@dataclass(frozen=True)
class Suite:
    """The cases of a script.

    Parameters
    ----------
    script
        Its file; results lie under ``results`` beside it, in a file of its name, which is also that of its table.
    about
        Its documentation.
    cases
        By name.
    prepare
        Called in the process of a case before it is measured.
    """

    script: Path
    about: str | None
    cases: Mapping[str, Case]
    prepare: Callable[[], None] = lambda: None

    @property
    def results(self) -> Path:
        """Where the results are."""
        return self.script.with_name("results") / f"{self.script.stem}.json"

    def run_case(self, name: str) -> dict[str, Any] | None:
        """Measure a case in a process of its own and return its JSON line; None if it failed and said why."""
        case = self.cases[name]
        child = subprocess.run(
            [sys.executable, str(self.script), "--child", name],
            env=os.environ | case.environment,
            stdout=subprocess.PIPE,
            text=True,
            check=False,
        )
        if child.returncode:
            return None
        measured = json.loads(child.stdout.splitlines()[-1])
        met = {f.key: f.met(measured.get(f.key)) for f in case.figures}
        return {
            "case": name,
            **measured,
            "met": {key: value for key, value in met.items() if value is not None},
            "threads": case.threads,
            "load": round(os.getloadavg()[0], 1) if hasattr(os, "getloadavg") else None,
            "machine": page.machine(),
            "date": datetime.date.today().isoformat(),
        }

    def table(self, results: Mapping[str, Mapping[str, Any]]) -> str:
        """Return the results as a Markdown table."""
        rows = ["| case | figure | measured | target | machine | date |", "|---|---|---|---|---|---|"]
        for name, case in self.cases.items():
            line = results.get(name, {})
            title = case.title
            for figure in case.figures:
                value = line.get(figure.key)
                if value is None:
                    continue
                met = {True: "", False: " (missed)", None: ""}[figure.met(value)]
                shown = f"{float(f'{value:.3g}'):g} {figure.unit}{met}"
                rows.append(
                    f"| {title} | {figure.text} | {shown} | {figure.target} | {line['machine']} | {line['date']} |"
                )
                title = ""
        return "\n".join(rows) + "\n"

    def load(self) -> dict[str, dict[str, Any]]:
        """Return the results so far, by case."""
        if not self.results.exists():
            return {}
        return {line["case"]: line for line in json.loads(self.results.read_text(encoding="utf-8"))}

    def save(self, results: Mapping[str, Mapping[str, Any]]) -> None:
        """Write all results, one line each, in the order of the cases."""
        lines = [json.dumps(results[name], ensure_ascii=False) for name in self.cases if name in results]
        self.results.write_text("[\n" + ",\n".join(lines) + "\n]\n", encoding="utf-8")

    def main(self) -> None:
        """Measure, print and save; or print what was measured."""
        parser = argparse.ArgumentParser(description=self.about, formatter_class=argparse.RawDescriptionHelpFormatter)
        parser.add_argument("cases", nargs="*", metavar="CASE", help=f"one of {', '.join(self.cases)} (default: all)")
        parser.add_argument("--table", action="store_true", help="print the saved results as Markdown")
        parser.add_argument("--docs", action="store_true", help="put them into docs/benchmarks.md")
        parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
        words = parser.parse_args()
        for name in words.cases:
            if name not in self.cases:
                parser.error(f"unknown case '{name}'; there are {', '.join(self.cases)}")
        if words.docs:
            page.put(self.script.stem, self.table(self.load()))
            return
        if words.table:
            print(self.table(self.load()), end="")
            return
        if words.child:
            self.prepare()
            print(json.dumps(self.cases[words.cases[0]].measure()))
            return
        failed = []
        for name in words.cases or self.cases:
            line = self.run_case(name)
            if line is None:
                failed.append(name)
                continue
            print(json.dumps(line, ensure_ascii=False), flush=True)
            self.save(self.load() | {name: line})
        if failed:
            sys.exit(f"failed: {', '.join(failed)}")
