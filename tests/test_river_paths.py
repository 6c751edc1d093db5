"""River networks: who drains through which outlet, and attributes along the way."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dmg.core.utils import PathWeightedAgg, reachability_matrix
from dmg.errors import DataError

#     a   b
#      \ /
#   d   c
#    \ /
#     e        f (a river of its own)
UNITS = ["a", "b", "c", "d", "e", "f"]
EDGES = [("a", "c"), ("b", "c"), ("c", "e"), ("d", "e")]


def test_an_outlet_is_reached_by_what_lies_above_it():
    matrix = reachability_matrix(EDGES, UNITS, ["e", "c", "f"])
    np.testing.assert_array_equal(matrix, [[1, 1, 1, 1, 1, 0], [1, 1, 1, 0, 0, 0], [0, 0, 0, 0, 0, 1]])
    assert matrix.dtype == np.float32
    np.testing.assert_array_equal(reachability_matrix([], ["x", "y"]), np.eye(2))


def test_paths_are_averaged_by_area_and_lengths_add_up():
    areas = np.array([1.0, 2.0, 3.0, 4.0, 5.0, 6.0])
    paths = PathWeightedAgg(EDGES, UNITS, ["e", "c"], areas)
    assert [(int(g), UNITS[u]) for g, u in zip(paths.outlet, paths.unit, strict=True)] == [
        *((0, u) for u in "abcde"),
        *((1, u) for u in "abc"),
    ]
    values = np.array([10.0, 20.0, 30.0, 40.0, 50.0, 60.0])
    found = paths({"slope": values, "lengthkm": values})
    a_c_e = (1 * 10 + 3 * 30 + 5 * 50) / 9
    np.testing.assert_allclose(found["slope"][[0, 4, 5, 7]], [a_c_e, 50.0, (10 + 90) / 4, 30.0])
    np.testing.assert_allclose(found["lengthkm"][[0, 4, 5, 7]], [90.0, 50.0, 40.0, 30.0])


@given(st.lists(st.integers(0, 10**6), min_size=1, max_size=12), st.randoms())
def test_paths_equal_a_walk_down_the_river(draws, random):
    """Every unit drains into an earlier one or into the sea; ids are shuffled."""
    n = len(draws)
    down = [None, *(d % i if d % 3 else None for i, d in enumerate(draws[1:], 1))]
    names = [f"u{i}" for i in range(n)]
    order = names[:]
    random.shuffle(order)
    edges = [(names[i], names[d]) for i, d in enumerate(down) if d is not None]
    area = {name: 1.0 + i for i, name in enumerate(names)}
    value = {name: float(d % 7) for name, d in zip(names, draws, strict=True)}
    paths = PathWeightedAgg(edges, order, None, [area[name] for name in order])
    got = paths({"x": [value[name] for name in order]})["x"]
    for k, (end, begin) in enumerate(zip(paths.outlet, paths.unit, strict=True)):
        walk, at = [], names.index(order[begin])
        while not walk or walk[-1] != order[end]:
            walk.append(names[at])
            at = down[at]
        expected = sum(value[u] * area[u] for u in walk) / sum(area[u] for u in walk)
        assert got[k] == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize(
    ("edges", "text"),
    [
        ([("a", "x")], "no unit 'x'"),
        ([("a", "c"), ("a", "e")], "drains into 'c' and into 'e'"),
        ([("a", "b"), ("b", "a")], "in a circle: a → b → a"),
    ],
)
def test_impossible_rivers_are_refused(edges, text):
    with pytest.raises(DataError, match=text):
        reachability_matrix(edges, UNITS)
