"""HBV 2.0 at two time steps: the published vectors, and what a hand-over means."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from dmg.errors import StepError
from hydrodl2.models.hbv import Hbv_2_mts

SHARED = Path(__file__).parents[2] / "shared" / "golden" / "hbv"
CASES = sorted(SHARED.glob("mts2*.npz"))
needs_shared = pytest.mark.skipif(not CASES, reason="published golden vectors are not beside the project")
PARTS = {"lof": ("lof_dyn", "lof_stat"), "hif": ("hif_dyn", "hif_stat", "hif_distr")}
PUBLISHED = {"conserve_lag": False}


def read(path):
    """Return inputs, expectations and options of a vector."""
    arrays = np.load(path)
    inputs = {key[3:]: torch.tensor(arrays[key]) for key in arrays.files if key.startswith("in/")}
    return arrays, json.loads(str(arrays["meta"])), inputs


def configured(config, engine="auto", **high):
    return config | {"engine": engine, "hif_model": config["hif_model"] | PUBLISHED | high}


def split(inputs):
    """Take the parameters out of the inputs and return them in the two parts of a call."""
    return tuple([inputs.pop(name).requires_grad_() for name in names] for names in PARTS.values())


@needs_shared
@pytest.mark.parametrize("engine", ["eager", "fused"])
@pytest.mark.parametrize("path", CASES, ids=lambda p: p.stem)
def test_published_vector(path, engine):
    arrays, meta, inputs = read(path)
    model = Hbv_2_mts(configured(meta["config"], engine)).train(not meta["simulate"])
    parameters = split(inputs)
    out = model(inputs, parameters)
    for name in [key[4:] for key in arrays.files if key.startswith("out/")]:
        np.testing.assert_allclose(
            out[name].detach().numpy(), arrays[f"out/{name}"], rtol=1e-5, atol=1e-5, err_msg=name
        )
    # In training too there is the flow at the gauges, which the published model leaves out.
    assert out["streamflow"].shape == (120, 2, 1)
    handed, final = model.get_states()
    for key, got in (("state/last_chunk_lof", handed), ("state/last_chunk_hif_final", final)):
        last = arrays[key].shape[1]
        # Where nothing fills the upper zone it is float32 rounding.
        np.testing.assert_allclose(torch.stack(got)[:, -last:].detach(), arrays[key], rtol=1e-5, atol=3e-5)
    (out["streamflow"] if meta["simulate"] else out["Qs"]).sum().backward()
    for names, tensors in zip(PARTS.values(), parameters, strict=True):
        for name, tensor in zip(names, tensors, strict=True):
            expected = arrays[f"grad/{name}"]
            got = torch.zeros_like(tensor) if tensor.grad is None else tensor.grad
            np.testing.assert_allclose(got, expected, atol=1e-4 * max(np.abs(expected).max(), 1e-6), err_msg=name)


def drawn(days=12, hours=50, units=5, model=None, seed=0, dtype=torch.float64):
    """Return inputs and parameters of a small network for a model of two components."""
    g = torch.Generator().manual_seed(seed)

    def rand(*shape):
        return torch.rand(shape, generator=g, dtype=torch.float64).to(dtype)

    topology = torch.tensor([[1, 1, 1, 0, 0], [0, 1, 0, 1, 1]], dtype=dtype)
    x = {
        "x_phy_lof": rand(days, units, 3) * torch.tensor([20.0, 12.0, 3.0], dtype=dtype),
        "x_phy_hif": rand(hours, units, 3) * torch.tensor([2.0, 12.0, 0.2], dtype=dtype),
        "ac_all": 100 + 2000 * rand(units),
        "elev_all": 100 + 2500 * rand(units),
        "areas": 10 + 100 * rand(units),
        "outlet_topo": topology,
    }
    low, high = model.lof_model, model.hif_model
    parameters = (
        [rand(days, units, low.learnable_param_count1), rand(units, low.learnable_param_count2)],
        [
            rand(hours, units, high.learnable_param_count1),
            rand(units, high.learnable_param_count2),
            rand(int(topology.sum()), high.learnable_param_count3),
        ],
    )
    return x, parameters


def options(name="Hbv_2_hourly", **keys):
    return {"nmul": 2, "dynamic_params": {"Hbv_2_mts": ["parBETA"]}, "hif_model": {"name": [name]} | keys}


@pytest.mark.parametrize("name", ["Hbv_2_hourly", "Hbv_2_1_hourly"])
def test_chunks_of_units_and_hours_change_nothing(name):
    whole = Hbv_2_mts(options(name)).eval()
    chunks = {"simulate_spatial_chunk_size": 2, "simulate_temporal_chunk_size": 7}
    parts = Hbv_2_mts(options(name, **chunks)).eval()
    x, parameters = drawn(model=whole)
    with torch.no_grad():
        one, other = whole(x, parameters), parts(x, parameters)
    assert set(one) == set(other) == {"Qs", "streamflow"}
    for key in one:
        torch.testing.assert_close(one[key], other[key], rtol=1e-12, atol=1e-12)
    for a, b in zip(whole.get_states()[1], parts.get_states()[1], strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=0)


def test_the_days_get_a_gradient_only_on_request():
    model = Hbv_2_mts(options())
    x, parameters = drawn(model=model)
    for part in parameters:
        for tensor in part:
            tensor.requires_grad_()
    model(x, parameters)["streamflow"].sum().backward()
    assert parameters[0][0].grad is None
    detached = parameters[0][1].grad.clone()
    attached = Hbv_2_mts(options() | {"lof_model": {"handover": "attached"}})
    out = attached(x, parameters)["streamflow"]
    torch.testing.assert_close(out, model(x, parameters)["streamflow"])
    parameters[0][1].grad = None
    out.sum().backward()
    assert parameters[0][0].grad.abs().sum() > 0
    assert not torch.allclose(parameters[0][1].grad, detached)


def test_an_attached_gradient_is_that_of_finite_differences():
    model = Hbv_2_mts(options() | {"lof_model": {"handover": "attached"}, "engine": "eager"})
    x, (low, high) = drawn(days=6, hours=12, model=model, seed=3)
    static = low[1].clone().requires_grad_()
    model(x, ([low[0], static], high))["streamflow"].sum().backward()
    direction = torch.randn(static.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    step = 1e-7

    def value(sign):
        return model(x, ([low[0], static.detach() + sign * step * direction], high))["streamflow"].sum()

    numerical = (value(1) - value(-1)) / (2 * step)
    torch.testing.assert_close((static.grad * direction).sum(), numerical, rtol=1e-5, atol=1e-8)


def test_what_both_know_comes_from_the_days():
    model = Hbv_2_mts(options())
    x, (low, high) = drawn(model=model)
    x["x_phy_hif"][..., 0] *= 30.0  # more than some soils let in
    out = model(x, (low, high))["streamflow"]
    shared = len(model.lof_model.layout.static_parameters) * 2
    changed = high[1].clone()
    changed[:, :shared] = 1.0 - changed[:, :shared]
    torch.testing.assert_close(model(x, (low, [high[0], changed, high[2]]))["streamflow"], out)
    changed[:, shared:] = 1.0 - changed[:, shared:]
    assert not torch.allclose(model(x, (low, [high[0], changed, high[2]]))["streamflow"], out)


def test_two_models_that_do_not_fit_are_refused():
    with pytest.raises(StepError, match="2 components, the hours 3"):
        Hbv_2_mts({"nmul": 2, "hif_model": {"nmul": 3}})
    dynamic = {"Hbv_2": ["parBETA"], "Hbv_2_hourly": ["parBETA", "parK0"]}
    with pytest.raises(StepError, match="not the first of those of the hours"):
        Hbv_2_mts({"dynamic_params": dynamic})
