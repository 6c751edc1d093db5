"""Explicit steps of a tendency: their order, their budget, and heat in a soil by the method of lines."""

import math

import pytest
import torch
from implicit_models import Decay, Layers
from step_models import OneStore

from dmg.engine import Flux, Forcing, Ledger, ModelState, Parameter, ProcessModel, RawParameters, State, simulate
from dmg.errors import StepError
from dmg.testing import budget_closes, engines_agree, gradient_is_exact

EXPLICIT = ("euler", "heun", "rk4")
on_both_engines = pytest.mark.parametrize("engine", ["eager", "fused"])


def solved_by(model_class, solver, substeps=1):
    """Return a model class that is advanced by another solver, whatever its options."""

    class Other(model_class):
        def __init__(self, config=None, device=None):
            super().__init__({**(config or {}), "solver": solver, "substeps": substeps}, device)

    Other.__name__ = model_class.__name__
    return Other


@on_both_engines
@pytest.mark.parametrize(("solver", "order"), [("euler", 1), ("heun", 2), ("rk4", 4)])
def test_error_falls_with_the_order_of_the_method(solver, order, engine):
    forcing = torch.full((1, 1, 1), 4.0, dtype=torch.float64)
    raw = RawParameters(forcing[..., :0], torch.zeros(1, 1, dtype=torch.float64))
    k = 1.05
    exact = 4.0 / k + (1.0 - 4.0 / k) * math.exp(-k)
    errors = []
    for substeps in (2, 4):
        model = Decay({"solver": solver, "substeps": substeps, "engine": engine})
        errors.append(abs(float(simulate(model, forcing, raw, engine=engine).stores["storage"].detach()) - exact))
    assert 0.7 * 2**order < errors[0] / errors[1] < 1.5 * 2**order


@pytest.mark.parametrize("law", [budget_closes, engines_agree, gradient_is_exact])
def test_laws(law):
    law(solved_by(Layers, "heun", 2))


@pytest.mark.parametrize("solver", EXPLICIT)
def test_budget_closes_whatever_the_weights(solver):
    budget_closes(solved_by(Decay, solver, 3))


def test_explicit_models_have_nothing_to_converge():
    names = {solver: [f.name for f in Decay({"solver": solver}).fluxes] for solver in ("implicit", "euler")}
    assert names == {"implicit": ["streamflow", "unconverged"], "euler": ["streamflow"]}


@pytest.mark.parametrize(
    ("model", "options", "message"),
    [
        (Decay, {"solver": "rk5"}, "unknown solver 'rk5'"),
        (OneStore, {"solver": "rk4"}, "OneStore has a step, which no solver can change"),
        (Decay, {"substeps": 4}, "substeps are parts of an explicit step"),
    ],
)
def test_solvers_that_cannot_be(model, options, message):
    with pytest.raises(StepError, match=message):
        model(options)


class SoilHeat(ProcessModel):
    """Conduction of heat in a soil of layers of 10 cm below a surface of known temperature; hourly."""

    LAYERS, DEPTH = 12, 0.1
    dt = 1.0 / 24.0
    forcings = (Forcing("surface", "degC", low=-10.0, high=40.0),)
    parameters = (Parameter("diffusivity", 0.01, 0.1, "m2 d-1"),)
    states = (State("temperature", "degC", initial=10.0, size=LAYERS),)
    fluxes = (Flux("gained", "degC d-1"),)
    ledger = Ledger(sources=("gained",), sinks=(), stores=("temperature",))

    def tendency(self, s, x, p):
        """Heat flows from layer to layer, from the surface over half a layer, and not through the bottom."""
        above = 2.0 * (x.surface - s.temperature[..., 0])
        between = s.temperature[..., :-1] - s.temperature[..., 1:]
        into = torch.cat([above.unsqueeze(-1), between], dim=-1)
        out = torch.nn.functional.pad(between, (0, 1))
        rate = p.diffusivity / self.DEPTH**2
        return {"temperature": rate.unsqueeze(-1) * (into - out)}, {"gained": rate * above}


def soil(options, forcing, raw, start=None):
    """Return the temperatures at the end of a run."""
    state = None if start is None else ModelState({"temperature": start})
    _, end = SoilHeat(options).run(forcing, RawParameters(forcing[..., :0], raw), state)
    return end.stores["temperature"][0, 0]


@on_both_engines
@pytest.mark.parametrize("solver", ["rk4", "implicit"])
def test_heat_leaves_a_soil_as_the_equation_says(solver, engine):
    """The slowest mode below a surface of 0 degC, sin(πz/2L), falls by exp(-D (π/2L)² t).

    Its error is that of layers, (π Δz/2L)²/12 of the rate, and for backward Euler half the rate times the step.
    """
    length = SoilHeat.LAYERS * SoilHeat.DEPTH
    depth = (torch.arange(SoilHeat.LAYERS, dtype=torch.float64) + 0.5) * SoilHeat.DEPTH
    mode = 20.0 * torch.sin(0.5 * math.pi * depth / length)
    days, rate = 5, 0.055 * (0.5 * math.pi / length) ** 2
    forcing = torch.zeros(24 * days, 1, 1, dtype=torch.float64)
    raw = torch.zeros(1, 1, dtype=torch.float64)
    found = soil({"solver": solver, "engine": engine}, forcing, raw, mode.expand(1, 1, -1))
    torch.testing.assert_close(found, mode * math.exp(-rate * days), rtol=3e-3, atol=0.0)


def test_diffusivity_is_learned_from_temperatures():
    hours = torch.arange(48, dtype=torch.float64)
    forcing = (10.0 + 8.0 * torch.sin(2.0 * math.pi * hours / 24.0))[:, None, None]
    options = {"solver": "rk4"}
    observed = soil(options, forcing, torch.full((1, 1), -0.7, dtype=torch.float64))
    raw = torch.full((1, 1), 0.5, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([raw], max_iter=20, line_search_fn="strong_wolfe")

    def closure():
        optimizer.zero_grad()
        loss = ((soil(options, forcing, raw) - observed) ** 2).mean()
        loss.backward()
        return loss

    optimizer.step(closure)
    torch.testing.assert_close(raw.detach(), torch.full_like(raw, -0.7), rtol=1e-3, atol=0.0)
