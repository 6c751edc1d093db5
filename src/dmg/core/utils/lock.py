"""One process at a time in a folder."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from dmg.errors import RunError


@contextmanager
def alone_in(folder: str | Path) -> Iterator[None]:
    """Keep other processes out of a folder, on this machine and on those that share its file system.

    The lock goes with the process: one that was killed leaves none behind. A folder that was made for the lock and got
    no other content is removed.

    Raises
    ------
    RunError
        If another process is in it; nothing is changed then.
    """
    from filelock import FileLock, Timeout

    folder = Path(folder)
    made = [path for path in (folder, *folder.parents) if not path.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / ".lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise RunError(
            "another process is at work in this folder",
            where=str(folder),
            hint="wait for it or end it, or choose another output_dir",
        ) from None
    try:
        yield
    finally:
        Path(lock.lock_file).unlink(missing_ok=True)
        lock.release()
        with suppress(OSError):  # the first that has content ends it
            for path in made:
                path.rmdir()
