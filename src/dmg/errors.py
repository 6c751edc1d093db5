"""Errors that end the search: what is wrong, where, and what to do."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

FEW = 20
"""Names that a hint lists at most."""


class DmgError(Exception):
    """Base of every error that a user can cause.

    Parameters
    ----------
    what
        What is wrong, in one sentence.
    where
        The file, key or line it concerns.
    hint
        What to do about it.
    """

    def __init__(self, what: str, *, where: str | None = None, hint: str | None = None) -> None:
        self.what, self.where, self.hint = what, where, hint
        lines = [what]
        if where:
            lines.append(f"  where: {where}")
        if hint:
            lines.append(f"  hint: {hint}")
        super().__init__("\n".join(lines))


class ConfigError(DmgError, ValueError):
    """A configuration that cannot be run as it stands."""


class DataError(DmgError, ValueError):
    """Data that are missing, damaged or physically impossible."""


class StepError(DmgError, ValueError):
    """A process model whose declaration or step breaks the rules of the engine."""


class RunError(DmgError, RuntimeError):
    """A run that cannot go on: non-finite loss, a full disk, a missing checkpoint."""


class UnknownNameError(DmgError, LookupError):
    """A name that no plug-in registered."""


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return a hint that names the closest of the known names, and as many of them as can be read."""
    known = sorted({str(k) for k in known})
    lower = {k.lower(): k for k in known}
    close = difflib.get_close_matches(name.lower(), lower, n=1, cutoff=0.6)
    parts = [f"did you mean '{lower[close[0]]}'?"] if close else []
    if known and (len(known) <= FEW or not close):
        more = f" and {len(known) - FEW} more" if len(known) > FEW else ""
        parts.append(f"known: {', '.join(known[:FEW])}{more}")
    return " ".join(parts) or "nothing is registered"
