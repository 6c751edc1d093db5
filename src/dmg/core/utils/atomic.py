"""Atomic writing: a file is either complete or not there."""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dmg.errors import RunError

_NO_SPACE = {errno.ENOSPC: "the disk is full", errno.EDQUOT: "the disk quota is used up"}


@contextmanager
def atomic_write(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a temporary path beside `path`; rename it onto `path` when the block ends without an error.

    The temporary path has the suffix of `path` (writers that choose their format by suffix work) and does not
    exist yet, so that a file or a directory (a Zarr store) may be created there. What was at `path` before is
    kept until the new content is on the disk. After an error nothing is left behind.

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
    room = None
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        # A private directory rather than a private name: the file inside it is created by the caller with the
        # permissions the user's umask asks for.
        room = Path(tempfile.mkdtemp(prefix=".writing-", dir=target.parent))
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


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Write a text file atomically, in UTF-8."""
    with atomic_write(path) as tmp:
        tmp.write_text(text, encoding="utf-8")


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
