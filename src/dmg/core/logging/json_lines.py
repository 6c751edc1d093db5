"""Scalars of a run as one JSON object per line, readable by pandas, jq and people."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dmg.core.logging.base import BaseLogger
from dmg.core.utils.atomic import write_text


class JsonLinesLogger(BaseLogger):
    """Logger that appends to ``<log_dir>/metrics.jsonl``.

    Every line has ``step``, ``time`` (seconds since the epoch of Unix) and the scalars; the configuration goes
    to ``<log_dir>/config.json``. ``pandas.read_json(path, lines=True)`` reads the file.

    Parameters
    ----------
    log_dir
        Directory of the two files; made when the first line is written, so that an unused logger leaves none.
    config
        Configuration to record at once.
    """

    filename = "metrics.jsonl"

    def __init__(self, log_dir: str | Path, config: Mapping[str, Any] | None = None) -> None:
        self.path = Path(log_dir) / self.filename
        self._handle = None
        if config is not None:
            self.log_config(config)

    def log_metrics(self, metrics: Mapping[str, float], step: int) -> None:
        """Append one line and hand it to the operating system, so that a run can be watched."""
        if self._handle is None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._handle = self.path.open("a", encoding="utf-8")
        line = {"step": int(step), "time": round(time.time(), 3)}
        line.update({name: float(value) for name, value in metrics.items()})
        self._handle.write(json.dumps(line) + "\n")
        self._handle.flush()

    def log_config(self, config: Mapping[str, Any]) -> None:
        """Write the configuration beside the scalars."""
        write_text(self.path.with_name("config.json"), json.dumps(dict(config), indent=2, default=str))

    def keep_until(self, step: int) -> None:
        """Drop the lines of later steps, and one that a killed process left unfinished."""
        if not self.path.exists():
            return
        self.close()
        kept = [line for line in self.path.read_text(encoding="utf-8").splitlines() if _step(line) <= step]
        write_text(self.path, "".join(f"{line}\n" for line in kept))

    def close(self) -> None:
        """Close the file."""
        if self._handle is not None:
            self._handle.close()
            self._handle = None


def _step(line: str) -> float:
    """Return the step of a line, infinity if the line is not whole."""
    try:
        return json.loads(line)["step"]
    except (ValueError, KeyError):
        return math.inf
