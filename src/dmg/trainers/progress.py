"""Progress bar with loss and remaining time; quiet when nobody watches."""

from __future__ import annotations

import os
import sys
from typing import Any


def progress(total: int, description: str | None, initial: int = 0, unit: str = "batch") -> Any:
    """Return a tqdm bar on the standard error stream, which the first process shows if that is a terminal.

    Without a description it shows nothing, and neither where the environment variable TQDM_DISABLE is set.
    """
    from tqdm import tqdm

    from dmg.core.utils.processes import is_main

    off = os.environ.get("TQDM_DISABLE", "") not in ("", "0")
    return tqdm(
        total=total,
        initial=initial,
        desc=description,
        unit=unit,
        disable=off or not (description and is_main() and sys.stderr.isatty()),
        dynamic_ncols=True,
        leave=False,
        mininterval=0.5,
    )
