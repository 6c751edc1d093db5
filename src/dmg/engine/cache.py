"""Where compiled code is kept between runs."""

from __future__ import annotations

import hashlib
import os
from functools import cache
from pathlib import Path

_DIGEST = hashlib.sha256().digest_size


def cache_folder() -> Path:
    """Return where compiled code is kept: ``DMG_CACHE_DIR``, else the user's cache folder."""
    if folder := os.environ.get("DMG_CACHE_DIR"):
        return Path(folder)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "dmg" / "kernels"


@cache
def sources() -> str:
    """Return a fingerprint of the engine itself: what another version of it compiled is not used."""
    files = sorted(Path(__file__).parent.glob("*.py"))
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()


def remember(path: Path, code: bytes) -> bool:
    """Write code to the cache, whole or not at all; a cache that cannot be written costs time only.

    Returns
    -------
    bool
        Whether it was written.
    """
    temporary = path.with_suffix(f".{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_bytes(code)
        temporary.replace(path)
    except OSError:
        return False
    return True


def seal(code: bytes) -> bytes:
    """Return code with its checksum before it, as `recall` expects it: to run damaged code would end the process."""
    return hashlib.sha256(code).digest() + code


def recall(path: Path) -> bytes | None:
    """Return sealed code from the cache, None if there is none or it is damaged."""
    try:
        content = path.read_bytes()
    except OSError:
        return None
    code = content[_DIGEST:]
    return code if content == seal(code) else None
