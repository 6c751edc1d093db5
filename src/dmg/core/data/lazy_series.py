"""Series of a store that is larger than memory: read by block, the last blocks kept."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

LARGEST_BLOCK = 64 * 2**20
"""Bytes of a block, of all its variables together, that is not split any further."""

_SAMPLED = 8  # blocks that a fingerprint looks at

ReadBlock = Callable[[slice, np.ndarray], Mapping[str, np.ndarray]]


class BlockCache:
    """Blocks of time steps and sites, of all the series of a dataset, read when they are asked for.

    Parameters
    ----------
    read
        Takes a slice of time steps and positions of sites, both within the dataset; returns arrays [t, b, ·] by key.
        None for blocks whose extent alone is of interest.
    n_times, groups
        Number of time steps; positions of the sites that lie together in the store, in any order.
    steps
        Time steps that lie together in the store.
    widths
        Number of variables by key.
    max_bytes
        Blocks in memory at once; the one that was used longest ago makes room. One block is kept in any case.
    """

    def __init__(
        self,
        read: ReadBlock | None,
        *,
        n_times: int,
        groups: Sequence[np.ndarray],
        steps: int,
        widths: Mapping[str, int],
        max_bytes: float,
    ) -> None:
        self._read, self.n_times, self.groups = read, n_times, list(groups)
        self.widths, self.max_bytes = dict(widths), max_bytes
        step_bytes = 4 * sum(widths.values()) * max(len(group) for group in self.groups)
        self.steps = max(1, min(steps, n_times, int(min(LARGEST_BLOCK, max_bytes) // max(step_bytes, 1))))
        n_sites = sum(len(group) for group in self.groups)
        self._group, self._place = np.empty(n_sites, dtype=np.int64), np.empty(n_sites, dtype=np.int64)
        for number, group in enumerate(self.groups):
            self._group[group], self._place[group] = number, np.arange(len(group))
        self._blocks: OrderedDict[tuple[int, int], Mapping[str, np.ndarray]] = OrderedDict()
        self.bytes = 0
        self.reads = 0

    def windows(self) -> Iterator[tuple[slice, np.ndarray]]:
        """Yield the extent of every block, time steps and positions of sites."""
        for begin in range(0, self.n_times, self.steps):
            for group in self.groups:
                yield slice(begin, min(begin + self.steps, self.n_times)), group

    def block(self, step: int, group: int) -> Mapping[str, np.ndarray]:
        """Return a block by its number in time and among the groups of sites."""
        key = (step, group)
        if key in self._blocks:
            self._blocks.move_to_end(key)
            return self._blocks[key]
        window = slice(step * self.steps, min((step + 1) * self.steps, self.n_times))
        found = dict(self._read(window, self.groups[group]))
        self.reads += 1
        self.bytes += _size(found)
        self._blocks[key] = found
        while self.bytes > self.max_bytes and len(self._blocks) > 1:
            self.bytes -= _size(self._blocks.popitem(last=False)[1])
        return found

    def take(self, key: str, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
        """Return [L, B, ·] of a series: in column b the steps ``rows[:, b]`` of the site ``columns[b]``.

        Parameters
        ----------
        key
            Which series.
        rows
            [L, B], or [L, 1] for the same steps of every site.
        columns
            [B].
        """
        found = np.empty((rows.shape[0], len(columns), self.widths[key]), dtype=np.float32)
        groups = self._group[columns]
        for group in np.unique(groups):
            at = np.flatnonzero(groups == group)
            if rows.shape[1] == 1:
                self._take_rows(found, key, rows[:, 0], columns, at, int(group))
                continue
            wanted = np.broadcast_to(rows, (rows.shape[0], len(columns)))[:, at]
            steps = wanted // self.steps
            for step in np.unique(steps):
                values = self.block(int(step), int(group))[key]
                line, column = np.nonzero(steps == step)
                found[line, at[column]] = values[
                    wanted[line, column] - step * self.steps, self._place[columns[at[column]]]
                ]
        return found

    def _take_rows(
        self, found: np.ndarray, key: str, rows: np.ndarray, columns: np.ndarray, at: np.ndarray, group: int
    ) -> None:
        """Take the same steps of all sites of a group; they lie together in most cases."""
        places, there = _as_slice(self._place[columns[at]]), _as_slice(at)
        steps = rows // self.steps
        for step in np.unique(steps):
            line = np.flatnonzero(steps == step)
            values = self.block(int(step), group)[key][_as_slice(rows[line] - step * self.steps)][:, places]
            lines = _as_slice(line)
            if isinstance(lines, slice) or isinstance(there, slice):
                found[lines, there] = values
            else:
                found[np.ix_(lines, there)] = values


class LazySeries:
    """A series [T, N, ·] of a dataset that stays in its store until a part of it is taken.

    Indexing with slices or positions, axis by axis, gives another such series; `windows` and `read` give tensors.

    Parameters
    ----------
    blocks
        Where it is read from.
    key
        Which of its series this is.
    rows, columns, variables
        Positions of time steps, sites and variables; all of them if absent.
    """

    dtype = torch.float32
    device = torch.device("cpu")
    ndim = 3

    def __init__(
        self,
        blocks: BlockCache,
        key: str,
        rows: np.ndarray | None = None,
        columns: np.ndarray | None = None,
        variables: np.ndarray | None = None,
    ) -> None:
        self.blocks, self.key = blocks, key
        n_sites = sum(len(group) for group in blocks.groups)
        self.rows = np.arange(blocks.n_times) if rows is None else rows
        self.columns = np.arange(n_sites) if columns is None else columns
        self.variables = np.arange(blocks.widths[key]) if variables is None else variables

    @property
    def shape(self) -> tuple[int, int, int]:
        """Numbers of time steps, sites and variables."""
        return len(self.rows), len(self.columns), len(self.variables)

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: Any) -> LazySeries:
        parts = index if isinstance(index, tuple) else (index,)
        if parts and parts[0] is Ellipsis:
            parts = (slice(None),) * (4 - len(parts)) + parts[1:]
        chosen = [self.rows, self.columns, self.variables]
        for axis, part in enumerate(parts):
            chosen[axis] = chosen[axis][part if isinstance(part, slice) else np.asarray(part)]
        return LazySeries(self.blocks, self.key, *chosen)

    def select_sites(self, columns: Any) -> LazySeries:
        """Return the series of some sites, by position."""
        return self[:, columns]

    def select_times(self, rows: Any) -> LazySeries:
        """Return the series of some time steps, by position."""
        return self[rows]

    def windows(self, sites: np.ndarray, starts: np.ndarray, length: int) -> Tensor:
        """Return [length, B, ·]: `length` steps from each start at each site."""
        rows = self.rows[starts + np.arange(length)[:, None]]
        return self._tensor(rows, self.columns[sites])

    def read(self) -> Tensor:
        """Return all of it as a tensor in memory."""
        return self._tensor(self.rows[:, None], self.columns)

    def to(self, device: str | torch.device, non_blocking: bool = False) -> Tensor:
        """Return all of it as a tensor on a device."""
        return self.read().to(device, non_blocking=non_blocking)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return self.read().numpy().astype(dtype or np.float32, copy=False)

    def fingerprint(self) -> str:
        """Return a hash of the shape and of a few blocks spread over the record: a store is too large to hash."""
        digest = hashlib.sha256(f"{self.key}{self.shape}".encode())
        every = [(i, j) for i in range(-(-self.blocks.n_times // self.blocks.steps)) for j in range(self._groups)]
        for at in np.unique(np.linspace(0, len(every) - 1, _SAMPLED).astype(int)):
            digest.update(np.ascontiguousarray(self.blocks.block(*every[at])[self.key]).tobytes())
        return digest.hexdigest()

    @property
    def _groups(self) -> int:
        return len(self.blocks.groups)

    def _tensor(self, rows: np.ndarray, columns: np.ndarray) -> Tensor:
        values = self.blocks.take(self.key, rows, columns)
        if len(self.variables) != values.shape[-1] or (self.variables != np.arange(values.shape[-1])).any():
            values = values[..., self.variables]
        return torch.from_numpy(np.ascontiguousarray(values))


def in_memory(series: Tensor | LazySeries) -> Tensor:
    """Return a series as a tensor."""
    return series.read() if isinstance(series, LazySeries) else series


def _size(block: Mapping[str, np.ndarray]) -> int:
    """Bytes of a block; arrays that are there under two keys count once."""
    return sum(array.nbytes for array in {id(a): a for a in block.values()}.values())


def _as_slice(positions: np.ndarray) -> slice | np.ndarray:
    """Return positions that follow each other as a slice, which takes a view."""
    first = int(positions[0])
    together = np.array_equal(positions, np.arange(first, first + len(positions)))
    return slice(first, first + len(positions)) if together else positions
