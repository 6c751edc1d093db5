"""Algebraic states: solved at every step for itself, with bisection where Newton's method fails."""

import pytest
import torch
from implicit_models import Jump, Partly, Root, Steep

from dmg.engine import ProcessModel, RawParameters, State, newton
from dmg.engine.bracket import Bracket
from dmg.errors import StepError
from dmg.testing import engines_agree, gradient_is_exact, run_is_split_at_will

on_both_engines = pytest.mark.parametrize("engine", ["eager", "fused"])


def run(model_class, engine, forcing, static=None, outputs=("out", "unconverged")):
    model = model_class({"engine": engine})
    static = torch.zeros(forcing.shape[1], 1, dtype=forcing.dtype) if static is None else static
    return model.run(forcing, RawParameters(forcing[..., :0], static), outputs=list(outputs))


@on_both_engines
def test_root_and_its_gradient(engine):
    forcing = torch.linspace(0.1, 20.0, 40, dtype=torch.float64).reshape(2, 20, 1)
    static = torch.zeros(20, 1, dtype=torch.float64, requires_grad=True)
    series, _ = run(Root, engine, forcing, static)
    expected = (forcing[..., 0] / 1.25) ** (1.0 / 3.0)
    torch.testing.assert_close(series["out"], 2.0 * expected, rtol=1e-13, atol=0.0)
    (gradient,) = torch.autograd.grad(series["out"].sum(), static)
    slope = 1.5 * 0.25  # of k at the middle of the logistic link
    torch.testing.assert_close(gradient[:, 0], (-2.0 * expected / (3.0 * 1.25) * slope).sum(0), rtol=1e-11, atol=0.0)


@on_both_engines
def test_bisection_finds_what_newton_does_not(engine):
    forcing = torch.linspace(0.5, 29.0, 30, dtype=torch.float64).reshape(1, 30, 1)
    series, _ = run(Steep, engine, forcing)
    assert not series["unconverged"].any()
    share = forcing[..., 0] / 30.0
    expected = 5.0 + torch.log(share / (1.0 - share)) / (200.0 * 1.25)
    torch.testing.assert_close(series["out"], expected, rtol=1e-11, atol=0.0)


@on_both_engines
def test_a_change_of_sign_is_a_solution(engine):
    series, _ = run(Jump, engine, torch.ones(1, 2, 1, dtype=torch.float64))
    assert not series["unconverged"].any()
    torch.testing.assert_close(series["out"], torch.full((1, 2), 7.0, dtype=torch.float64), rtol=1e-10, atol=0.0)


@on_both_engines
def test_forcing_that_is_no_number_is_not_hidden(engine):
    forcing = torch.ones(2, 2, 1)
    forcing[0, 0] = float("nan")
    series, _ = run(Root, engine, forcing)
    assert series["out"].isnan().tolist() == [[True, False], [False, False]]
    assert series["unconverged"].tolist() == [[1.0, 0.0], [0.0, 0.0]]


def test_steps_do_not_know_of_each_other():
    forcing = torch.tensor([1.0, 8.0, 1.0], dtype=torch.float64)[:, None, None]
    series, _ = run(Root, "auto", forcing)
    assert torch.equal(series["out"][0], series["out"][2])


@on_both_engines
def test_beside_a_store(engine):
    forcing = torch.tensor([3.0, 0.0, 9.0], dtype=torch.float64).expand(4, 3).T.unsqueeze(-1)
    series, _ = run(Partly, engine, forcing, outputs=["streamflow", "storage", "level", "unconverged"])
    assert not series["unconverged"].any()
    torch.testing.assert_close(series["storage"], series["level"] ** 2 + series["level"], rtol=1e-10, atol=1e-10)
    before = torch.cat([torch.full((1, 4), 5.0, dtype=torch.float64), series["storage"][:-1]])
    gained = forcing[..., 0] - series["streamflow"]
    torch.testing.assert_close(series["storage"] - before, gained, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("law", [engines_agree, gradient_is_exact, run_is_split_at_will])
def test_laws_of_a_store_and_an_algebraic_state(law):
    law(Partly)


def test_newton_step_that_leaves_the_bounds_is_replaced():
    bracket = Bracket(0.0, 8.0)
    iterate = bracket.first_iterate(newton.first_attempt(torch.ones(1, 1)))
    after = bracket.turn(iterate, iterate.stores, -torch.ones(1, 1), torch.full((1, 1), -20.0), 1e-6)
    assert after.stores.item() == 4.5  # the middle between 1, where the rate is positive, and 8


def test_what_cannot_be():
    with pytest.raises(StepError, match="starts from a parameter"):
        State("y", initial="k", algebraic=True)
    with pytest.raises(StepError, match="cannot have the bounds"):
        State("y", bounds=(0.0, 1.0))

    class TwoBounded(Partly):
        states = (Partly.states[0], State("level", algebraic=True, bounds=(0.0, 9.0)))

    with pytest.raises(StepError, match="has bounds and is not the only state"):
        TwoBounded()

    class Explicit(ProcessModel):
        states = Root.states

    with pytest.raises(StepError, match="is algebraic, and Explicit has no tendency that is solved"):
        Explicit()
