"""Which units of a river network drain through which outlets."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from dmg.errors import DataError, did_you_mean


def reachability_matrix(
    edges: Sequence[tuple[str, str]], units: Sequence[str], outlets: Sequence[str] | None = None
) -> np.ndarray:
    """Return the matrix [G, U] that is 1 where a unit drains through an outlet, the outlet's own unit included.

    Parameters
    ----------
    edges
        Pairs (unit, next unit downstream).
    units
        Ids of the units, in the order of the columns.
    outlets
        Ids of the units at whose lower end there is an outlet, in the order of the rows; all units if absent.

    Raises
    ------
    DataError
        If an id is unknown, a unit drains into two others, or water runs in a circle.
    """
    down = downstream(edges, units)
    tributaries: list[list[int]] = [[] for _ in units]
    for unit, below in enumerate(down):
        if below >= 0:
            tributaries[below].append(unit)
    rows = positions(units if outlets is None else outlets, units)
    matrix = np.zeros((len(rows), len(units)), dtype=np.float32)
    for row, outlet in enumerate(rows):
        waiting = [int(outlet)]
        while waiting:
            unit = waiting.pop()
            matrix[row, unit] = 1.0
            waiting += tributaries[unit]
    return matrix


def downstream(edges: Sequence[tuple[str, str]], units: Sequence[str]) -> np.ndarray:
    """Return the position of the unit below each one, int64 [U]; -1 at the end of a river.

    Raises
    ------
    DataError
        As `reachability_matrix`.
    """
    down = np.full(len(units), -1, dtype=np.int64)
    for unit, below in positions([end for edge in edges for end in edge], units).reshape(-1, 2):
        if down[unit] not in (-1, below):
            raise DataError(
                f"unit '{units[unit]}' drains into '{units[down[unit]]}' and into '{units[below]}'",
                where="the edges of the river network",
                hint="a unit has one path to an outlet: keep one of the two edges",
            )
        down[unit] = below
    settled = down < 0
    while not settled.all():
        reached = ~settled & settled[down]
        if not reached.any():
            circle = [str(units[i]) for i in np.flatnonzero(~settled)[:5]]
            raise DataError(f"water runs in a circle at {', '.join(circle)}", where="the edges of the river network")
        settled |= reached
    return down


def positions(wanted: Sequence[str], units: Sequence[str]) -> np.ndarray:
    """Return the positions of units by their ids, int64."""
    known = {str(unit): i for i, unit in enumerate(units)}
    for name in wanted:
        if str(name) not in known:
            raise DataError(
                f"there is no unit '{name}'", where="the river network", hint=did_you_mean(str(name), known)
            )
    return np.array([known[str(name)] for name in wanted], dtype=np.int64)
