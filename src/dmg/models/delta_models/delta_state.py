"""The full state of a coupled model between two runs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor

from dmg.engine import ModelState


@dataclass(frozen=True)
class DeltaState:
    """What a coupled model carries from one window to the next.

    Parameters
    ----------
    network
        Hidden state of the network, as its ``features`` returns it; None if it has no memory.
    static
        Raw static parameters [B, S * M + R], held from the spin-up.
    process
        Stores and river of the process model.
    """

    network: Any = None
    static: Tensor | None = None
    process: ModelState | None = None
