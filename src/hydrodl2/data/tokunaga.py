"""Random river networks that branch as observed ones do: critical Tokunaga trees.

A branch of Strahler order j is a chain of reaches, in the mean c^(j-1) of them, with a side branch at every joint; the
order of a side branch is j - k with a chance proportional to c^(k-1), and two branches of order j - 1 meet at its upper
end. From the one parameter follow the ratios of Horton, 2c for numbers and for areas, c for lengths, and the exponent
of Hack, log c / log 2c. With c = 2 this is the random topology of Shreve; rivers of the United States have c = 2.3.

Source: Kovchegov, Zaliapin and Foufoula-Georgiou (2022), https://doi.org/10.1103/PhysRevE.105.014301.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

#: Parameter c of the rivers of the United States.
BRANCHING = 2.3


def grow_tree(order: int, rng: np.random.Generator, c: float = BRANCHING) -> NDArray[np.int64]:
    """Return a tree as the index of the reach below every one, -1 at the outlet, which is reach 0.

    Parameters
    ----------
    order
        Strahler order of the outlet.
    rng
        Source of randomness.
    c
        Parameter of the tree, above 1.

    Returns
    -------
    numpy.ndarray
        Every reach stands after the one that it drains into.
    """
    roots: dict[int, list[NDArray[np.int64]]] = {j: [] for j in range(1, order + 1)}
    roots[order].append(np.array([-1]))
    downstream, count = [], 0
    for j in range(order, 0, -1):
        below = np.concatenate(roots[j])
        links = rng.geometric(c ** (1 - j), len(below))
        last = np.cumsum(links) - 1
        to = np.arange(count - 1, count - 1 + links.sum())
        to[last - links + 1] = below
        downstream.append(to)
        if j > 1:
            roots[j - 1] += [count + last, count + last]
            joints = count + np.delete(np.arange(links.sum()), last)
            chance = c ** np.arange(j - 1.0)
            lower_by = rng.choice(np.arange(1, j), size=len(joints), p=chance / chance.sum())
            for k in range(1, j):
                roots[j - k].append(joints[lower_by == k])
        count += len(to)
    return np.concatenate(downstream)


def expected_reaches(order: int, c: float = BRANCHING) -> float:
    """Return the mean number of reaches of a tree."""
    heads = [1.0]
    for _ in range(1, order):
        # Two branches at the upper end, and (c - 1) c^(k-1) at the side that are k orders lower.
        side = sum((c - 1.0) * c**k * below for k, below in enumerate(reversed(heads)))
        heads.append(2.0 * heads[-1] + side)
    return 2.0 * heads[-1] - 1.0


def grow_forest(reaches: int, rng: np.random.Generator, c: float = BRANCHING) -> NDArray[np.int64]:
    """Return trees with a number of reaches together, as the index of the reach below every one.

    Every tree is of the highest order of which the mean fits into what is left, down to single reaches: a few large
    rivers, the first with a third to a half of everything, and many small ones along the coast.
    """
    downstream: list[NDArray[np.int64]] = []
    count = 0
    while count < reaches:
        left = reaches - count
        order = 1
        while expected_reaches(order + 1, c) < 0.8 * left:
            order += 1
        tree = grow_tree(order, rng, c)
        while len(tree) > left:
            order -= 1
            tree = grow_tree(order, rng, c)
        downstream.append(np.where(tree >= 0, tree + count, -1))
        count += len(tree)
    return np.concatenate(downstream)
