"""The budget of every process model closes, is reported by site, and says what is still in the river."""

import json

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from small_run import no_plots, small_config  # noqa: F401 (fixture)
from state_cases import coupled
from step_models import Routed, Stateless

import dmg
from dmg.cli import main
from dmg.engine import Budget, account
from dmg.errors import RunError, StepError
from dmg.registry import process_models
from dmg.testing import draw_case, step_models
from dmg.trainers import Trainer
from hydrodl2.models.hbv.hbv import Hbv
from hydrodl2.routing import GammaUnitHydrograph

# Rounding in float64 of a year of storages of hundreds of mm.
RESIDUAL = 1e-9


def with_ledger():
    return [name for name in step_models() if process_models.get(name).ledger is not None]


@pytest.mark.parametrize("engine", ["eager", "fused"])
@pytest.mark.parametrize("name", with_ledger())
def test_residual_of_every_model_is_rounding(name, engine):
    """Through the coupled model, network in float32 and all: the account is taken in float64."""
    model, data = coupled(f"{name}-{engine}-LstmModel")
    model.float()
    data = {key: value.float() for key, value in data.items()}
    with torch.no_grad():
        window = model.window(data, static="held")
        budget = model.budget(window)
        series, state = model.run_window(window)
    years = budget.steps * model.phy_model.dt / 365.25
    assert budget.steps == len(data["x_phy"]) - model.phy_model.warmup
    assert (budget.residual.abs() / years).max() <= RESIDUAL
    assert budget.residual.dtype == torch.float64
    ledger = model.phy_model.ledger
    assert set(budget.inflow) | set(budget.declared) == set(ledger.sources)
    assert set(budget.outflow) == set(ledger.sinks)
    assert set(budget.storage) == set(ledger.stores)
    for flux, left in budget.routed.items():
        expected = series[flux][..., 0].double().sum(0) * model.phy_model.dt
        torch.testing.assert_close(left, expected, rtol=1e-4, atol=1e-4)
        assert (budget.in_river[flux] > 0).all()
        assert state.process.routing[flux].shape[0] == model.phy_model.router.length - 1
    assert (budget.unrouted.abs() / years).max() <= RESIDUAL


def test_long_records_are_accounted_in_parts(monkeypatch):
    case = draw_case(Hbv, steps=50)
    whole = account(case.model, case.forcing, case.raw, case.state)
    monkeypatch.setattr("dmg.engine.budget.CHUNK", 7)
    parts = account(case.model, case.forcing, case.raw, case.state)
    for group in ("inflow", "declared", "outflow", "storage", "routed", "river", "in_river"):
        for name, values in getattr(whole, group).items():
            torch.testing.assert_close(getattr(parts, group)[name], values, rtol=1e-12, atol=1e-12)


def test_what_is_not_declared_is_the_residual():
    class Leaky(Routed):
        """Loses a hundredth of its store, and says nothing of it."""

        def step(self, s, x, p, dt):
            stores, fluxes = super().step(s, x, p, dt)
            return {"storage": 0.99 * stores["storage"]}, fluxes

    case = draw_case(Leaky, steps=30, sites=2)
    series, _ = case.model.run(case.forcing, case.raw, case.state, outputs=["storage"])
    lost = (series["storage"] / 0.99 * 0.01).sum(0)
    torch.testing.assert_close(account(case.model, case.forcing, case.raw, case.state).residual, lost)


@given(a=st.floats(0, 2.9), b=st.floats(0, 6.5), steps=st.integers(1, 40))
@settings(deadline=None, max_examples=30)
def test_what_entered_the_river_left_it_or_is_in_it(a, b, steps):
    router = GammaUnitHydrograph()
    parameters = {"route_a": torch.tensor([a], dtype=torch.float64), "route_b": torch.tensor([b], dtype=torch.float64)}
    kernel = router.kernel(parameters, router.length)
    series = torch.rand(steps, 1, dtype=torch.float64)
    history = torch.cat([torch.zeros(router.length - 1, 1, dtype=torch.float64), series])[-(router.length - 1) :]
    left = router.route(series, kernel).sum(0)
    torch.testing.assert_close(series.sum(0), left + router.content(history, kernel), rtol=1e-12, atol=1e-12)
    later = router.route(torch.zeros(router.length, 1, dtype=torch.float64), kernel, history).sum(0)
    torch.testing.assert_close(later, router.content(history, kernel), rtol=1e-12, atol=1e-12)


def test_a_model_without_a_ledger_is_refused():
    case = draw_case(Stateless)
    with pytest.raises(StepError, match="Stateless declares no ledger"):
        account(case.model, case.forcing, case.raw, case.state)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Return the folder of a run, trained and evaluated."""
    folder = tmp_path_factory.mktemp("budget")
    trainer = Trainer(small_config(folder, train__epochs=1), verbose=True)
    trainer.train()
    trainer.evaluate()
    return folder / "out"


def test_the_files_of_a_run_have_its_budget(run):
    budget = json.loads((run / "metrics.json").read_text())["budget"]["Hbv"]
    assert budget["unit"] == "mm per year"
    assert budget["years"] == pytest.approx(95 / 365.25)
    assert np.abs(budget["residual"]).max() <= RESIDUAL
    assert budget["greatest_residual"]["site"] in budget["sites"]
    record = json.loads((run / "run.json").read_text())["budget"]["Hbv"]
    assert record["greatest_residual"] == budget["greatest_residual"]["value"]


def test_the_report_of_a_run_shows_the_greatest_residual(tmp_path, capsys):
    trainer = Trainer(small_config(tmp_path, train__epochs=1), write_out=False, verbose=True)
    trainer.model.epoch = 1
    trainer.evaluate()
    assert "budget of Hbv: greatest residual" in capsys.readouterr().out


def test_command_prints_the_budget_of_every_site(run, capsys):
    assert main(["budget", str(run)]) == 0
    text = capsys.readouterr().out
    head, columns, *rows = text.splitlines()
    assert "2000-11-01 to 2001-02-03 (0.26 years), mm per year, before routing" in head
    for name in ("+ prcp", "+ floor", "- AET_hydro", "- streamflow", "= SM", "residual", "streamflow routed"):
        assert name in columns
    assert "in the river (mm)" in columns
    assert [row.split()[0] for row in rows] == ["s0", "s1", "s2", "s3", "s4", "mean", "budget"]


def test_command_gives_json_that_adds_up(run, capsys):
    assert main(["budget", str(run), "--json"]) == 0
    budget = json.loads(capsys.readouterr().out)["Hbv"]

    def total(kind):
        return sum(np.array(values) for values in budget[kind].values())

    residual = total("inflow") + total("declared") - total("outflow") - total("storage")
    np.testing.assert_allclose(residual, budget["residual"], atol=1e-9)
    assert np.abs(residual).max() <= RESIDUAL
    routed, river, flow = (np.array(budget[k]["streamflow"]) for k in ("routed", "river", "outflow"))
    np.testing.assert_allclose(routed + river, flow, atol=1e-9)


def test_command_takes_other_data(run, capsys):
    assert main(["budget", str(run), "--data", str(run.parent / "store.nc"), "--static", "last"]) == 0
    assert "2000-01-11 to 2001-02-03" in capsys.readouterr().out


def test_a_network_alone_has_no_budget(tmp_path, capsys):
    Trainer(small_config(tmp_path, train__epochs=1, model__phy=None)).train()
    with pytest.raises(RunError, match="no model of this run declares a ledger: LstmModel"):
        dmg.load_run(tmp_path / "out").budget()
    assert main(["budget", str(tmp_path / "out")]) == 1
    assert "declares a ledger" in capsys.readouterr().err
    assert main(["budget", str(tmp_path / "none")]) == 1
    assert "there is no run in this directory" in capsys.readouterr().err


def test_budgets_of_batches_are_joined_in_order():
    case = draw_case(Hbv, sites=4)
    whole = account(case.model, case.forcing, case.raw)
    assert Budget.join([whole, whole]).residual.shape == (8,)
