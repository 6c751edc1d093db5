"""Seconds of the clock and of the processor, also over a work that is interrupted and taken up again."""

from __future__ import annotations

import time
from typing import NamedTuple


class Seconds(NamedTuple):
    """Seconds of the clock, and of the processor: all threads of this process together."""

    wall: float = 0.0
    cpu: float = 0.0


class Stopwatch:
    """Seconds since it was made.

    Parameters
    ----------
    before
        Seconds that the same work took before; they count as well.
    """

    def __init__(self, before: Seconds | None = None) -> None:
        now, before = _now(), before or Seconds()
        self._zero = Seconds(now.wall - before.wall, now.cpu - before.cpu)

    def read(self) -> Seconds:
        """Return the seconds until now."""
        now = _now()
        return Seconds(now.wall - self._zero.wall, now.cpu - self._zero.cpu)


def timings(what: str, seconds: Seconds) -> dict[str, dict[str, float]]:
    """Return entries of the record: seconds of the clock, and of the processor."""
    return {"timings": {f"{what}_s": round(seconds.wall, 2)}, "cpu_timings": {f"{what}_s": round(seconds.cpu, 2)}}


def _now() -> Seconds:
    return Seconds(time.perf_counter(), time.process_time())
