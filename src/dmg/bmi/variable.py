"""A variable of a component as its host sees it: name, unit, grid, and one array that stays where it is."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

NODES = 0
"""The grid of the catchments."""


@dataclass
class Variable:
    """A variable of a component.

    Parameters
    ----------
    name
        Name for the host.
    units
        Unit, as UDUNITS reads it.
    values
        One-dimensional array; written in place, never replaced.
    grid
        Id of its grid.
    role
        ``input``, ``output``, or ``own``: settable and readable, but not published.
    """

    name: str
    units: str
    values: np.ndarray = field(repr=False)
    grid: int = NODES
    role: str = "own"

    @property
    def dtype(self) -> str:
        """Numpy name of the type of a value."""
        return str(self.values.dtype)
