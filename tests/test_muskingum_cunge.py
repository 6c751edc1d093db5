"""Muskingum-Cunge routing: reference vectors, laws, memory of the river, gradients, and networks of every shape."""

import copy
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings

from dmg.engine import forest_run
from dmg.errors import ConfigError, DataError, StepError
from dmg.testing import LAWS
from hydrodl2.routing import MuskingumCunge, MuskingumCungeReach, RiverNetwork
from tests.forests import forests

GOLDEN = Path(__file__).parents[2] / "shared" / "golden" / "routing"
NAMES = ("n", "q_spatial", "p_spatial")
ENGINES = ("eager", "fused")

# The budget of a reach is not declared: the clamp adds water, which is counted.
REACH_LAWS = [law for law in LAWS if "budget" not in law.__name__]


@pytest.mark.parametrize("law", REACH_LAWS, ids=lambda law: law.__name__)
def test_laws_of_the_reach(law):
    law(MuskingumCungeReach)


def random_tree(n, seed=0):
    rng = np.random.default_rng(seed)
    downstream = np.array([-1, *(rng.integers(max(0, i - 6), i) for i in range(1, n))])
    return RiverNetwork(downstream), rng


def river(n=30, seed=0, **options):
    """Return a router of a random network, its parameters and its lateral inflow, in float64."""
    network, rng = random_tree(n, seed)
    router = MuskingumCunge(network, rng.uniform(1500, 9000, n), 10 ** rng.uniform(-3, -2, n), **options)
    bounds = {p.name: (p.low, p.high) for p in MuskingumCungeReach.parameter_table}
    parameters = {name: torch.from_numpy(rng.uniform(*bounds[name], n)) for name in NAMES}
    return router, parameters, torch.from_numpy(rng.gamma(1.0, 0.5, (5, n)))


def gradients(router, parameters, lateral, **options):
    """Return discharge, final state and the gradient of a sum of both, for a hot start."""
    values = [t.clone().requires_grad_() for t in (lateral, *parameters.values())]
    routed, end = router(values[0], dict(zip(NAMES, values[1:], strict=True)), **options)
    return [routed, end, *torch.autograd.grad(routed.square().sum() + end.sin().sum(), values)]


def assert_near(found, expected, tolerance):
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=tolerance, atol=tolerance * float(b.detach().abs().max()))


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("case", ["N5_T48", "N60_T120"])
def test_reference_vectors(case, engine, dtype):
    path = GOLDEN / f"routing_ddr_{case}.npz"
    if not path.exists():
        pytest.skip("needs ../shared/golden/routing")
    golden = {name: torch.from_numpy(values) for name, values in np.load(path).items()}
    network = RiverNetwork(golden["parent"])
    router = MuskingumCunge(
        network, golden["length"], golden["slope"], golden["x"], substeps=1, block=50, engine=engine
    )
    unit = {k: golden[f"u_{k}"].to(dtype).requires_grad_() for k in ("n", "q", "p")}
    parameters = {
        "n": 0.015 + unit["n"] * (0.25 - 0.015),
        "q_spatial": unit["q"],
        "p_spatial": torch.exp(np.log(1.0 + 1e-6) + unit["p"] * (np.log(200.0) - np.log(1.0 + 1e-6))),
    }
    lateral = golden["q_lat"].to(dtype).requires_grad_()
    # There, the first value is the hot start and the lateral inflow of a step acts at its end.
    start = router.hot_start(lateral[0])
    routed, _ = router(lateral[:-1], parameters, start)
    discharge = torch.cat([start[None], routed]).T
    torch.testing.assert_close(discharge, golden["Q"].to(dtype), rtol=5e-5, atol=1e-6)
    (discharge * golden["w"]).sum().backward()
    expected = [golden[f"dL_du_{k}"].to(dtype) for k in unit] + [golden["dL_dqlat"].to(dtype)]
    for values, wanted in zip([*unit.values(), lateral], expected, strict=True):
        torch.testing.assert_close(values.grad, wanted, rtol=0, atol=1e-4 * float(wanted.abs().max()))


@pytest.mark.parametrize("every_substep", [False, True])
def test_result_depends_neither_on_segments_nor_on_threads(every_substep, monkeypatch):
    case = river(200)
    whole = gradients(*case, every_substep=every_substep)
    monkeypatch.setattr(forest_run, "TAPE_BYTES", 0)  # a day is a segment
    by_day = gradients(*case, every_substep=every_substep)
    monkeypatch.setattr(forest_run, "threads_for", lambda forest: 3)
    by_thread = gradients(*case, every_substep=every_substep)
    for day, thread in zip(by_day, by_thread, strict=True):
        assert torch.equal(day, thread)
    assert torch.equal(by_day[0], whole[0])
    assert_near(by_day, whole, 1e-12)  # the gradient of a parameter is summed by segment


def test_blocks_of_the_wave_front_make_no_difference():
    case = river(engine="eager", block=5)
    whole = gradients(*case)
    case[0].block = 2
    assert_near(gradients(*case), whole, 1e-12)


def test_run_is_split_at_will():
    router, parameters, lateral = river()
    whole, end = router(lateral, parameters)
    first, state = router(lateral[:3], parameters)
    second, last = router(lateral[3:], parameters, state)
    torch.testing.assert_close(torch.cat([first, second]), whole, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(last, end, rtol=1e-12, atol=1e-12)


def test_daily_values_are_means_of_the_substeps():
    router, parameters, lateral = river()
    daily, _ = router(lateral, parameters)
    hourly, end = router(lateral, parameters, every_substep=True)
    assert hourly.shape == (5 * 24, 30)
    torch.testing.assert_close(hourly.unflatten(0, (5, 24)).mean(1), daily)
    torch.testing.assert_close(hourly[-1], end)


def test_steady_inflow_stays_steady():
    router, parameters, lateral = river()
    steady, _ = router(lateral[:1].expand(5, -1), parameters)
    expected = torch.from_numpy(router.network.accumulate(lateral[0].numpy()))
    torch.testing.assert_close(steady, expected.expand(5, -1), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("every_substep", [False, True])
def test_gradients_are_exact(every_substep):
    router, parameters, lateral = river(6, substeps=3)
    start = router.hot_start(lateral[0])

    def routed(lateral, start, *values):
        return router(lateral, dict(zip(NAMES, values, strict=True)), start, every_substep=every_substep)

    inputs = (lateral[:3], start, *parameters.values())
    assert torch.autograd.gradcheck(routed, tuple(t.clone().requires_grad_() for t in inputs), atol=1e-6, rtol=1e-4)


@pytest.mark.parametrize("every_substep", [False, True])
def test_kernel_and_wave_front_agree(every_substep):
    found = [gradients(*river(engine=engine), every_substep=every_substep) for engine in ENGINES]
    assert_near(found[1], found[0], 1e-9)


@given(forests())
@settings(max_examples=15, deadline=None)
def test_kernel_and_wave_front_agree_on_networks_of_every_shape(downstream):
    rng, n = np.random.default_rng(len(downstream)), len(downstream)
    length, slope = rng.uniform(1500, 9000, n), 10 ** rng.uniform(-3, -2, n)
    values = {name: torch.full((n,), v, dtype=torch.float64) for name, v in zip(NAMES, (0.05, 0.4, 20.0), strict=True)}
    lateral = torch.from_numpy(rng.gamma(1.0, 0.5, (2, n)))
    routed = [
        MuskingumCunge(RiverNetwork(downstream), length, slope, substeps=4, engine=engine)(lateral, values)[0]
        for engine in ENGINES
    ]
    torch.testing.assert_close(routed[1], routed[0], rtol=1e-10, atol=1e-10)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_wave_front_on_a_gpu_equals_the_kernel_on_a_cpu():
    router, parameters, lateral = river()
    expected = gradients(router, parameters, lateral)
    found = gradients(router.to("cuda"), {k: v.cuda() for k, v in parameters.items()}, lateral.cuda())
    assert_near([t.cpu() for t in found], expected, 1e-9)


def test_copies_and_files_of_a_router_route_alike():
    router, parameters, lateral = river()
    expected, _ = router(lateral, parameters)
    for other in (copy.deepcopy(router), pickle.loads(pickle.dumps(router))):
        assert torch.equal(other(lateral, parameters)[0], expected)


def test_gradients_cannot_be_differentiated_again():
    router, parameters, lateral = river(6)
    lateral.requires_grad_()
    routed, _ = router(lateral, parameters)
    (gradient,) = torch.autograd.grad(routed.sum(), lateral, create_graph=True)
    with pytest.raises(StepError, match="a run on a forest has no second derivatives"):
        gradient.sum().backward()


def test_what_leaves_the_method_is_counted():
    for engine in ENGINES:
        router, parameters, lateral = river(engine=engine)
        lateral[:, 3] = 0.0
        found = router.diagnose(lateral, parameters)
        assert 0.0 < float(found["negative"].mean()) < 1.0
        assert float(found["added"][3]) >= 1e-4 - 1e-12  # the least lateral inflow
        dry = router.diagnose(torch.zeros_like(lateral), parameters, torch.full((30,), 1e-4, dtype=torch.float64))
        assert float(dry["added"].min()) >= 1e-4 - 1e-12
    # A wave that enters a long dry reach gives a dip below zero at first.
    lone = MuskingumCunge(RiverNetwork([1, -1]), [3e4, 3e4], [1e-3, 1e-3], substeps=1)
    values = {name: torch.full((2,), v, dtype=torch.float64) for name, v in zip(NAMES, (0.05, 0.4, 20.0), strict=True)}
    flood = torch.full((6, 2), 1e-4, dtype=torch.float64)
    flood[2:, 0] = 500.0
    assert float(lone.diagnose(flood, values)["clamped"][1]) > 0.0


def test_parameters_between_their_bounds():
    router, *_ = river()
    found = router.parameters_at(torch.tensor([[0.0, 0.0, 0.0], [1.0, 1.0, 1.0], [0.5, 0.5, 0.5]], dtype=torch.float64))
    expected = {"n": [0.015, 0.25, 0.1325], "q_spatial": [0.0, 1.0, 0.5], "p_spatial": [1.0, 200.0, 200.0**0.5]}
    for name, values in expected.items():
        torch.testing.assert_close(found[name], torch.tensor(values, dtype=torch.float64))


def test_order_of_the_reaches_does_not_matter():
    network, rng = random_tree(20)
    length, slope = rng.uniform(1500, 9000, 20), np.full(20, 2e-3)
    lateral = torch.from_numpy(rng.gamma(1.0, 0.5, (4, 20)))
    values = {name: torch.full((20,), v, dtype=torch.float64) for name, v in zip(NAMES, (0.05, 0.4, 20.0), strict=True)}
    expected, _ = MuskingumCunge(network, length, slope)(lateral, values)
    new = rng.permutation(20)
    back = np.argsort(new)
    shuffled = RiverNetwork([back[d] if d >= 0 else -1 for d in network.downstream[new]])
    found, _ = MuskingumCunge(shuffled, length[new], slope[new])(lateral[:, new], values)
    torch.testing.assert_close(found, expected[:, new], rtol=1e-12, atol=1e-12)


def test_reaches_apart_and_several_outlets():
    lone = MuskingumCunge(RiverNetwork([-1, -1, 0]), [5000.0] * 3, [2e-3] * 3)
    values = {name: torch.full((3,), v, dtype=torch.float64) for name, v in zip(NAMES, (0.05, 0.4, 20.0), strict=True)}
    lateral = torch.ones(3, 3, dtype=torch.float64)
    routed, _ = lone(lateral, values)
    torch.testing.assert_close(routed[-1], torch.tensor([2.0, 1.0, 1.0], dtype=torch.float64))


def test_water_is_kept_where_no_coefficient_is_negative():
    """A small wave leaves a chain of reaches with the volume with which it came.

    A great one does not: coefficients that follow the discharge conserve volume to first order only.
    """
    n = 6
    options = {"nonnegative": True, "substeps": 1}
    router = MuskingumCunge(RiverNetwork([1, 2, 3, 4, 5, -1]), [4000.0] * n, [2e-3] * n, **options)
    values = {name: torch.full((n,), v, dtype=torch.float64) for name, v in zip(NAMES, (0.05, 0.4, 20.0), strict=True)}
    lateral = torch.ones(600, n, dtype=torch.float64)
    lateral[100:110, 0] += 0.01
    routed, _ = router(lateral, values)
    assert (routed >= 0.999).all()
    passed = float((routed[:, -1] - n).sum())
    assert passed == pytest.approx(0.1, rel=0.01)


def test_nonnegative_coefficients_are_nonnegative():
    from dmg.engine import RawParameters, simulate

    forcing = torch.rand(50, 40, 3, dtype=torch.float64) * 10
    length = torch.logspace(1.5, 5, 40, dtype=torch.float64)
    known = {"length": length, "slope": torch.full_like(length, 2e-3), "weight": torch.full_like(length, 0.3)}
    raw = RawParameters(forcing.new_empty(50, 40, 0), torch.rand(40, 3, dtype=torch.float64))
    counted = {
        choice: simulate(
            MuskingumCungeReach(nonnegative=choice), forcing, raw, attributes=known, fluxes=("negative",)
        ).fluxes["negative"]
        for choice in (False, True)
    }
    assert counted[False].mean() > 0.3
    assert counted[True].sum() == 0


def test_wrong_shapes_and_lengths_are_named():
    for length in (np.nan, np.inf, 0.0):
        with pytest.raises(DataError, match=f"the length of reach b is {length:g}, which is no positive number"):
            MuskingumCunge(RiverNetwork([1, -1], ["a", "b"]), [100.0, length], [1e-3, 1e-3])
    router, parameters, lateral = river()
    with pytest.raises(DataError, match="the network 30 reaches"):
        router(lateral[:, :-1], parameters)
    with pytest.raises(ConfigError, match="unknown engine 'fusd'"):
        river(engine="fusd")
    with pytest.raises(ConfigError, match="cannot be run fused: there is no kernel for torch"):
        river(engine="fused")[0](lateral.half(), parameters)
