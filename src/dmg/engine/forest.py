"""Sites of which every one passes on to one other: the order in which vectors of them are run."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dmg.errors import StepError

Indices = NDArray[np.int64]


class Forest:
    """A directed forest of sites, cut into blocks of lanes; what passes on to a block lies in earlier ones.

    Sites are ordered by their distance to the end of their tree, and within a distance as the sites below them are:
    what passes on to neighbours are neighbours. A block takes sites in this order until one depends on another. Lanes
    that are left over repeat the last site of their block.

    Parameters
    ----------
    downstream
        Position of the site that each one passes on to, -1 at the end: [N].
    lanes
        Sites of a block.

    Attributes
    ----------
    site
        Site of every lane, [blocks * lanes].
    place
        Lane of every site, [N].
    first
        First row of ``upstream`` of every block, and the number of rows: [blocks + 1].
    upstream
        Lane of the k-th site above the one in every lane, a row for each k: [rows, lanes]. Where there are fewer, it is
        the lane after the last one.
    below
        Lane of the site below the one in every lane, [blocks * lanes]; at the end the lane after the last one.

    Raises
    ------
    StepError
        If sites pass on in a circle.
    """

    def __init__(self, downstream: ArrayLike, lanes: int) -> None:
        down: Indices = np.asarray(downstream, dtype=np.int64)
        self.sites, self.lanes = len(down), lanes
        order = _from_the_end(down)
        if len(order) < len(down):
            raise StepError("sites pass on to each other in a circle", hint="give every site one that leads to an end")
        position = np.empty(len(down), dtype=np.int64)
        position[order] = np.arange(len(down))
        parent = np.where(down[order] >= 0, position[down[order]], -1)
        begin = _cut(parent, lanes)
        self.blocks = len(begin)
        block = np.repeat(np.arange(self.blocks), np.diff([*begin, len(down)]))
        # The end of the trees was cut first and is run last.
        element = (self.blocks - 1 - block) * lanes + np.arange(len(down)) - begin[block]
        self.place: Indices = element[position]
        self.site: Indices = np.full(self.elements, -1)
        self.site[self.place] = np.arange(len(down))
        self._source = _filled(self.site.reshape(-1, lanes))
        self.site = self.site[self._source]
        self.below: Indices = self._lane_of(down)[self.site]
        self.first, self.upstream = self._above(down[order], parent, element)

    @property
    def elements(self) -> int:
        """Number of lanes of all blocks."""
        return self.blocks * self.lanes

    def _lane_of(self, sites: Indices) -> Indices:
        return np.where(sites >= 0, self.place[sites], self.elements)

    def _above(self, down: Indices, parent: Indices, element: Indices) -> tuple[Indices, Indices]:
        """Return ``first`` and ``upstream``; sites that pass on to the same one stand side by side in the order."""
        drains = np.flatnonzero(parent >= 0)
        to = self._lane_of(down[drains])
        new = np.diff(parent[drains], prepend=-1) != 0
        rank = np.arange(len(drains)) - np.flatnonzero(new)[np.cumsum(new) - 1]
        degree = np.zeros(self.blocks, dtype=np.int64)
        np.maximum.at(degree, to // self.lanes, rank + 1)
        first = np.concatenate([[0], np.cumsum(degree)])
        table = np.full((first[-1], self.lanes), self.elements)
        table[first[to // self.lanes] + rank, to % self.lanes] = element[drains]
        source = (self._source % self.lanes).reshape(-1, self.lanes)
        return first, np.take_along_axis(table, np.repeat(source, degree, axis=0), axis=1)


def _from_the_end(down: Indices) -> Indices:
    """Return the sites by distance to the end, and those of a distance as the sites below them are."""
    above = np.argsort(down, kind="stable")
    count = np.bincount(down[down >= 0], minlength=len(down))
    start = np.searchsorted(down[above], np.arange(len(down)))
    front, order = above[: np.sum(down < 0)], []
    while front.size:
        order.append(front)
        many = count[front]
        offset = np.arange(many.sum()) - np.repeat(np.cumsum(many) - many, many)
        front = above[np.repeat(start[front], many) + offset]
    return np.concatenate(order) if order else np.empty(0, dtype=np.int64)


def _cut(parent: Indices, lanes: int) -> Indices:
    """Return where blocks begin: they are full, or end before a site that passes on to one of theirs."""
    begin, here = [], 0
    while here < len(parent):
        begin.append(here)
        here = min(here + lanes, int(np.searchsorted(parent, here)))
    return np.array(begin, dtype=np.int64)


def _filled(site: Indices) -> Indices:
    """Return for every lane itself, or the last lane of its block that has a site."""
    last = (site >= 0).sum(axis=1, keepdims=True) - 1
    lane = np.minimum(np.arange(site.shape[1]), last)
    return (np.arange(len(site))[:, None] * site.shape[1] + lane).reshape(-1)
