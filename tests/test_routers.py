"""Linear routers, over all that are registered: what is lost, remembered and learned; and each against its theory."""

import math

import pytest
import torch

from dmg.engine import ProcessModel, RawParameters
from dmg.errors import ConfigError, StepError, UnknownNameError
from dmg.registry import process_models, routers
from hydrodl2.routing import Hayami, LinearMuskingum, LinearReservoir, NashCascade, PureLag

LINEAR = [name for name in routers if routers.get(name).routing_parameters and not routers.get(name).needs_network]


def drawn(router, sites=4, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return {
        p.name: p.low + (p.high - p.low) * torch.rand(sites, generator=generator, dtype=torch.float64)
        for p in router.routing_parameters
    }


@pytest.mark.parametrize("name", LINEAR)
def test_no_water_is_lost(name):
    router = routers.get(name)()
    for seed in range(10):
        kernel = router.kernel(drawn(router, seed=seed), router.length)
        assert kernel.shape == (router.length, 4)
        torch.testing.assert_close(kernel.sum(0), torch.ones(4, dtype=torch.float64), rtol=1e-12, atol=0)


@pytest.mark.parametrize("name", LINEAR)
def test_finite_with_finite_gradients_at_every_bound(name):
    router = routers.get(name)()
    table = router.routing_parameters
    for corner in range(2 ** len(table)):
        values = {
            p.name: torch.full((1,), p.high if corner >> i & 1 else p.low, requires_grad=True)
            for i, p in enumerate(table)
        }
        kernel = router.kernel(values, router.length)
        # Squares: the sum of a normalised kernel has no gradient.
        gradients = torch.autograd.grad(kernel.square().sum(), list(values.values()))
        assert torch.isfinite(kernel).all()
        assert all(torch.isfinite(g).all() for g in gradients), (values, gradients)


@pytest.mark.parametrize("name", LINEAR)
def test_history_continues_a_series(name):
    router = routers.get(name)()
    kernel = router.kernel(drawn(router), router.length)
    cut = router.length + 5
    series = torch.rand(cut + 40, 4, dtype=torch.float64)
    whole = router.route(series, kernel)
    rest = router.route(series[cut:], kernel, series[cut - router.length + 1 : cut])
    torch.testing.assert_close(rest, whole[cut:], rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("name", LINEAR)
def test_gradients_of_parameters(name):
    router = routers.get(name)()
    values = drawn(router, sites=2)
    names = list(values)

    def routed(*parameters):
        return router.route(series, router.kernel(dict(zip(names, parameters, strict=True)), router.length))

    series = torch.rand(20, 2, dtype=torch.float64)
    assert torch.autograd.gradcheck(routed, tuple(v.requires_grad_() for v in values.values()))


def response(router, **parameters):
    values = {name: torch.tensor([value], dtype=torch.float64) for name, value in parameters.items()}
    return router.kernel(values, router.length)[:, 0]


def test_lag_moves_water_by_its_delay():
    kernel = response(PureLag(), route_lag=2.25)
    expected = torch.zeros(15, dtype=torch.float64)
    expected[2], expected[3] = 0.75, 0.25
    torch.testing.assert_close(kernel, expected)


def test_reservoir_decays_by_a_constant_share():
    kernel = response(LinearReservoir(200), route_residence=4.0)
    torch.testing.assert_close(kernel[1:50] / kernel[:49], torch.full((49,), 0.8, dtype=torch.float64))
    lag = torch.arange(200, dtype=torch.float64)
    assert float((lag * kernel).sum()) == pytest.approx(4.0, rel=1e-6)


def test_cascade_of_whole_reservoirs_is_their_convolution():
    single = response(LinearReservoir(300), route_residence=2.0)
    three = torch.zeros(300, dtype=torch.float64)
    three[0] = 1.0
    for _ in range(3):
        three = torch.stack([(three[: t + 1].flip(0) * single[: t + 1]).sum() for t in range(300)])
    found = response(NashCascade(300), route_reservoirs=3.0, route_residence=2.0)
    torch.testing.assert_close(found, three / three.sum(), rtol=1e-9, atol=1e-15)


def test_muskingum_solves_its_difference_equation():
    k, x = 3.0, 0.2
    denominator = k * (1 - x) + 0.5
    c0, c1, c2 = (0.5 - k * x) / denominator, (0.5 + k * x) / denominator, (k * (1 - x) - 0.5) / denominator
    inflow, outflow = [1.0] + [0.0] * 199, [c0]
    for t in range(1, 200):
        outflow.append(c0 * inflow[t] + c1 * inflow[t - 1] + c2 * outflow[-1])
    found = response(LinearMuskingum(200), route_k=k, route_x=x)
    torch.testing.assert_close(found, torch.tensor(outflow, dtype=torch.float64), rtol=1e-9, atol=1e-15)


def test_diffusive_wave_has_the_mean_of_its_theory():
    # Mean of the inverse Gaussian law of first passage: the travel time; its variance: 2 β τ.
    kernel = response(Hayami(400), route_travel=20.0, route_spread=1.5)
    t = torch.arange(400, dtype=torch.float64) + 0.5
    mean = float((t * kernel).sum())
    variance = float(((t - mean) ** 2 * kernel).sum())
    assert mean == pytest.approx(20.0, rel=1e-3)
    assert math.isclose(variance, 2 * 1.5 * 20.0, rel_tol=1e-2)


@pytest.mark.parametrize("name", LINEAR)
def test_model_takes_any_router(name):
    model = process_models.get("Hbv")({"router": name})
    table = routers.get(name).routing_parameters
    assert list(model.routing_parameter_bounds) == [p.name for p in table]
    forcing = torch.rand(40, 2, 3, dtype=torch.float64) * 10.0
    raw = RawParameters(forcing.new_zeros(40, 2, 0), forcing.new_zeros(2, model.learnable_param_count))
    whole, _ = model.run(forcing, raw, model.cold_state(2, dtype=torch.float64))
    first, state = model.run(forcing[:25], raw.window(0, 25), model.cold_state(2, dtype=torch.float64))
    rest, _ = model.run(forcing[25:], raw.window(25, 40), state)
    torch.testing.assert_close(torch.cat([first["streamflow"], rest["streamflow"]]), whole["streamflow"])
    assert not torch.allclose(whole["streamflow"], whole["streamflow_no_rout"])


def test_router_that_is_none_and_model_that_needs_none():
    with pytest.raises(UnknownNameError, match="did you mean 'NashCascade'"):
        process_models.get("Hbv")({"router": "NashCascad"})
    with pytest.raises(StepError, match="ProcessModel routes no flux"):
        ProcessModel({"router": "PureLag"})
    with pytest.raises(ConfigError, match="a delay of 10 steps does not fit into a window of 10"):
        PureLag(10)
