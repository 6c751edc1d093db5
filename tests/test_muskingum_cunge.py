"""Muskingum-Cunge routing: reference vectors, laws, memory of the river, gradients, and networks of every shape."""

from pathlib import Path

import numpy as np
import pytest
import torch

from dmg.errors import DataError
from dmg.testing import LAWS
from hydrodl2.routing import MuskingumCunge, MuskingumCungeReach, RiverNetwork

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
    router = MuskingumCunge(
        network, rng.uniform(1500, 9000, n), 10 ** rng.uniform(-3, -2, n), **({"substeps": 24, "block": 3} | options)
    )
    bounds = {p.name: (p.low, p.high) for p in MuskingumCungeReach.parameter_table}
    parameters = {name: torch.from_numpy(rng.uniform(*bounds[name], n)) for name in NAMES}
    return router, parameters, torch.from_numpy(rng.gamma(1.0, 0.5, (8, n)))


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("case", ["N5_T48", "N60_T120"])
def test_reference_vectors(case, engine):
    path = GOLDEN / f"routing_ddr_{case}.npz"
    if not path.exists():
        pytest.skip("needs ../shared/golden/routing")
    golden = np.load(path)
    network = RiverNetwork(golden["parent"])
    router = MuskingumCunge(network, golden["length"], golden["slope"], golden["x"], substeps=1, block=7, engine=engine)
    unit = {k: torch.tensor(golden[f"u_{k}"], dtype=torch.float64, requires_grad=True) for k in ("n", "q", "p")}
    parameters = {
        "n": 0.015 + unit["n"] * (0.25 - 0.015),
        "q_spatial": unit["q"],
        "p_spatial": torch.exp(np.log(1.0 + 1e-6) + unit["p"] * (np.log(200.0) - np.log(1.0 + 1e-6))),
    }
    lateral = torch.tensor(golden["q_lat"], requires_grad=True)
    # There, the first value is the hot start and the lateral inflow of a step acts at its end.
    start = router.hot_start(lateral[0])
    torch.testing.assert_close(start, torch.tensor(golden["Q"][:, 0]).double(), rtol=5e-5, atol=0)
    routed, _ = router(lateral[:-1], parameters, start)
    torch.testing.assert_close(routed.T, torch.tensor(golden["Q"][:, 1:]).double(), rtol=5e-5, atol=1e-6)
    loss = (routed.T * torch.tensor(golden["w"][:, 1:])).sum()
    loss.backward()
    for k in unit:
        expected = torch.tensor(golden[f"dL_du_{k}"]).double()
        torch.testing.assert_close(unit[k].grad, expected, rtol=0, atol=1e-4 * float(expected.abs().max()))
    # The published gradient goes through the hot start too; that of every later inflow is the same.
    expected = torch.tensor(golden["dL_dqlat"])[1:].double()
    torch.testing.assert_close(lateral.grad[1:], expected, rtol=0, atol=1e-4 * float(expected.abs().max()))


def test_result_does_not_depend_on_the_block():
    router, parameters, lateral = river()
    whole, end = router(lateral, parameters)
    router.block = 8
    once, same = router(lateral, parameters)
    torch.testing.assert_close(once, whole, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(same, end, rtol=1e-12, atol=1e-12)


def test_run_is_split_at_will():
    router, parameters, lateral = river()
    whole, end = router(lateral, parameters)
    first, state = router(lateral[:5], parameters)
    second, last = router(lateral[5:], parameters, state)
    torch.testing.assert_close(torch.cat([first, second]), whole, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(last, end, rtol=1e-12, atol=1e-12)


def test_daily_values_are_means_of_the_substeps():
    router, parameters, lateral = river()
    daily, _ = router(lateral, parameters)
    hourly, end = router(lateral, parameters, every_substep=True)
    assert hourly.shape == (8 * 24, 30)
    torch.testing.assert_close(hourly.unflatten(0, (8, 24)).mean(1), daily)
    torch.testing.assert_close(hourly[-1], end)


def test_steady_inflow_stays_steady():
    router, parameters, lateral = river()
    steady, _ = router(lateral[:1].expand(5, -1), parameters)
    expected = torch.from_numpy(router.network.accumulate(lateral[0].numpy()))
    torch.testing.assert_close(steady, expected.expand(5, -1), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("every_substep", [False, True])
def test_gradients_are_exact(every_substep):
    router, parameters, lateral = river(6, substeps=3, block=2)
    start = router.hot_start(lateral[0])

    def routed(lateral, start, *values):
        return router(lateral, dict(zip(NAMES, values, strict=True)), start, every_substep=every_substep)

    inputs = (lateral[:3], start, *parameters.values())
    assert torch.autograd.gradcheck(routed, tuple(t.clone().requires_grad_() for t in inputs), atol=1e-6, rtol=1e-4)


def test_engines_and_wave_front_agree():
    found = {}
    for way in ({"engine": "eager"}, {"engine": "fused"}, {"method": "wavefront"}):
        router, parameters, lateral = river(**way)
        values = [t.clone().requires_grad_() for t in (lateral, *parameters.values())]
        routed, _ = router(values[0], dict(zip(NAMES, values[1:], strict=True)))
        found[str(way)] = [routed, *torch.autograd.grad(routed.square().sum(), values)]
    for eager, *others in zip(*found.values(), strict=True):
        for other in others:
            torch.testing.assert_close(other, eager, rtol=1e-9, atol=1e-9 * float(eager.detach().abs().max()))


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
    options = {"nonnegative": True, "substeps": 1, "block": 50}
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
    with pytest.raises(DataError, match="the length of reach b is not positive"):
        MuskingumCunge(RiverNetwork([1, -1], ["a", "b"]), [100.0, np.nan], [1e-3, 1e-3])
    router, parameters, lateral = river()
    with pytest.raises(DataError, match="the network 30 reaches"):
        router(lateral[:, :-1], parameters)
