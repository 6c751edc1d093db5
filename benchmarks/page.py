"""Tables of measured figures in docs/benchmarks.md, between marks, and the machine that they were measured on."""

from __future__ import annotations

import argparse
import json
import os
import platform
from collections.abc import Callable
from pathlib import Path
from typing import Any

DOCS = Path(__file__).parents[1] / "docs" / "benchmarks.md"


def marks(name: str) -> tuple[str, str]:
    """Return the marks between which a table lies."""
    return f"<!-- {name}: begin -->", f"<!-- {name}: end -->"


def shown(name: str) -> str:
    """Return the table that the page has."""
    begin, end = marks(name)
    return DOCS.read_text(encoding="utf-8").partition(f"{begin}\n")[2].partition(end)[0]


def put(name: str, table: str) -> None:
    """Put a table between its marks."""
    begin, end = marks(name)
    before, _, rest = DOCS.read_text(encoding="utf-8").partition(begin)
    _, _, after = rest.partition(end)
    DOCS.write_text(f"{before}{begin}\n{table}{end}{after}", encoding="utf-8")


def machine() -> str:
    """Return the processor and the number of cores."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    name = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())
    return f"{name.replace('(R)', '').replace(' Processor', '')}, {os.cpu_count()} cores"


def measure_a_run(
    about: str | None,
    results: Path,
    measure: Callable[[str, str], dict[str, Any]],
    table: Callable[[dict[str, Any]], str],
) -> None:
    """Serve the command line of a script that measures a trained run, or puts what was measured into the page.

    Parameters
    ----------
    about
        Documentation of the script.
    results
        File of its results, which is named as its table on the page is.
    measure
        Takes the folder of a run and its Zarr store, and returns the figures.
    table
        Returns the figures as Markdown.
    """
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", nargs="?", help="folder of a trained run")
    parser.add_argument("store", nargs="?", help="its Zarr store")
    parser.add_argument("--docs", action="store_true", help="put the table into docs/benchmarks.md")
    words = parser.parse_args()
    if words.docs:
        put(results.stem, table(json.loads(results.read_text(encoding="utf-8"))))
        return
    if not words.store:
        parser.error("give RUN and STORE")
    results.write_text(json.dumps(measure(words.run, words.store), indent=1) + "\n", encoding="utf-8")
