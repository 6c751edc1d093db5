"""A Ctrl-C that cannot be lost.

Python drops a ``KeyboardInterrupt`` that arrives inside a finalizer or a callback of C code, of which a training step
has many: the process would go on as if nothing had been said.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_said = threading.Event()


@contextmanager
def interruptible() -> Iterator[None]:
    """Remember an interruption until `check_interruption` is asked; raises it at the end if it was lost until then.

    Elsewhere than in the main thread, which alone gets signals, this does nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    _said.clear()
    before = signal.signal(signal.SIGINT, _interrupt)
    try:
        yield
        check_interruption()
    finally:
        signal.signal(signal.SIGINT, before)
        _said.clear()


def check_interruption() -> None:
    """Raise ``KeyboardInterrupt`` if one was said and lost; for loops that run for long."""
    if _said.is_set():
        raise KeyboardInterrupt


def _interrupt(number: int, frame: FrameType | None) -> None:
    _said.set()
    raise KeyboardInterrupt
