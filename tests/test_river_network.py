"""A river network: order, sums over upstream reaches, parts, and what is no network."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dmg.errors import DataError
from hydrodl2.routing import RiverNetwork
from tests.forests import forests


def upstream_by_walking(downstream: np.ndarray, reach: int) -> set[int]:
    found = set()
    for start in range(len(downstream)):
        here = start
        while here >= 0 and here != reach:
            here = downstream[here]
        if here == reach:
            found.add(start)
    return found


@given(forests())
@settings(max_examples=50, deadline=None)
def test_no_reach_stands_before_one_that_drains_to_it(downstream):
    network = RiverNetwork(downstream)
    place = np.argsort(network.order)
    draining = np.flatnonzero(downstream >= 0)
    assert (place[draining] < place[downstream[draining]]).all()
    assert (network.level[draining] < network.level[downstream[draining]]).all()
    assert sorted(np.concatenate(network.levels)) == list(range(len(downstream)))
    assert all((network.level[reaches] == i).all() for i, reaches in enumerate(network.levels))


@given(forests(), st.integers(0, 2**32 - 1))
@settings(max_examples=50, deadline=None)
def test_sums_and_sets_are_those_of_walking_down(downstream, seed):
    network, rng = RiverNetwork(downstream), np.random.default_rng(seed)
    area = rng.uniform(1.0, 2.0, len(downstream))
    sets = [upstream_by_walking(downstream, i) for i in range(len(downstream))]
    np.testing.assert_allclose(network.accumulate(area), [sum(area[list(s)]) for s in sets], rtol=1e-12)
    place, size = network.nested
    order = np.argsort(place)
    assert all(set(order[place[i] : place[i] + size[i]]) == s for i, s in enumerate(sets))
    chosen = rng.choice(len(downstream), size=min(2, len(downstream)), replace=False)
    assert set(network.upstream_of(chosen)) == set().union(*(sets[i] for i in chosen))


def test_part_of_a_network_ends_where_it_is_cut():
    #  a → b → c → d,  e → c
    network = RiverNetwork.of_ids(["a", "b", "c", "d", "e"], ["b", "c", "d", 0, "c"])
    part = network.subnetwork(network.upstream_of([2]))
    assert part.ids == ["a", "b", "c", "e"]
    assert list(part.downstream) == [1, 2, -1, 2]
    assert list(part.outlets) == [2]


def test_several_outlets_and_lone_reaches():
    network = RiverNetwork([1, -1, -1, 4, -1])
    assert list(network.outlets) == [1, 2, 4]
    assert [list(level) for level in network.levels] == [[0, 2, 3], [1, 4]]


def test_names_beyond_the_network_end_it():
    network = RiverNetwork.of_ids([11, 12, 13], [12, 99, 0])
    assert list(network.downstream) == [1, -1, -1]


def test_circle_is_named():
    with pytest.raises(DataError, match="the river runs in a circle: b → c → d → b"):
        RiverNetwork.of_ids(["a", "b", "c", "d", "x"], ["b", "c", "d", "b", 0])
    with pytest.raises(DataError, match="0 → 0"):
        RiverNetwork([0])


def test_wrong_index_and_double_name_are_named():
    with pytest.raises(DataError, match="reach 1 drains to index 7"):
        RiverNetwork([1, 7])
    with pytest.raises(DataError, match="reach a stands twice"):
        RiverNetwork.of_ids(["a", "b", "a"], ["b", 0, 0])
    with pytest.raises(DataError, match="3 names for 2 reaches"):
        RiverNetwork([1, -1], ["a", "b", "c"])
