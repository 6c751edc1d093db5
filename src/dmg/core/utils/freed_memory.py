"""Keep the memory of freed tensors for the next ones, instead of giving it back to the system after every use.

The C library of Linux maps every large tensor anew, and the system zeroes its pages one by one: a third of the time of
a training step with a small network.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Iterator
from contextlib import contextmanager

# Parameters of mallopt(3) in glibc's malloc.h, with the value that keeps memory and the documented default.
_TRIM_THRESHOLD, _TOP_PAD, _MMAP_MAX = -1, -2, -4
_KEEP = {_MMAP_MAX: 0, _TRIM_THRESHOLD: 2**31 - 1, _TOP_PAD: 2**26}
_DEFAULT = {_MMAP_MAX: 65536, _TRIM_THRESHOLD: 2**17, _TOP_PAD: 2**17}


@contextmanager
def freed_memory_kept() -> Iterator[bool]:
    """Keep freed memory in the process as long as the context lasts; yields whether the C library can."""
    library = _glibc()
    if library is None:
        yield False
        return
    for parameter, value in _KEEP.items():
        library.mallopt(parameter, value)
    try:
        yield True
    finally:
        for parameter, value in _DEFAULT.items():
            library.mallopt(parameter, value)
        library.malloc_trim(0)


def _glibc() -> ctypes.CDLL | None:
    """Return the C library if it is glibc."""
    if not sys.platform.startswith("linux"):
        return None
    library = ctypes.CDLL(None)
    return library if hasattr(library, "gnu_get_libc_version") else None
