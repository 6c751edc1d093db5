"""Tables of measured figures in docs/benchmarks.md, between marks, and the machine that they were measured on."""

from __future__ import annotations

import os
import platform
from pathlib import Path

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
