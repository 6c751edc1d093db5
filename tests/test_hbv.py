"""HBV 1.0 through its public interface."""

import itertools
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import hydrodl2
from dmg.errors import StepError, UnknownNameError
from hydrodl2.models.hbv.hbv import Hbv
from hydrodl2.routing import GammaUnitHydrograph


def inputs(steps=40, sites=3, width=None, dtype=torch.float32, seed=0):
    generator = torch.Generator().manual_seed(seed)
    x = torch.rand(steps, sites, 3, generator=generator, dtype=dtype) * torch.tensor([15.0, 20.0, 5.0], dtype=dtype)
    x[..., 1] -= 5
    return {"x_phy": x}, torch.randn(steps, sites, width, generator=generator, dtype=dtype)


def test_counts_and_bounds_are_the_published_ones():
    assert Hbv().learnable_param_count == 14
    assert Hbv({"dynamic_params": {"Hbv": ["parBETAET"]}}).learnable_param_count == 15
    assert Hbv({"nmul": 16, "dynamic_params": {"Hbv": ["parBETA", "parBETAET"]}}).learnable_param_count == 13 * 16 + 2
    assert Hbv().parameter_bounds["parFC"] == [50.0, 1000.0]
    assert Hbv().routing_parameter_bounds == {"route_a": [0.0, 2.9], "route_b": [0.0, 6.5]}


def test_parameters_is_still_pytorchs():
    assert list(Hbv().parameters()) == []
    assert Hbv.parameter_table[0].name == "parBETA"


@pytest.mark.parametrize("nmul", [1, 4])
def test_component_routing_equals_routing_of_the_mean(nmul):
    plain, routed = Hbv({"nmul": nmul}), Hbv({"nmul": nmul, "comprout": True})
    x, raw = inputs(width=plain.learnable_param_count, dtype=torch.float64)
    x["muwts"] = torch.rand(3, nmul, dtype=torch.float64)
    expected, got = plain(x, raw), routed(x, raw)
    assert expected.keys() == got.keys()
    for name, values in expected.items():
        torch.testing.assert_close(got[name], values, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("nmul", [1, 4])
def test_without_routing_streamflow_is_unrouted(nmul):
    model, with_routing = Hbv({"nmul": nmul, "routing": False}), Hbv({"nmul": nmul})
    x, raw = inputs(width=with_routing.learnable_param_count)
    out, routed = model(x, raw[..., :-2]), with_routing(x, raw)
    assert model.learnable_param_count == with_routing.learnable_param_count - 2
    torch.testing.assert_close(out["streamflow"], routed["streamflow_no_rout"])
    assert out["BFI"].shape == (3,)


def test_restart_is_exact():
    """One continuous run equals cached calls, streamflow included, down to single steps."""
    model = Hbv({"nmul": 2, "cache_states": True})
    x, raw = inputs(width=model.learnable_param_count, dtype=torch.float64)
    raw = raw[-1:].expand_as(raw)
    whole = Hbv({"nmul": 2})(x, raw)["streamflow"]
    cuts = [0, 16, 17, 18, 30, 40]
    parts = [model({"x_phy": x["x_phy"][a:b]}, raw[a:b])["streamflow"] for a, b in itertools.pairwise(cuts)]
    torch.testing.assert_close(torch.cat(parts), whole, rtol=1e-12, atol=1e-12)


def test_loaded_states_are_used_and_checked():
    model = Hbv({"nmul": 2})
    x, raw = inputs(width=model.learnable_param_count)
    cold = model(x, raw)
    states, river = model.get_states(), model.get_routing_state()
    assert set(river) == {"Qsim_tail", "Q0_tail", "Q1_tail", "Q2_tail"}
    assert river["Qsim_tail"].shape == (14, 3)
    model.load_states(states)
    model.load_routing_state(river)
    warm = model(x, raw)
    assert not torch.allclose(cold["streamflow"][:5], warm["streamflow"][:5])
    torch.testing.assert_close(model(x, raw)["streamflow"], warm["streamflow"])
    with pytest.raises(StepError, match=r"needs \[site, 2\] for each of SNOWPACK"):
        model.load_states(states[:3])
    with pytest.raises(StepError, match="has no 'Q2_tail'"):
        model.load_routing_state({k: v for k, v in river.items() if k != "Q2_tail"})
    torch.testing.assert_close(model(x, raw)["streamflow"], warm["streamflow"])
    model.reset_states()
    torch.testing.assert_close(model(x, raw)["streamflow"], cold["streamflow"])


def test_dropped_dynamics_only_in_training():
    model = Hbv({"nmul": 2, "dy_drop": 0.5, "dynamic_params": {"Hbv": ["parBETA"]}})
    x, raw = inputs(width=model.learnable_param_count)
    model.eval()
    torch.testing.assert_close(model(x, raw)["streamflow"], model(x, raw)["streamflow"], rtol=0, atol=0)
    model.train()
    torch.manual_seed(1)
    runs = [model(x, raw)["streamflow"] for _ in range(6)]
    assert any(not torch.equal(runs[0], run) for run in runs[1:])


def test_forcings_are_found_by_name():
    model = Hbv({"variables": ["pet", "prcp", "tmean"]})
    x, raw = inputs(width=model.learnable_param_count)
    shuffled = {"x_phy": x["x_phy"][..., [2, 0, 1]]}
    torch.testing.assert_close(model(shuffled, raw)["streamflow"], Hbv()(x, raw)["streamflow"])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: Hbv({"dynamic_params": {"Hbv": ["parBeta"]}}), "did you mean 'parBETA'"),
        (lambda: Hbv({"variables": ["prcp", "tmean"]}), "needs the forcing 'pet'"),
        (lambda: Hbv({"nmul": -1}), "nmul is -1"),
        (lambda: Hbv()(*inputs(width=9)), r"needs \[time, site, 14\]"),
        (lambda: Hbv({"warmup": 40})(*inputs(width=14)), "the window has 40 steps, the warm-up takes 40"),
        (lambda: Hbv({"engine": "quick"})(*inputs(width=14)), "unknown engine 'quick'"),
        (lambda: Hbv()(*inputs(width=14), outputs=["streamflw"]), "did you mean 'streamflow'"),
    ],
)
def test_errors_teach(call, message):
    with pytest.raises(StepError, match=message):
        call()


@given(a=st.floats(0, 2.9), b=st.floats(0, 6.5), length=st.integers(1, 15))
@settings(deadline=None)
def test_unit_hydrograph_is_the_gamma_density_normalised(a, b, length):
    kernel = GammaUnitHydrograph().kernel(
        {"route_a": torch.tensor([a], dtype=torch.float64), "route_b": torch.tensor([b], dtype=torch.float64)}, length
    )[:, 0]
    alpha, theta = a + 0.1, b + 0.5
    density = [
        (j + 0.5) ** (alpha - 1) * math.exp(-(j + 0.5) / theta) / (math.gamma(alpha) * theta**alpha)
        for j in range(length)
    ]
    torch.testing.assert_close(kernel, torch.tensor(density, dtype=torch.float64) / sum(density))


def test_models_by_name():
    assert "hbv" in hydrodl2.available_models()
    for name in hydrodl2.available_models():
        assert hydrodl2.load_model(name).__module__.endswith(f".{name}")
    assert hydrodl2.load_model("hbv") is Hbv
    assert hydrodl2.load_model("hbv", "Hbv") is Hbv
    with pytest.raises(UnknownNameError, match="did you mean"):
        hydrodl2.load_model("hvb")


def test_derived_quantities_can_be_asked_for_alone():
    model = Hbv({"nmul": 2})
    x, raw = inputs(width=model.learnable_param_count)
    assert set(model(x, raw, outputs=["BFI", "gwflow_no_rout"])) == {"BFI", "gwflow_no_rout"}
    torch.testing.assert_close(model(x, raw, outputs=["BFI"])["BFI"], model(x, raw)["BFI"])
