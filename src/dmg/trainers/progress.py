"""Progress bar with loss and remaining time; quiet when nobody watches."""

from __future__ import annotations

import sys
from typing import Any


def progress(total: int, description: str, initial: int = 0, unit: str = "batch") -> Any:
    """Return a tqdm bar on the standard error stream; it shows nothing unless that is a terminal."""
    from tqdm import tqdm

    return tqdm(
        total=total,
        initial=initial,
        desc=description,
        unit=unit,
        disable=not sys.stderr.isatty(),
        dynamic_ncols=True,
        leave=False,
        mininterval=0.5,
    )
