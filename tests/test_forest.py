"""Sites that pass on to each other: the order of blocks, threads, and what cannot be run."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dmg.engine.forest import Forest
from dmg.engine.fused_forest import run_forest
from dmg.engine.llvm_forest import Passing
from dmg.engine.pipeline import run_pipeline
from dmg.errors import StepError
from hydrodl2.models import Gr4j
from hydrodl2.routing import MuskingumCungeReach
from tests.forests import forests


@given(forests(), st.sampled_from([1, 4, 8]))
@settings(max_examples=60, deadline=None)
def test_blocks_have_all_sites_and_need_earlier_blocks_only(downstream, lanes):
    forest = Forest(downstream, lanes)
    n = len(downstream)
    assert list(forest.site[forest.place]) == list(range(n))
    assert len(forest.site) == forest.elements == forest.blocks * lanes
    draining = np.flatnonzero(downstream >= 0)
    block = forest.place // lanes
    assert (block[draining] < block[downstream[draining]]).all()
    for lane, site in enumerate(forest.site):
        rows = forest.upstream[slice(*forest.first[lane // lanes :][:2]), lane % lanes]
        above = rows[rows < forest.elements]
        assert sorted(forest.site[above]) == list(np.flatnonzero(downstream == site))
        assert (forest.place[forest.site[above]] == above).all()
        below = forest.below[lane]
        assert (forest.site[below] if below < forest.elements else -1) == downstream[site]


def test_few_lanes_are_left_over():
    rng = np.random.default_rng(0)
    downstream = np.array([-1, *((rng.integers(max(0, i - 60), i)) for i in range(1, 5000))])
    assert Forest(downstream, 16).elements < 1.1 * 5000


def test_circle_of_sites_is_refused():
    with pytest.raises(StepError, match="in a circle"):
        Forest([1, 2, 0, -1], 4)


def test_models_that_cannot_run_on_a_forest_are_refused():
    x = {"lateral": torch.ones(2, 3)}
    reach = MuskingumCungeReach()
    with pytest.raises(StepError, match="'rain' is neither a forcing nor what a site passes on"):
        run_forest(reach, Forest([-1] * 3, 32), Passing((("rain", "outflow"),), (), False), x, x, x, x, 1)
    with pytest.raises(StepError, match="Gr4j cannot run on a forest: it is implicit, has vector states"):
        run_forest(
            Gr4j(), Forest([-1] * 3, 32), Passing((("prcp", "streamflow"),), (), False), {"pet": torch.ones(2, 3)},
            x, x, x, 1,
        )  # fmt: skip


@pytest.mark.parametrize("each", [False, True])
def test_several_fluxes_are_those_of_runs_of_their_own(each):
    rng, n = np.random.default_rng(0), 50
    reach, forest = MuskingumCungeReach(), Forest([-1, *rng.integers(0, np.arange(1, n))], 8)
    x = {"lateral": torch.from_numpy(rng.gamma(1.0, 1.0, (3, n)))}
    about = {
        name: torch.full((n,), v, dtype=torch.float64)
        for name, v in (("length", 5e3), ("slope", 2e-3), ("weight", 0.3))
    }
    start = {"discharge": torch.ones(n, dtype=torch.float64)}

    def run(*fluxes):
        share = torch.full((n, 3), 0.4, dtype=torch.float64, requires_grad=True)
        found, _ = run_forest(reach, forest, Passing(reach.above, fluxes, each), x, share, about, start, 4)
        loss = sum(values.square().sum() * (i + 1) for i, values in enumerate(found.values()))
        return found, torch.autograd.grad(loss, share)[0]

    together, gradient = run("outflow", "added", "discharge_kept")
    alone = [run(name) for name in together]
    for (name, values), (one, _) in zip(together.items(), alone, strict=True):
        assert values.shape == (12 if each else 3, n)
        torch.testing.assert_close(values, one[name], rtol=1e-13, atol=1e-13)
    expected = sum((i + 1) * g for i, (_, g) in enumerate(alone))
    torch.testing.assert_close(gradient, expected, rtol=1e-10, atol=1e-10 * float(expected.abs().max()))


def test_step_that_no_tape_can_hold_is_refused():
    x = {"lateral": torch.ones(1, 3)}
    about = {"length": torch.ones(3), "slope": torch.ones(3), "weight": torch.ones(3)}
    reach = MuskingumCungeReach()
    passing = Passing(reach.above, ("outflow",), False)
    with pytest.raises(StepError, match="100000000 steps of 3 sites are more than a tape can hold"):
        run_forest(
            reach, Forest([-1] * 3, 32), passing, x, torch.ones(3, 3), about, {"discharge": torch.ones(3)}, 10**8
        )


def test_pipeline_keeps_the_order_that_is_needed_and_ends_with_an_error():
    seen = []

    def task(worker, k):
        return lambda: seen.append((worker, k)), worker, {worker - 1: k + 1} if worker else {}

    run_pipeline([[task(p, k) for k in range(20)] for p in range(3)])
    assert len(seen) == 60
    for worker in (1, 2):
        for k in range(20):
            assert seen.index((worker - 1, k)) < seen.index((worker, k))

    def fails():
        raise ValueError("worker 0 is out")

    with pytest.raises(ValueError, match="worker 0 is out"):
        run_pipeline([[(fails, 0, {})], [task(1, 0)]])
