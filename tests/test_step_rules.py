"""What a step may not do is refused on every engine, with line and remedy; what no kernel can do runs eagerly."""

import logging

import numpy as np
import pytest
import torch
from step_models import OneStore

from dmg.engine import Flux, Forcing, Parameter, ProcessModel, RawParameters, State, simulate
from dmg.errors import StepError
from dmg.testing import ENGINES, draw_case


def run(step, engine, dtype=torch.float32):
    """Run a step in the place of that of `OneStore`; it gets what that returns."""

    class Changed(OneStore):
        def step(self, s, x, p, dt):
            stores, fluxes = super().step(s, x, p, dt)
            return step(s, x, p, stores, fluxes)

    case = draw_case(Changed, dtype=dtype, engine=engine)
    return case.model.run(case.forcing, case.raw, case.state)[0]["streamflow"]


def stored(change):
    """Return a step that changes the store."""
    return lambda s, x, p, stores, fluxes: ({"storage": change(stores["storage"], s, x, p)}, fluxes)


def branching(s, x, p, stores, fluxes):
    if x.prcp.sum() > 0:
        return stores, fluxes
    return stores, fluxes


NUMBERS = {
    "if": branching,
    "item": stored(lambda v, s, x, p: v * x.prcp[0, 0].item()),
    "float": stored(lambda v, s, x, p: v * float(p.k[0, 0])),
    "int": stored(lambda v, s, x, p: v * int(s.storage[0, 0])),
    "tolist": stored(lambda v, s, x, p: v * s.storage.tolist()[0][0]),
    "numpy": stored(lambda v, s, x, p: v * np.tanh(s.storage.detach().numpy()).mean()),
}
RANDOM = {
    "rand": stored(lambda v, s, x, p: v * torch.rand(1)),
    "normal_": stored(lambda v, s, x, p: v + torch.empty_like(v).normal_()),
    "dropout": stored(lambda v, s, x, p: torch.nn.functional.dropout(v)),
    "bernoulli": stored(lambda v, s, x, p: v * torch.bernoulli(torch.full_like(v, 0.5))),
}
MIXED = {
    "mean over sites": ("sites", stored(lambda v, s, x, p: v + x.prcp.mean(0))),
    "sum of everything": ("sites", stored(lambda v, s, x, p: v / v.sum())),
    "first site": ("sites", stored(lambda v, s, x, p: v + x.prcp[0])),
    "sites turned": ("sites", stored(lambda v, s, x, p: v + torch.flip(p.k, (0,)))),
    "mean over components": ("components", stored(lambda v, s, x, p: v + v.mean(-1, keepdim=True))),
    "matrix product": ("components", stored(lambda v, s, x, p: v @ torch.ones(v.shape[1], v.shape[1]))),
}


@pytest.mark.parametrize("engine", [*ENGINES, "auto"])
@pytest.mark.parametrize("name", NUMBERS)
def test_a_tensor_is_no_number(name, engine):
    with pytest.raises(StepError, match=r"Python number or truth value(.|\n)*test_step_rules.py:\d+(.|\n)*torch.where"):
        run(NUMBERS[name], engine)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("name", RANDOM)
def test_a_step_draws_nothing(name, engine):
    with pytest.raises(StepError, match=r"random numbers(.|\n)*test_step_rules.py:\d+(.|\n)*as a forcing"):
        run(RANDOM[name], engine)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("name", MIXED)
def test_every_element_is_alone(name, engine):
    what, step = MIXED[name]
    with pytest.raises(
        StepError, match=rf"mixes {what}: 'storage' of one(.|\n)*test_step_rules.py:\d+(.|\n)*in a step"
    ):
        run(step, engine)


@pytest.mark.parametrize("engine", ENGINES)
def test_every_element_is_treated_alike(engine):
    step = stored(lambda v, s, x, p: v * torch.arange(1.0, v.shape[0] + 1)[:, None])
    with pytest.raises(StepError, match="in one way for one site or component"):
        run(step, engine)


@pytest.mark.parametrize("engine", ENGINES)
def test_one_real_dtype(engine):
    with pytest.raises(StepError, match=r"mixes float32 with float64(.|\n)*test_step_rules.py:\d+(.|\n)*dtype"):
        run(stored(lambda v, s, x, p: v.double()), engine)
    with pytest.raises(StepError, match="mixes float64 with float32"):
        run(stored(lambda v, s, x, p: v.float()), engine, torch.float64)


@pytest.mark.parametrize("engine", ENGINES)
def test_weights_have_the_dtype_of_the_forcing(engine):
    class Weighted(OneStore):
        def __init__(self, config=None, device=None):
            super().__init__(config, device)
            self.factor = torch.nn.Parameter(torch.ones(()))

    model = Weighted({"engine": engine})
    with pytest.raises(StepError, match=r"weight 'factor'(.|\n)*float32(.|\n)*model.to\(torch.float64\)"):
        model({"x_phy": torch.ones(3, 2, 1, dtype=torch.float64)}, torch.zeros(3, 2, 1, dtype=torch.float64))


@pytest.mark.parametrize("name", ["erf", "sort", "int"])
def test_unknown_operations_run_eagerly_with_one_warning(name, caplog):
    steps = {
        "erf": stored(lambda v, s, x, p: v * torch.erf(x.prcp)),
        "sort": stored(lambda v, s, x, p: torch.stack([v, s.storage]).sort(0)[0][0]),
        "int": stored(lambda v, s, x, p: v + (x.prcp > 3).int()),
    }
    expected = run(steps[name], "eager")
    with caplog.at_level(logging.WARNING, "dmg.engine.simulate"):
        simulate_module_warn_once_reset()
        torch.testing.assert_close(run(steps[name], "auto"), expected, rtol=0, atol=0)
        run(steps[name], "auto")
    assert len(caplog.messages) == 1
    assert "eager" in caplog.messages[0]
    assert "test_step_rules.py" in caplog.messages[0]
    with pytest.raises(StepError, match=r"cannot run fused(.|\n)*test_step_rules.py:\d+"):
        run(steps[name], "fused")


def simulate_module_warn_once_reset():
    """Forget which warnings were given."""
    from dmg.engine.simulate import _warn_once

    _warn_once.cache_clear()


def test_an_operation_on_entries_falls_back_too():
    """A running sum has no rule."""
    step = stored(lambda v, s, x, p: 0.1 * torch.cumsum(torch.stack([v, s.storage]), 0)[1])
    with pytest.raises(StepError, match="cannot run fused"):
        run(step, "fused")
    torch.testing.assert_close(run(step, "auto"), run(step, "eager"))


def test_a_step_for_a_fixed_number_of_sites_runs_eagerly():
    step = stored(lambda v, s, x, p: v * torch.ones(3, 1))
    torch.testing.assert_close(run(step, "auto"), run(step, "eager"))
    with pytest.raises(StepError, match=r"fails on four elements(.|\n)*test_step_rules.py"):
        run(step, "fused")


class Careless(ProcessModel):
    """Writes into whatever it is given."""

    forcings = (Forcing("prcp", high=20.0),)
    parameters = (Parameter("k", 1.0, 50.0),)
    states = (State("storage", initial=1.0), State("days", size=3))
    fluxes = (Flux("streamflow"),)

    def step(self, s, x, p, dt):
        """One step."""
        s.storage.add_(x.prcp)
        p.k.mul_(1.1)
        s.days[..., 1:] = s.days[..., :-1].clone()
        s.days[..., 0] = s.storage
        x.prcp.zero_()
        out = s.storage / (p.k + dt)
        return {"storage": s.storage - out, "days": s.days}, {"streamflow": out + s.days.sum(-1) * 0.01 + x.prcp}


def test_writes_in_place_stay_in_the_step():
    case = draw_case(Careless)
    before = [v.clone() for v in (case.forcing, case.raw.static, case.raw.dynamic, *case.state.stores.values())]
    runs = []
    for engine in ENGINES:
        inputs = [v.clone().requires_grad_() for v in (case.forcing, case.raw.dynamic, *case.state.stores.values())]
        stores = dict(zip(case.state.stores, inputs[2:], strict=True))
        found = simulate(case.model, inputs[0], RawParameters(inputs[1], case.raw.static), stores, engine=engine)
        gradients = torch.autograd.grad(found.fluxes["streamflow"].sum() + found.stores["days"].sum(), inputs)
        runs.append([*found.fluxes.values(), *found.stores.values(), *gradients])
    for eager, fused in zip(*runs, strict=True):
        torch.testing.assert_close(fused, eager, rtol=1e-12, atol=1e-12)
    after = (case.forcing, case.raw.static, case.raw.dynamic, *case.state.stores.values())
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))


@pytest.mark.parametrize("engine", ENGINES)
def test_names_of_what_a_step_returns_are_checked(engine):
    with pytest.raises(StepError, match="no state 'storage'"):
        run(lambda s, x, p, stores, fluxes: ({}, fluxes), engine)
    with pytest.raises(StepError, match=r"'streamflw'|no flux 'streamflow'"):
        run(lambda s, x, p, stores, fluxes: (stores, {"streamflw": fluxes["streamflow"]}), engine)


def test_a_state_starts_from_a_parameter_that_exists():
    class Wrong(OneStore):
        states = (State("storage", initial="kk"),)

    with pytest.raises(StepError, match=r"no parameter 'kk'(.|\n)*did you mean 'k'"):
        Wrong()


def test_missing_stores_are_named():
    case = draw_case(Careless)
    with pytest.raises(StepError, match="initial stores have no 'days'"):
        simulate(case.model, case.forcing, case.raw, {"storage": case.state.stores["storage"]})
