"""The variables through which a host saves and restores a component, after the serialization protocol of ngen (v0.2).

Save: set ``create``, get ``size``, get ``state``, set ``free``. Restore: set ``size``, set ``state``.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from dmg.bmi.variable import Variable
from dmg.errors import DataError

PREFIX = "ngen::serialization_"


class Snapshot:
    """The bytes of a saved state, and the length of one that is to come.

    Parameters
    ----------
    save
        Returns the state of the component as bytes and changes nothing.
    restore
        Brings the component to a state, or raises and changes nothing.
    """

    def __init__(self, save: Callable[[], bytes], restore: Callable[[bytes], None]) -> None:
        self.save, self.restore = save, restore
        self.announced: int | None = None
        self.release()

    def take(self) -> None:
        """Save the component."""
        self.buffer, self.announced = np.frombuffer(self.save(), dtype=np.uint8).copy(), None

    def release(self) -> None:
        """Let go of what was saved."""
        self.buffer, self.announced = np.zeros(0, dtype=np.uint8), None

    def variables(self) -> list[Variable]:
        """Return the variables of the protocol."""
        return [_Create(self), _Free(self), _Size(self), _State(self)]


class _Protocol(Variable):
    """A variable without a grid."""

    def __init__(self, snapshot: Snapshot, name: str, units: str) -> None:
        super().__init__(PREFIX + name, units, 1, grid=-1)
        self.snapshot = snapshot


class _Create(_Protocol):
    dtype = "int32"

    def __init__(self, snapshot: Snapshot) -> None:
        super().__init__(snapshot, "create", "ngen::trigger")

    def assign(self, values: np.ndarray) -> None:
        """Take a snapshot, whatever the value."""
        self.snapshot.take()


class _Free(_Protocol):
    dtype = "int32"

    def __init__(self, snapshot: Snapshot) -> None:
        super().__init__(snapshot, "free", "ngen::trigger")

    def assign(self, values: np.ndarray) -> None:
        """Release the snapshot, whatever the value."""
        self.snapshot.release()


class _Size(_Protocol):
    dtype = "int64"

    def __init__(self, snapshot: Snapshot) -> None:
        super().__init__(snapshot, "size", "bytes")

    @property
    def values(self) -> np.ndarray:
        """Length of the snapshot."""
        kept = super().values
        kept[:] = self.snapshot.buffer.size
        return kept

    def assign(self, values: np.ndarray) -> None:
        """Announce the length of the state that will be set."""
        self.require_size(values)
        length = int(values.reshape(-1)[0])
        if length < 0:
            raise DataError(f"a state of {length} bytes cannot be announced")
        self.snapshot.announced = length


class _State(_Protocol):
    dtype = "uint8"

    def __init__(self, snapshot: Snapshot) -> None:
        super().__init__(snapshot, "state", "ngen::opaque")

    @property
    def size(self) -> int:
        """Length of the snapshot, or of the state that was announced."""
        found = self.snapshot
        return found.buffer.size if found.announced is None else found.announced

    @property
    def values(self) -> np.ndarray:
        """The snapshot."""
        return self.snapshot.buffer

    def assign(self, values: np.ndarray) -> None:
        """Restore the component."""
        data, announced = np.asarray(values), self.snapshot.announced
        if data.dtype != np.uint8:
            raise DataError(
                f"'{self.name}' is {self.dtype}, {data.dtype} was given", hint="set the bytes; nothing was changed"
            )
        if announced is not None and data.size != announced:
            raise DataError(
                f"a state of {announced} bytes was announced, {data.size} were given",
                hint=f"set {PREFIX}size to the length first; nothing was changed",
            )
        self.snapshot.restore(data.tobytes())
        self.snapshot.announced = None
