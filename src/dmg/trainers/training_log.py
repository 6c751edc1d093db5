"""The table of a training: one line per minibatch, written once per epoch."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

from dmg.core.utils.atomic import atomic_write
from dmg.core.utils.stopwatch import Seconds

HEADER = ("epoch", "batch", "loss", "time_s", "cpu_s", "grad_norm", "learning_rate", "gpu_mem_mb")


class TrainingLog:
    """Rows of ``training_log.csv``, kept in memory and written as a whole, so that no line is ever half there.

    Parameters
    ----------
    path
        The file; None keeps the rows in memory only.
    """

    def __init__(self, path: Path | None) -> None:
        self.path = path
        self.rows: list[Sequence[str]] = []

    def add(
        self, epoch: int, batch: int, loss: float, seconds: Seconds, norm: float, rate: float, memory: float
    ) -> None:
        """Add the row of a minibatch; a skipped one has the loss or norm ``nan`` or ``inf`` that it was skipped for."""
        numbers = (f"{loss:.8g}", f"{seconds.wall:.4f}", f"{seconds.cpu:.4f}", f"{norm:.6g}", f"{rate:.6g}")
        self.rows.append((str(epoch), str(batch), *numbers, f"{memory:.1f}"))

    def keep_until(self, epoch: int) -> None:
        """Take over from the file what was logged up to an epoch, as a resumed training needs it."""
        if self.path is None or not self.path.exists():
            return
        with self.path.open(encoding="utf-8", newline="") as handle:
            rows = list(csv.DictReader(handle, restval=""))
        # Columns that an earlier version did not write stay empty.
        self.rows = [[row.get(name, "") for name in HEADER] for row in rows if int(row["epoch"]) <= epoch]

    def flush(self) -> None:
        """Write the file."""
        if self.path is None:
            return
        with atomic_write(self.path) as tmp, tmp.open("w", encoding="utf-8", newline="") as handle:
            writer = csv.writer(handle, lineterminator="\n")
            writer.writerow(HEADER)
            writer.writerows(self.rows)
