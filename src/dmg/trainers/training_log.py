"""The table of a training: one line per minibatch, written once per epoch."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

from dmg.core.utils.atomic import atomic_write

HEADER = ("epoch", "batch", "loss", "time_s", "grad_norm", "learning_rate", "gpu_mem_mb")


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

    def add(self, epoch: int, batch: int, loss: float, seconds: float, norm: float, rate: float, memory: float) -> None:
        """Add the row of a minibatch; a skipped one has the loss or norm ``nan`` or ``inf`` that it was skipped for."""
        self.rows.append(
            (str(epoch), str(batch), f"{loss:.8g}", f"{seconds:.4f}", f"{norm:.6g}", f"{rate:.6g}", f"{memory:.1f}")
        )

    def keep_until(self, epoch: int) -> None:
        """Take over from the file what was logged up to an epoch, as a resumed training needs it."""
        if self.path is None or not self.path.exists():
            return
        with self.path.open(encoding="utf-8", newline="") as handle:
            rows = list(csv.reader(handle))[1:]
        self.rows = [row for row in rows if len(row) == len(HEADER) and int(row[0]) <= epoch]

    def flush(self) -> None:
        """Write the file."""
        if self.path is None:
            return
        with atomic_write(self.path) as tmp, tmp.open("w", encoding="utf-8", newline="") as handle:
            writer = csv.writer(handle, lineterminator="\n")
            writer.writerow(HEADER)
            writer.writerows(self.rows)
