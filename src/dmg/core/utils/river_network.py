"""Reaches of a river and where each of them drains to."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dmg.errors import DataError, did_you_mean

Indices = NDArray[np.int64]


class RiverNetwork:
    """A directed forest: every reach drains into one other, or out of the network.

    Parameters
    ----------
    downstream
        For every reach the index of the one it drains to, -1 at an outlet.
    ids
        Names of the reaches, their indices if absent.

    Raises
    ------
    DataError
        For an index that is no reach, and for water that runs in a circle, which is named.
    """

    def __init__(self, downstream: ArrayLike, ids: Sequence[Hashable] | None = None) -> None:
        self.downstream: Indices = np.asarray(downstream, dtype=np.int64)
        self.ids = list(ids) if ids is not None else list(range(len(self.downstream)))
        wrong = np.flatnonzero((self.downstream < -1) | (self.downstream >= len(self.downstream)))
        if len(self.ids) != len(self.downstream) or wrong.size:
            raise DataError(
                f"reach {self.ids[wrong[0]]} drains to index {self.downstream[wrong[0]]}"
                if wrong.size
                else f"{len(self.ids)} names for {len(self.downstream)} reaches",
                hint=f"indices are 0 to {len(self.downstream) - 1}, -1 at an outlet; for names: RiverNetwork.of_ids",
            )
        self.level: Indices = self._levels()

    @classmethod
    def of_ids(cls, ids: Sequence[Hashable], to: Sequence[Hashable], outlet: Hashable = 0) -> RiverNetwork:
        """Build a network from the name of every reach and of the one it drains to.

        Parameters
        ----------
        ids, to
            Names.
        outlet
            What ``to`` says at an outlet; a name that is no reach ends the network as well.

        Raises
        ------
        DataError
            If a name stands twice.
        """
        index = {name: i for i, name in enumerate(ids)}
        if len(index) != len(ids):
            seen: set[Hashable] = set()
            twice = next(name for name in ids if name in seen or seen.add(name))
            raise DataError(f"reach {twice} stands twice among the names", hint="give every reach once")
        return cls([-1 if name == outlet else index.get(name, -1) for name in to], ids)

    @classmethod
    def of_edges(cls, edges: Sequence[tuple[Hashable, Hashable]], ids: Sequence[Hashable]) -> RiverNetwork:
        """Build a network from pairs (reach, next reach downstream).

        Raises
        ------
        DataError
            If a name is unknown, or a reach drains into two others.
        """
        downstream = np.full(len(ids), -1, dtype=np.int64)
        for reach, below in positions([end for edge in edges for end in edge], ids).reshape(-1, 2):
            if downstream[reach] not in (-1, below):
                raise DataError(
                    f"reach '{ids[reach]}' drains into '{ids[downstream[reach]]}' and into '{ids[below]}'",
                    hint="a reach has one path to an outlet: keep one of the two edges",
                )
            downstream[reach] = below
        return cls(downstream, ids)

    def __len__(self) -> int:
        return len(self.downstream)

    @property
    def outlets(self) -> Indices:
        """Reaches that drain out of the network."""
        return np.flatnonzero(self.downstream < 0)

    @cached_property
    def order(self) -> Indices:
        """Reaches sorted by level: no reach stands before one that drains to it."""
        return np.argsort(self.level, kind="stable")

    @cached_property
    def levels(self) -> list[Indices]:
        """Reaches by level; those of a level do not depend on each other."""
        return np.split(self.order, np.cumsum(np.bincount(self.level))[:-1]) if len(self) else []

    @cached_property
    def nested(self) -> tuple[Indices, Indices]:
        """Place of every reach in an order in which all that is upstream of one follows it, and its number with it."""
        size = self.accumulate(np.ones(len(self)))
        order = np.argsort(self.downstream, kind="stable")  # reaches that drain to the same one stand together
        before, group = np.cumsum(size[order]) - size[order], self.downstream[order]
        beside = np.empty(len(self))
        beside[order] = before - before[np.searchsorted(group, group)]
        place = self.to_outlet(beside + (self.downstream >= 0))
        return place.astype(np.int64), size.astype(np.int64)

    def accumulate(self, values: ArrayLike) -> NDArray[np.float64]:
        """Return the sum of a quantity [N] over every reach and all that is upstream of it."""
        total = np.array(values, dtype=np.float64)
        for reaches in self.levels[:-1]:
            draining = reaches[self.downstream[reaches] >= 0]
            np.add.at(total, self.downstream[draining], total[draining])
        return total

    def to_outlet(self, values: ArrayLike) -> NDArray[np.float64]:
        """Return the sum of a quantity [N] along the way from every reach to its outlet, both included."""
        total = np.array(values, dtype=np.float64)
        for level in self.levels[::-1]:
            draining = level[self.downstream[level] >= 0]
            total[draining] += total[self.downstream[draining]]
        return total

    def draining_to(self, reaches: ArrayLike) -> NDArray[np.bool_]:
        """Return which reaches drain through each of some, itself included: [len(reaches), N]."""
        reaches = np.asarray(reaches, dtype=np.int64)
        inside = np.zeros((len(reaches), len(self)), dtype=bool)
        inside[np.arange(len(reaches)), reaches] = True
        for level in self.levels[::-1]:
            draining = level[self.downstream[level] >= 0]
            inside[:, draining] |= inside[:, self.downstream[draining]]
        return inside

    def upstream_of(self, reaches: ArrayLike) -> Indices:
        """Return the reaches and everything upstream of them, in increasing index."""
        inside = np.zeros(len(self), dtype=bool)
        inside[np.asarray(reaches, dtype=np.int64)] = True
        for level in self.levels[::-1]:
            draining = level[self.downstream[level] >= 0]
            inside[draining] |= inside[self.downstream[draining]]
        return np.flatnonzero(inside)

    def subnetwork(self, reaches: ArrayLike) -> RiverNetwork:
        """Return the network of some reaches; one whose downstream reach is left out becomes an outlet."""
        reaches = np.asarray(reaches, dtype=np.int64)
        new = np.full(len(self) + 1, -1, dtype=np.int64)  # the last entry serves index -1
        new[reaches] = np.arange(len(reaches))
        return RiverNetwork(new[self.downstream[reaches]], [self.ids[i] for i in reaches])

    def _levels(self) -> Indices:
        """Return the length of the longest way from a headwater to every reach."""
        missing = np.bincount(self.downstream[self.downstream >= 0], minlength=len(self))
        level = np.zeros(len(self), dtype=np.int64)
        wave, depth, done = np.flatnonzero(missing == 0), 0, 0
        while wave.size:
            level[wave] = depth
            done += wave.size
            below = self.downstream[wave]
            below, count = np.unique(below[below >= 0], return_counts=True)
            missing[below] -= count
            wave, depth = below[missing[below] == 0], depth + 1
        if done < len(self):
            circle = " → ".join(str(self.ids[i]) for i in self._circle(np.flatnonzero(missing > 0)))
            raise DataError(
                f"the river runs in a circle: {circle}", hint="correct where one of these reaches drains to"
            )
        return level

    def _circle(self, waiting: Indices) -> list[int]:
        """Return a circle, closed, among reaches that wait for each other, starting at its smallest index."""
        here = int(waiting[0])
        for _ in range(len(self)):  # far enough to be on the circle for certain
            here = int(self.downstream[here])
        circle = [here]
        while (here := int(self.downstream[here])) != circle[0]:
            circle.append(here)
        start = circle.index(min(circle))
        circle = circle[start:] + circle[:start]
        return [*circle, circle[0]]


def positions(wanted: Sequence[Hashable], ids: Sequence[Hashable]) -> Indices:
    """Return the positions of reaches by their names.

    Raises
    ------
    DataError
        If a name is unknown.
    """
    known = {str(name): i for i, name in enumerate(ids)}
    for name in wanted:
        if str(name) not in known:
            raise DataError(f"there is no unit '{name}'", hint=did_you_mean(str(name), known))
    return np.array([known[str(name)] for name in wanted], dtype=np.int64)
