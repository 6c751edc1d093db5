"""Atomic writing: a file is either complete or not there."""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dmg.errors import RunError

try:
    import fcntl
except ImportError:  # Windows has no such locks; what a killed process left stays there
    fcntl = None

_ROOM, _GRACE = ".writing-", 1.0
_NO_SPACE = {errno.ENOSPC: "the disk is full", errno.EDQUOT: "the disk quota is used up"}


@contextmanager
def atomic_write(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a temporary path beside `path`; rename it onto `path` when the block ends without an error.

    The temporary path has the suffix of `path` (writers that choose their format by suffix work) and does not
    exist yet, so that a file or a directory (a Zarr store) may be created there. What was at `path` before is
    kept until the new content is on the disk. After an error nothing is left behind; what a killed process left is
    removed when something is next written into the same folder.

    Parameters
    ----------
    path
        Where the finished file or directory shall be. Missing parent directories are made.

    Yields
    ------
    Path
        Where to write.

    Raises
    ------
    RunError
        If the disk is full or the quota used up.
    FileNotFoundError
        If the block wrote nothing.

    Examples
    --------
    >>> with atomic_write("metrics.json") as tmp:  # doctest: +SKIP
    ...     tmp.write_text("{}")
    """
    target = Path(path)
    room = lock = None
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        _remove_abandoned(target.parent)
        # A private directory rather than a private name: the file inside it is created by the caller with the
        # permissions the user's umask asks for.
        room = Path(tempfile.mkdtemp(prefix=_ROOM, dir=target.parent))
        lock = _lock(room)
        tmp = room / target.name
        yield tmp
        _flush(tmp)
        _replace(tmp, target)
    except OSError as error:
        reason = _NO_SPACE.get(error.errno)
        if reason is None:
            raise
        raise RunError(
            f"cannot write {target.name}: {reason}",
            where=str(target),
            hint="free some space or choose another output_dir; what was there before is untouched",
        ) from error
    finally:
        if room is not None:
            shutil.rmtree(room, ignore_errors=True)
        if lock is not None:
            os.close(lock)


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Write a text file atomically, in UTF-8."""
    with atomic_write(path) as tmp:
        tmp.write_text(text, encoding="utf-8")


def _lock(room: Path) -> int | None:
    """Lock a directory for as long as this process lives; None if another has it, or the file system has no locks."""
    if fcntl is None:
        return None
    handle = None
    try:
        handle = os.open(room, os.O_RDONLY)
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        if handle is not None:
            os.close(handle)
        return None
    return handle


def _remove_abandoned(folder: Path) -> None:
    """Remove the directories of writers that were killed: nobody holds their locks."""
    for room in folder.glob(f"{_ROOM}*"):
        try:
            age = time.time() - room.stat().st_mtime
        except FileNotFoundError:  # its writer has finished
            continue
        # One that was made this instant may not be locked yet.
        if age > _GRACE and (lock := _lock(room)) is not None:
            shutil.rmtree(room, ignore_errors=True)
            os.close(lock)


def _flush(path: Path) -> None:
    """Ask the operating system to put a file, or every file below a directory, on the disk."""
    if path.is_dir():
        for child in path.rglob("*"):
            if child.is_file():
                _flush(child)
        return
    with path.open("rb") as handle:
        os.fsync(handle.fileno())


def _replace(tmp: Path, target: Path) -> None:
    """Put `tmp` in the place of `target`."""
    if target.is_dir() and tmp.is_dir():
        # A directory cannot be renamed onto one that holds files: the old one steps aside first.
        aside = tmp.parent / f"{target.name}.replaced"
        os.replace(target, aside)
        try:
            os.replace(tmp, target)
        except OSError:
            os.replace(aside, target)
            raise
        return
    os.replace(tmp, target)
