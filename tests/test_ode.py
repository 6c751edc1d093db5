"""Tendencies integrated by torchdiffeq: the reference for backward Euler."""

from importlib.util import find_spec

import pytest
import torch
from implicit_models import Decay, Layers
from step_models import OneStore

from dmg.engine import RawParameters, ode, simulate
from dmg.errors import StepError

needs_torchdiffeq = pytest.mark.skipif(find_spec("torchdiffeq") is None, reason="needs torchdiffeq: pip install .[ode]")


def draw(model, steps=5, sites=3):
    generator = torch.Generator().manual_seed(0)
    forcing = 5.0 * torch.rand(steps, sites, len(model.forcings), generator=generator, dtype=torch.float64)
    static = torch.randn(sites, len(model.layout.static_channels), generator=generator, dtype=torch.float64)
    return forcing, RawParameters(forcing[..., :0], static.requires_grad_())


@needs_torchdiffeq
def test_linear_store_decays_exponentially():
    model = Decay()
    forcing, raw = draw(model)
    found = ode.integrate(model, forcing, raw, rtol=1e-10, atol=1e-10)
    k = 0.1 + 1.9 * torch.sigmoid(raw.static[:, 0])
    storage = torch.ones(3, dtype=torch.float64)
    for x, flow in zip(forcing[..., 0], found.fluxes["streamflow"], strict=True):
        new = x / k + (storage - x / k) * torch.exp(-k)
        torch.testing.assert_close(flow, x - (new - storage), rtol=1e-8, atol=1e-8)
        storage = new
    torch.testing.assert_close(found.stores["storage"][:, 0], storage, rtol=1e-8, atol=1e-8)
    (gradient,) = torch.autograd.grad(found.stores["storage"].sum(), raw.static, retain_graph=True)
    (expected,) = torch.autograd.grad(storage.sum(), raw.static)
    torch.testing.assert_close(gradient, expected, rtol=1e-7, atol=1e-7)


@needs_torchdiffeq
def test_backward_euler_approaches_it_with_shorter_steps():
    """The error of backward Euler is of first order in the time step."""
    model = Layers({"nmul": 2}).double()
    forcing, raw = draw(model)
    raw = RawParameters(raw.dynamic, raw.static.detach())
    exact = ode.integrate(model, forcing, raw).stores
    errors = []
    for parts in (1, 8, 64):
        model.dt = 1.0 / parts
        steps = forcing.repeat_interleave(parts, dim=0)
        found = simulate(model, steps, RawParameters(steps[..., :0], raw.static)).stores
        errors.append(max(float((found[n] - exact[n]).detach().abs().max()) for n in exact))
    assert 5.0 < errors[0] / errors[1] < 11.0
    assert 7.0 < errors[1] / errors[2] < 9.0


def test_step_cannot_be_integrated():
    with pytest.raises(StepError, match="OneStore has no tendency to integrate"):
        ode.integrate(OneStore(), *draw(OneStore()))


def test_missing_package(monkeypatch):
    monkeypatch.setattr(ode, "find_spec", lambda name: None)
    with pytest.raises(StepError, match="torchdiffeq is not installed") as error:
        ode.integrate(Decay(), *draw(Decay()))
    assert "pip install" in str(error.value)
