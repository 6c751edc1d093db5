"""The ways from unit catchments to gauges."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dmg.errors import StepError
from hydrodl2.routing import Gauges, HourlyUnitHydrograph, LaggedUnitHydrograph

TWO_GAUGES = Gauges(torch.tensor([[1.0, 0.0, 1.0], [1.0, 1.0, 1.0]]), torch.tensor([20.0, 5.0, 9.0]))


def parameters(a, b, tau):
    names = ("route_a", "route_b", "route_tau")
    return {
        n: torch.tensor([v], dtype=torch.float64, requires_grad=True) for n, v in zip(names, (a, b, tau), strict=True)
    }


@given(a=st.floats(0, 5), b=st.floats(0, 12), tau=st.floats(0, 48))
@settings(deadline=None, max_examples=50)
def test_a_lag_moves_the_hydrograph_and_keeps_its_water(a, b, tau):
    router, given_ = LaggedUnitHydrograph(), parameters(a, b, tau)
    kernel = router.kernel(given_, router.length)[:, 0].detach()
    base = HourlyUnitHydrograph().kernel(given_, 72)[:, 0].detach()
    hours = torch.arange(router.length, dtype=torch.float64)
    assert float(kernel.sum()) == pytest.approx(1.0, abs=1e-12)
    assert float((kernel * hours).sum()) == pytest.approx(float((base * hours[:72]).sum()) + tau, abs=1e-9)
    # The published hydrograph is the same, and ends after 72 hours.
    published = LaggedUnitHydrograph(conserving=False)
    torch.testing.assert_close(
        published.kernel(given_, published.length)[:, 0].detach(), kernel[:72], rtol=0, atol=1e-15
    )


def test_the_published_hydrograph_loses_what_comes_late():
    published = LaggedUnitHydrograph(conserving=False)
    assert published.kernel(parameters(5.0, 12.0, 48.0), 72).sum().item() == pytest.approx(0.06, abs=0.005)
    assert published.kernel(parameters(5.0, 12.0, 10.5), 72).sum().item() == pytest.approx(0.79, abs=0.005)


def test_the_lag_has_a_gradient():
    router, given_ = LaggedUnitHydrograph(), parameters(1.0, 2.0, 7.3)
    weights = torch.linspace(0, 1, router.length, dtype=torch.float64)[:, None].cos()

    def response(tau):
        return (router.kernel(given_ | {"route_tau": tau}, router.length) * weights).sum()

    assert torch.autograd.gradcheck(response, (given_["route_tau"],))


def test_gauges_average_what_arrives_over_their_area():
    assert [tensor.tolist() for tensor in TWO_GAUGES.pairs] == [[0, 0, 1, 1, 1], [0, 2, 0, 1, 2]]
    arriving = TWO_GAUGES.mean_of_pairs(torch.tensor([[1.0, 2.0, 1.0, 4.0, 2.0]], dtype=torch.float64))
    expected = [(20 + 18) / 29, (20 + 20 + 18) / 34]
    torch.testing.assert_close(arriving, torch.tensor([expected], dtype=torch.float64))


def test_gauges_fit_the_units():
    with pytest.raises(StepError, match=r"outlet_topo has shape \(2, 3\), areas \(3,\); there are 4 units") as error:
        Gauges.read({"outlet_topo": TWO_GAUGES.topology, "areas": TWO_GAUGES.areas}, 4)
    assert "[gauge, unit]" in error.value.hint
    assert Gauges.read({"areas": TWO_GAUGES.areas}, 3) is None
