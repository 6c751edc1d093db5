"""A variable of a component as its host sees it: name, unit, grid, and one array that stays where it is."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from dmg.errors import DataError

NODES = 0
"""The grid of the catchments."""


class Variable:
    """A variable of a component.

    Parameters
    ----------
    name
        Name for the host.
    units
        Unit, as UDUNITS reads it.
    size
        Number of values.
    role
        ``input``, ``output``, or ``own``: settable or readable, but not published.
    grid
        Id of its grid.
    fill
        What the values are at first.
    """

    dtype = "float64"

    def __init__(
        self, name: str, units: str, size: int, *, role: str = "own", grid: int = NODES, fill: float = 0.0
    ) -> None:
        self.name, self.units, self.role, self.grid = name, units, role, grid
        self._size, self._fill = size, fill
        self._values: np.ndarray | None = None

    @property
    def size(self) -> int:
        """Number of values."""
        return self._size

    @property
    def values(self) -> np.ndarray:
        """One-dimensional array; written in place, never replaced."""
        if self._values is None:
            self._values = np.full(self.size, self._fill, dtype=self.dtype)
        return self._values

    def assign(self, values: np.ndarray) -> None:
        """Take values from the host.

        Raises
        ------
        DataError
            If there are not as many; nothing is changed then.
        """
        self.require_size(values)
        self.values[:] = values

    def refresh(self) -> None:
        """Bring the array up to date, if anyone has it."""

    def require_size(self, values: np.ndarray) -> None:
        """Refuse another number of values."""
        if values.size != self.size:
            raise DataError(
                f"{values.size} values were given for '{self.name}', which has {self.size}",
                hint="one value for each node, flattened; nothing was changed",
            )


class Computed(Variable):
    """A variable that is read from the model, and may be written to it.

    Parameters
    ----------
    name, units, size, grid
        As for `Variable`.
    read
        Returns the values.
    write
        Takes values to the model; None for what cannot be set.
    """

    def __init__(
        self,
        name: str,
        units: str,
        size: int,
        read: Callable[[], np.ndarray],
        write: Callable[[np.ndarray], None] | None = None,
        *,
        grid: int = NODES,
    ) -> None:
        super().__init__(name, units, size, grid=grid)
        self._read, self._write = read, write

    @property
    def values(self) -> np.ndarray:
        """One-dimensional array; from the first time that it is asked for it is kept up to date."""
        if self._values is None:
            self._values = np.array(self._read(), dtype=self.dtype).reshape(-1)
        return self._values

    def assign(self, values: np.ndarray) -> None:
        """Take values from the host to the model.

        Raises
        ------
        DataError
            If they are not as many, not finite, or the variable cannot be set; nothing is changed then.
        """
        self.require_size(values)
        if self._write is None:
            raise DataError(f"'{self.name}' follows from the model and cannot be set")
        given = np.asarray(values, dtype=np.float64)
        if not np.isfinite(given).all():
            raise DataError(f"'{self.name}' cannot be set to what is not finite", hint="nothing was changed")
        self._write(given)
        self.refresh()

    def refresh(self) -> None:
        """Bring the array up to date, if anyone has it."""
        if self._values is not None:
            self._values[:] = np.asarray(self._read(), dtype=self.dtype).reshape(-1)
