"""Assimilation: exact gradients, independent sites, twins that are found again, hindcasts, and what is refused."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from state_cases import WARMUP, coupled

from dmg.assimilation import Controls, assimilate, cost_by_site, hindcast
from dmg.engine import ModelState
from dmg.errors import ConfigError, DataError, DmgError
from dmg.registry import process_models
from dmg.testing import step_models

MODELS = [name for name in step_models() if "streamflow" in {flux.name for flux in process_models.get(name).fluxes}]


def case(name="Hbv", engine="fused"):
    """Return a coupled model, the window behind its warm-up, and what it yields [T, B]."""
    model, data = coupled(f"{name}-{engine}-LstmModel")
    with torch.no_grad():
        window = model.window(data, static="held")
        series, _ = model.run_window(window, ["streamflow"])
    return model, data, window, series["streamflow"][..., 0]


def perturbed(window, size=0.3, seed=0):
    """Return the window with every store of every site 30 % too large or too small."""
    generator = torch.Generator().manual_seed(seed)

    def change(store):
        sign = torch.randint(0, 2, store.shape[:1], generator=generator, dtype=torch.float64) * 2 - 1
        return store * (1 + size * sign.view(-1, *[1] * (store.ndim - 1)))

    stores = {name: change(store) for name, store in window.start.stores.items()}
    return replace(window, start=ModelState(stores, window.start.routing))


def rmse(found, truth):
    """Return the root of the mean squared error."""
    return float((found - truth).square().mean().sqrt())


@pytest.mark.parametrize("adjustment", ["factor", "increment"])
@pytest.mark.parametrize("name", MODELS)
def test_gradient_of_the_cost_is_that_of_central_differences(name, adjustment):
    model, _, window, flow = case(name)
    controls = Controls(state_adjustment=adjustment, piece=3, forcings=(model.phy_model.variables[0],))
    generator = torch.Generator().manual_seed(1)
    unknowns = {
        key: 0.1 * torch.rand(u.shape, generator=generator, dtype=u.dtype)
        for key, u in controls.unknowns(model.phy_model, window).items()
    }
    direction = {key: torch.randn(u.shape, generator=generator, dtype=u.dtype) for key, u in unknowns.items()}

    def cost(step):
        moved = {key: (u + step * direction[key]).requires_grad_() for key, u in unknowns.items()}
        return moved, cost_by_site(model.phy_model, controls, moved, window, 1.2 * flow + 0.1, 0.3).sum()

    moved, value = cost(0.0)
    gradients = torch.autograd.grad(value, list(moved.values()))
    exact = sum(float((g * direction[key]).sum()) for key, g in zip(moved, gradients, strict=True))
    # Along a line through random points thresholds are crossed hardly ever; the step balances rounding and curvature.
    by_differences = float((cost(1e-6)[1] - cost(-1e-6)[1]).detach()) / 2e-6
    assert exact == pytest.approx(by_differences, rel=1e-5)


@pytest.mark.parametrize("name", ["Hbv", "HbvAdj", "Gr4j", "Hymod"])
def test_a_wrong_start_is_corrected_by_what_was_observed(name):
    model, _, window, truth = case(name)
    known = 24
    past, ahead = (slice(None, known), slice(known, known + 1))
    wrong = perturbed(window)
    with torch.no_grad():
        before = model.run_window(wrong, ["streamflow"])[0]["streamflow"][..., 0]
    window_now = replace(wrong, forcing=wrong.forcing[past], raw=wrong.raw.window(0, known))
    found = assimilate(
        model, window_now, truth[past], 0.01 * float(truth.mean()), controls=Controls(forcings=()), iterations=200
    )
    tomorrow = replace(
        window, forcing=window.forcing[ahead], raw=window.raw.window(known, known + 1), start=found.state.process
    )
    with torch.no_grad():
        after = model.run_window(tomorrow, ["streamflow"])[0]["streamflow"][..., 0]
    assert rmse(after, truth[ahead]) <= 0.5 * rmse(before[ahead], truth[ahead])
    assert bool((found.cost < found.cost_before).all())


def test_rain_that_was_underestimated_is_found():
    model, _, window, _ = case()
    rain = model.phy_model.variables.index("prcp")
    wetter = window.forcing.clone()
    wetter[..., rain] *= 1.5
    with torch.no_grad():
        truth = model.run_window(replace(window, forcing=wetter), ["streamflow"])[0]["streamflow"][..., 0]
    controls = Controls(states=(), forcings=("prcp",), forcing_error=0.5, piece=len(truth))
    found = assimilate(model, window, truth, 0.01 * float(truth.mean()), controls=controls, iterations=100)
    factor = (0.5 * found.unknowns["f:prcp"]).exp()
    torch.testing.assert_close(factor, torch.full_like(factor, 1.5), rtol=0.02, atol=0)
    dry = window.forcing[..., rain] == 0
    assert not found.window.forcing[..., rain][dry].any()
    assert torch.equal(found.window.forcing[..., 1:], window.forcing[..., 1:])


def test_a_site_finds_the_same_alone_as_among_others():
    model, _, window, truth = case()
    observed, wrong = truth.clone(), perturbed(window)
    observed[5:9, 1] = torch.nan
    together = assimilate(model, wrong, observed, 0.1, iterations=15, patience=99)
    alone = replace(
        wrong,
        forcing=wrong.forcing[:, 1:2],
        raw=replace(wrong.raw, dynamic=wrong.raw.dynamic[:, 1:2], static=wrong.raw.static[1:2]),
        attributes={name: values[1:2] for name, values in wrong.attributes.items()},
        start=ModelState(
            {name: store[1:2] for name, store in wrong.start.stores.items()},
            {name: rows[:, 1:2] for name, rows in wrong.start.routing.items()},
        ),
    )
    found = assimilate(model, alone, observed[:, 1:2], 0.1, iterations=15, patience=99)
    assert torch.equal(found.series[:, 0], together.series[:, 1])
    assert torch.equal(found.cost[0], together.cost[1])


def test_without_observations_nothing_changes():
    model, _, window, flow = case()
    found = assimilate(model, window, torch.full_like(flow, torch.nan), 0.1)
    assert torch.equal(found.series, flow)
    assert not any(bool(u.any()) for u in found.unknowns.values())


@pytest.mark.parametrize("batch", [1, 6, 100])
def test_hindcasts_without_a_step_of_the_optimizer_are_the_open_loop(batch):
    model, data, _, flow = case()
    error = torch.full_like(flow, 0.1)
    found = hindcast(model, data, flow, error, [12, 20, 16], length=10, leads=4, iterations=0, batch=batch)
    assert found.issues.tolist() == [12, 16, 20]
    np.testing.assert_allclose(found.open_loop[1], flow[16:20], rtol=1e-12)
    # Windows continue runs from states; only the order of sums in the river differs.
    np.testing.assert_allclose(found.forecast, found.open_loop, rtol=1e-12)


def test_hindcasts_gain_where_the_model_is_wrong():
    model, data, window, flow = case()
    with torch.no_grad():
        truth = model.run_window(perturbed(window), ["streamflow"])[0]["streamflow"][..., 0]
    error = torch.full_like(flow, 0.02 * float(flow.mean()))
    found = hindcast(model, data, truth, error, range(10, 30, 2), length=10, leads=3, iterations=60)
    assert found.forecast.shape == (10, 3, flow.shape[1])
    nse, before = (found.nse(values)[0] for values in (found.forecast, found.open_loop))
    assert (nse > before).all()
    assert (found.cost <= found.cost_before).all()


def test_a_model_says_what_is_observed_and_what_enters_it():
    model, _, window, flow = case()
    said = Controls(forcings=("prcp",))
    left_out, named = (
        assimilate(model, window, 1.1 * flow, 0.1, target=target, controls=controls, iterations=5)
        for target, controls in ((None, None), ("streamflow", said))
    )
    torch.testing.assert_close(left_out.series, named.series, rtol=0, atol=0)
    assert left_out.unknowns.keys() == named.unknowns.keys()


def test_part_of_a_window_goes_on_from_a_state():
    model, _, window, flow = case()
    with torch.no_grad():
        first, state = model.run_window(window.part(0, 10))
        second, _ = model.run_window(window.part(10, start=state.process))
    joined = torch.cat([first["streamflow"], second["streamflow"]])[..., 0]
    torch.testing.assert_close(joined, flow, rtol=1e-12, atol=1e-12)


def test_refusals_name_cause_and_remedy():
    model, data, window, flow = case()
    with pytest.raises(ConfigError, match=r"'SNOWPAK' is no store of the model\n  hint: did you mean 'SNOWPACK'"):
        assimilate(model, window, flow, 0.1, controls=Controls(states=("SNOWPAK",)))
    with pytest.raises(ConfigError, match="'rain' is no forcing of the model"):
        assimilate(model, window, flow, 0.1, controls=Controls(forcings=("rain",)))
    with pytest.raises(ConfigError, match="there is nothing to adjust"):
        assimilate(model, window, flow, 0.1, controls=Controls(states=(), forcings=()))
    with pytest.raises(DataError, match=r"observations have shape \(3, 3\), the window \(34, 3\)"):
        assimilate(model, window, flow[:3], 0.1)
    with pytest.raises(DataError, match="an observation error is not positive"):
        assimilate(model, window, flow, torch.zeros_like(flow))
    with pytest.raises(DataError, match=r"no window of 10 \+ 5 steps .*\n  hint: issue from step 10 to 29"):
        hindcast(model, data, flow, flow, [31], length=10, leads=5)
    with pytest.raises(DmgError, match="joined by a river network"):
        assimilate(model, replace(window, downstream=object()), flow, 0.1)
    for wrong in ({"state_adjustment": "scale"}, {"state_error": 0.0}, {"piece": 0}):
        with pytest.raises(ConfigError, match="hint: "):
            Controls(**wrong)


def test_the_model_is_left_as_it_was():
    model, _, window, flow = case()
    model.train()
    assimilate(model, window, flow, 0.1, iterations=3)
    assert model.training
    assert all(parameter.grad is None for parameter in model.parameters())
    assert model.phy_model.warmup == WARMUP
