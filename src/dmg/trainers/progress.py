"""Progress bar with loss and remaining time; quiet when nobody watches."""

from __future__ import annotations

import sys
from typing import Any


def progress(total: int, description: str | None, initial: int = 0, unit: str = "batch") -> Any:
    """Return a tqdm bar on the standard error stream, which the first process shows if that is a terminal.

    Without a description it shows nothing.
    """
    from tqdm import tqdm

    from dmg.core.utils.processes import is_main

    return tqdm(
        total=total,
        initial=initial,
        desc=description,
        unit=unit,
        disable=not (description and is_main() and sys.stderr.isatty()),
        dynamic_ncols=True,
        leave=False,
        mininterval=0.5,
    )
