"""Implicit models: their solutions, what is said where there is none, and the rules for a tendency."""

import logging

import pytest
import torch
from implicit_models import Decay, Explosion, Layers, Switch

from dmg.engine import Flux, ModelState, RawParameters, newton, simulate
from dmg.errors import StepError

on_both_engines = pytest.mark.parametrize("engine", ["eager", "fused"])


def run(model_class, engine, stores, forcing, static, outputs=None, dtype=torch.float64):
    """Run a model of one parameter; stores and raw parameters are one per site."""
    model = model_class({"engine": engine})
    forcing = torch.as_tensor(forcing, dtype=dtype)
    raw = RawParameters(forcing[..., :0], torch.as_tensor(static, dtype=dtype)[:, None])
    state = ModelState({model.states[0].name: torch.as_tensor(stores, dtype=dtype)[:, None]})
    return model.run(forcing, raw, state, outputs=outputs)


@on_both_engines
def test_linear_store_has_the_known_solution(engine):
    k = 0.1 + 1.9 * torch.sigmoid(torch.tensor([-1.0, 0.0, 2.0], dtype=torch.float64))
    series, final = run(Decay, engine, [3.0, 10.0, 0.0], torch.full((1, 3, 1), 4.0), [-1.0, 0.0, 2.0])
    expected = (torch.tensor([3.0, 10.0, 0.0], dtype=torch.float64) + 4.0) / (1.0 + k)
    torch.testing.assert_close(final.stores["storage"][:, 0], expected, rtol=1e-14, atol=1e-14)
    torch.testing.assert_close(series["streamflow"][0], k * expected, rtol=1e-14, atol=1e-14)


@on_both_engines
def test_what_newton_alone_cannot_solve(engine):
    """Backtracking and sub-steps find the solution of a switch from far away, that of the whole step."""
    forcing = torch.tensor([0.0, 19.0, 3.0, 0.0, 20.0, 29.9], dtype=torch.float64)[:, None, None].expand(6, 4, 1)
    stores = [0.0, 4.9, 60.0, 5.2]
    outputs = ["streamflow", "unconverged", "storage"]
    series, _ = run(Switch, engine, stores, forcing, [-8.0, -1.0, 0.5, 8.0], outputs)
    assert not series["unconverged"].any()
    before = torch.cat([torch.tensor([stores], dtype=torch.float64), series["storage"][:-1]])
    lacking = series["storage"] - before - (forcing[..., 0] - series["streamflow"])
    assert float(lacking.abs().max()) < 1e-9


def test_sub_steps_are_taken():
    """The switch needs them, so that the test above tests them."""
    old = torch.tensor([[0.0, 60.0]], dtype=torch.float64)
    attempt = newton.first_attempt(old)
    stuck = newton.first_iterate(attempt)._replace(
        status=torch.tensor([newton.STUCK, newton.CONVERGED], dtype=torch.float64),
        merit=torch.ones(2, dtype=torch.float64),
        stores=old + 1.0,
    )
    attempt = newton.judge(attempt, stuck, old)
    assert attempt.stage.tolist() == [newton.WALKING, newton.OVER]
    assert attempt.share[0] == newton.FIRST_SHARE
    assert attempt.stores.tolist() == [[0.0, 61.0]]
    arrived = newton.first_iterate(attempt)
    for _ in range(4):
        found = arrived._replace(status=torch.zeros(2, dtype=torch.float64), stores=attempt.stores + 2.0)
        attempt = newton.judge(attempt, found, old)
    # At the end of the step the whole step is tried again from there.
    assert attempt.stage.tolist() == [newton.LAST, newton.OVER]
    assert (attempt.base[0, 0], attempt.stores[0, 0], attempt.share[0]) == (0.0, 8.0, 1.0)
    lost = newton.judge(attempt, found._replace(status=torch.tensor([newton.STUCK, newton.CONVERGED])), old)
    assert lost.failed.tolist() == [1.0, 0.0]
    assert lost.stores.tolist() == [[8.0, 61.0]]


@on_both_engines
def test_no_solution_is_said_and_counted(engine, caplog):
    forcing = torch.zeros(3, 4, 1)
    with caplog.at_level(logging.WARNING, logger="dmg"):
        series, _ = run(Explosion, engine, [0.1, 0.1, 5.0, 0.05], forcing, [0.0] * 4, ["growth", "unconverged"])
    # k is 1: S - S0 = S² has a solution for S0 up to a quarter.
    assert series["unconverged"].tolist() == [[0.0, 0.0, 1.0, 0.0]] * 3
    assert "Explosion: backward Euler found no solution in 3 of 12 steps" in caplog.text
    assert "at sites 2 (counted in their batch) and steps 0, 1, 2; the output 'unconverged'" in caplog.text


@on_both_engines
def test_no_warning_where_there_is_a_solution(engine, caplog):
    with caplog.at_level(logging.WARNING, logger="dmg"):
        run(Decay, engine, [1.0], torch.ones(3, 1, 1), [0.0])
    assert not caplog.records


@on_both_engines
def test_forcing_that_is_no_number_is_not_hidden(engine):
    forcing = torch.ones(3, 2, 1)
    forcing[1, 0] = float("nan")
    series, _ = run(Decay, engine, [1.0, 1.0], forcing, [0.0, 0.0], ["streamflow", "unconverged"])
    assert series["streamflow"].isnan().tolist() == [[False, False], [True, False], [True, False]]
    assert series["unconverged"].tolist() == [[0.0, 0.0], [1.0, 0.0], [1.0, 0.0]]


@on_both_engines
def test_second_derivatives_are_refused(engine):
    model = Decay({"engine": engine})
    forcing = torch.ones(2, 1, 1, dtype=torch.float64)
    static = torch.zeros(1, 1, dtype=torch.float64, requires_grad=True)
    run_ = simulate(model, forcing, RawParameters(forcing[..., :0], static))
    (gradient,) = torch.autograd.grad((run_.fluxes["streamflow"] ** 2).sum(), static, create_graph=True)
    with pytest.raises(StepError, match="has no second derivatives"):
        gradient.backward()


def test_states_kept_at_intervals_give_the_same_gradient(monkeypatch):
    """A run too long to keep every state solves again what it needs."""
    from dataclasses import replace

    from dmg.engine import fused

    found = []
    for kept_bytes in (2**20, 200):
        backend = replace(fused.backend_for("cpu"), kept_bytes=kept_bytes)
        monkeypatch.setattr(fused, "backend_for", lambda kind, backend=backend: backend)
        model = Layers({"engine": "fused", "nmul": 3, "dynamic_params": {"Layers": ["bend"]}}).double()
        generator = torch.Generator().manual_seed(0)
        forcing = 10.0 * torch.rand(17, 5, 2, generator=generator, dtype=torch.float64)
        dynamic, static = (
            torch.randn(s, generator=generator, dtype=torch.float64).requires_grad_() for s in ((17, 5, 3), (5, 3))
        )
        series, _ = model.run(forcing, RawParameters(dynamic, static), outputs=["streamflow", "layers"])
        loss = (series["streamflow"] + 0.1 * series["layers"] ** 2).sum()
        found.append(torch.autograd.grad(loss, (dynamic, static, *model.parameters())))
    for a, b in zip(*found, strict=True):
        assert torch.equal(a, b)


def test_step_and_tendency_are_one_too_many():
    with pytest.raises(StepError, match="Both has a step and a tendency"):

        class Both(Decay):
            def step(self, s, x, p, dt):
                return {}, {}


def test_tendency_that_forgets_a_rate():
    class Forgets(Decay):
        fluxes = (Flux("streamflow"),)

        def tendency(self, s, x, p):
            return {}, {"streamflow": s.storage}

    with pytest.raises(StepError, match="returns no rate of the state 'storage'"):
        run(Forgets, "auto", [1.0], torch.ones(1, 1, 1), [0.0])


def test_model_without_states_needs_no_solution():
    class Empty(Decay):
        states = ()

    with pytest.raises(StepError, match="Empty has a tendency and no state"):
        Empty()
