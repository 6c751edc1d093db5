"""Distributions that a network tells: quantiles never cross, known ones are found again, runs report and score them."""

from statistics import NormalDist

import numpy as np
import pytest
import torch
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from small_run import no_plots, plots, small_config, small_store  # noqa: F401

import dmg
from dmg.conf.config import as_config
from dmg.core.calc.crps import crps
from dmg.core.calc.quantiles import central_intervals
from dmg.errors import ConfigError, DataError, RunError
from dmg.models.criterion import NormalNllLoss, PinballLoss, load_criterion
from dmg.models.heads import NormalHead, PointHead, QuantileHead, make_head
from dmg.registry import heads
from dmg.trainers import Trainer
from dmg.uncertainty import coverage, dropout_ensemble, quantile_crps, quantile_reliability, reliability, run_ensemble

LEVELS = (0.05, 0.25, 0.5, 0.75, 0.95)
HEADS = {"quantiles": "PinballLoss", "normal": "NormalNllLoss"}


def test_the_list_is_complete():
    assert set(heads.names()) >= set(HEADS)


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.floats(0.001, 0.499), max_size=4, unique=True),
    st.lists(st.floats(0.501, 0.999), min_size=1, max_size=4, unique=True),
    st.integers(0, 2**31),
    st.sampled_from([1.0, 30.0, 1000.0]),
)
def test_quantiles_never_cross_whatever_the_network_says(below, above, seed, size):
    head = QuantileHead([*sorted(below), 0.5, *sorted(above)])
    raw = size * torch.randn(4, 3, head.width, generator=torch.Generator().manual_seed(seed))
    told = head.series("q", raw)
    found = torch.cat([told[name] for name in head.reported("q")], -1)
    assert (found.diff(dim=-1) >= 0).all()
    assert torch.equal(told["q"], raw[..., len(below) : len(below) + 1])  # the median
    draws = head.draw(head.parameters(raw))
    assert ((draws >= found[..., :1]) & (draws <= found[..., -1:])).all()


@pytest.mark.parametrize("head", [QuantileHead(LEVELS), NormalHead(LEVELS)], ids=lambda head: head.kind)
def test_a_network_that_says_nothing_tells_the_standard_normal_distribution(head):
    told = head.series("q", torch.zeros(2, 3, head.width, dtype=torch.float64))
    for name, level in zip(head.reported("q"), LEVELS, strict=True):
        assert told[name].shape == (2, 3, 1)
        torch.testing.assert_close(told[name], torch.full_like(told[name], NormalDist().inv_cdf(level)))


@pytest.mark.parametrize(("head", "rate"), [(QuantileHead(LEVELS), 0.05), (NormalHead(LEVELS), 0.05)])
def test_known_quantiles_of_noise_that_grows_are_found_again(head, rate):
    """Normal noise whose deviation grows with the input: a small network tells its quantiles."""
    torch.manual_seed(0)
    x = torch.rand(6000, 1, 1) * 2 - 1
    mean, deviation = torch.sin(2 * x), torch.exp(x)
    y = mean + deviation * torch.randn_like(x)
    network = torch.nn.Sequential(torch.nn.Linear(1, 16), torch.nn.Tanh(), torch.nn.Linear(16, head.width))
    loss_function = load_criterion(None, {"name": HEADS[head.kind]}, head=head)
    optimizer = torch.optim.Adam(network.parameters(), lr=rate)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 300)
    for _ in range(300):
        loss = loss_function(head.parameters(network(x)), y[..., 0])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        scheduler.step()
    with torch.no_grad():
        told = head.series("q", network(x))
        draws = head.draw(head.parameters(network(x)))
    within = x[:, 0, 0].abs() < 0.9
    for name, level in zip(head.reported("q"), LEVELS, strict=True):
        truth = mean + deviation * NormalDist().inv_cdf(level)
        # In deviations: 6000 observations tell an outer quantile to a tenth.
        error = ((told[name] - truth) / deviation)[within]
        assert error.abs().mean() < 0.12, name
    found = quantile_reliability(np.stack([told[n].numpy() for n in head.reported("q")]), LEVELS, y.numpy())
    np.testing.assert_allclose(found, LEVELS, atol=0.03)
    # A draw is below a quantile as often as its level says, but beyond the outermost, which bound the draws.
    share = [(draws < told[name]).double().mean().item() for name in head.reported("q")[1:-1]]
    np.testing.assert_allclose(share, LEVELS[1:-1], atol=0.03)


def test_losses_are_their_formulas():
    rng = np.random.default_rng(0)
    pred, obs = rng.normal(size=(5, 2, 3)), rng.normal(size=(5, 2))
    obs[1, 0] = np.nan
    levels = (0.1, 0.5, 0.9)
    error = obs[..., None] - pred
    pinball = np.nanmean(np.maximum(np.array(levels) * error, (np.array(levels) - 1) * error))
    found = PinballLoss(levels=levels)(torch.tensor(pred), torch.tensor(obs))
    assert found.item() == pytest.approx(pinball, rel=1e-12)

    mean, s = pred[..., 0], pred[..., 1]
    nll = np.nanmean((obs - mean) ** 2 * np.exp(-s) / 2 + s / 2)
    assert NormalNllLoss()(torch.tensor(pred[..., :2]), obs).item() == pytest.approx(nll, rel=1e-12)
    prior = np.nanmean(((obs - mean) ** 2 + 2 / 50) * np.exp(-s) / 2 + (0.5 + 3 / 50) * s)
    loss = NormalNllLoss({"c1": 3.0, "c2": 2.0, "n": 50.0})
    assert loss(torch.tensor(pred[..., :2]), obs).item() == pytest.approx(prior, rel=1e-12)

    nothing = torch.tensor(pred, requires_grad=True)
    value = PinballLoss(levels=levels)(nothing, torch.full((5, 2), torch.nan))
    value.backward()
    assert value == 0
    assert (nothing.grad == 0).all()
    with pytest.raises(DataError, match=r"parameters \(5, 2, 3\) do not fit observations \(5, 2\)\n  hint: .* 2\]"):
        loss(torch.tensor(pred), obs)


def test_crps_of_quantiles_is_that_of_the_distribution():
    rng = np.random.default_rng(0)
    y = rng.normal(size=200)
    levels = np.arange(0.005, 1.0, 0.01)
    quantiles = np.broadcast_to([[NormalDist().inv_cdf(level)] for level in levels], (100, 200))
    z = torch.distributions.Normal(0.0, 1.0)
    t = torch.tensor(y)
    exact = t * (2 * z.cdf(t) - 1) + 2 * z.log_prob(t).exp() - np.pi**-0.5
    np.testing.assert_allclose(quantile_crps(quantiles, levels, y), exact, atol=2e-3)
    # As members of an ensemble equally spaced quantiles mean the same.
    np.testing.assert_allclose(quantile_crps(quantiles, levels, y), crps(quantiles, y), atol=1e-3)
    np.testing.assert_allclose(quantile_crps(quantiles[50:51], [0.5], y), np.abs(y - quantiles[50]), rtol=1e-12)
    assert np.isnan(quantile_crps(quantiles[:1], [0.5], np.full(200, np.nan))).all()
    assert central_intervals((0.05, 0.25, 0.5, 0.75, 0.9)) == {0.5: (1, 3)}


def of_network(folder, **changes):
    """Return the configuration of a network alone that tells a distribution."""
    given = {"model__phy": None, "model__flow_regime": "high", "model__outputs": [], "train__epochs": 2}
    return small_config(folder, **given | changes)


@pytest.mark.parametrize("network", ["LstmModel", "GruModel", "MinGruModel"])
@pytest.mark.parametrize("head", list(HEADS))
def test_a_run_tells_scores_and_predicts_quantiles(tmp_path, network, head):
    block = {"name": head, "levels": list(LEVELS)}
    config = of_network(tmp_path, model__head=block, model__nn__name=network, train__loss_function=HEADS[head])
    trainer = Trainer(config)
    trainer.train()
    assert trainer.training.losses[2] < trainer.training.losses[1]
    summary = trainer.evaluate()
    names = [f"streamflow_q{level:g}" for level in LEVELS]
    scores = summary["held"]["streamflow"]["all"]
    assert 0 < scores["crps"]["median"] < scores["mae"]["median"]
    with xr.open_dataset(tmp_path / "out/simulation.nc") as written:
        told = np.stack([written[name].values for name in names])
        assert {written[name].attrs["units"] for name in names} == {"mm d-1"}
        observed = written["streamflow_obs"].values
        # float32 of the file
        inside = coverage(told[0], told[-1], observed)
        np.testing.assert_allclose(trainer.metrics["held"]["streamflow"]["coverage_0.9"], inside, atol=1e-6)
        if head == "quantiles":
            np.testing.assert_array_equal(written["streamflow"].values, told[2])
    assert (np.diff(told, axis=0) >= 0).all()

    run = dmg.load_run(tmp_path / "out")
    found = run.predict(small_store())
    assert set(found.data_vars) == {"streamflow", *names}
    assert run.predict(small_store(), outputs=[names[0]]).data_vars.keys() == {names[0]}
    drawn = dropout_ensemble(run, small_store(), 3, seed=5, noise=True, outputs=["streamflow"])
    np.testing.assert_array_equal(
        drawn["streamflow"][1:], dropout_ensemble(run, small_store(), 2, seed=6, noise=True)["streamflow"]
    )
    dropped = dropout_ensemble(run, small_store(), 3, seed=5)["streamflow"]
    assert float(drawn["streamflow"].std("realization").mean()) > float(dropped.std("realization").mean())


def test_a_simulation_that_streams_tells_quantiles(tmp_path):
    """As one in memory does; the warm-up is that of a network, which no process model names."""
    given = {"model__head": "quantiles", "train__loss_function": "PinballLoss"}
    Trainer(of_network(tmp_path, train__epochs=1, **given)).train()
    whole = Trainer(of_network(tmp_path, mode="sim", **given)).inference()
    streamed = {"sim__max_memory": 4.0, "sim_dir": str(tmp_path / "streamed")}
    chunks = Trainer(of_network(tmp_path, mode="sim", **given | streamed)).inference()
    assert set(whole) == set(chunks) == {"streamflow", *QuantileHead().reported("streamflow")}
    for name, values in whole.items():
        # The network is run over other numbers of sites at once.
        np.testing.assert_allclose(np.asarray(chunks[name]), values[..., 0], rtol=1e-4, atol=1e-5)


def test_draws_of_several_runs_are_one_ensemble(tmp_path):
    for seed in (0, 1):
        (tmp_path / str(seed)).mkdir()
        config = of_network(tmp_path / str(seed), seed=seed, model__head="normal", train__loss_function="NormalNllLoss")
        Trainer(config).train()
    runs = [dmg.load_run(tmp_path / str(seed) / "out") for seed in (0, 1)]
    state = torch.get_rng_state()
    members = run_ensemble(runs, small_store(), outputs=["streamflow"])["streamflow"]
    assert members.dims == ("realization", "time", "site")
    for run, member in zip(runs, members, strict=True):
        np.testing.assert_array_equal(run.predict(small_store())["streamflow"], member)
    drawn = run_ensemble(runs, small_store(), draws=3, outputs=["streamflow"])["streamflow"]
    assert drawn.sizes["realization"] == 6
    assert torch.equal(torch.get_rng_state(), state)
    observed = small_store()["streamflow"].sel(time=drawn.time).values
    assert reliability(drawn.values, observed).error < reliability(members.values, observed).error
    with pytest.raises(RunError, match="one member is no ensemble"):
        run_ensemble(runs[:1], small_store())


def test_reliability_is_drawn(tmp_path, plots):  # noqa: F811
    config = of_network(tmp_path, model__head="quantiles", train__loss_function="PinballLoss", train__epochs=1)
    trainer = Trainer(config)
    trainer.train()
    trainer.evaluate()
    assert "reliability.png" in plots()
    assert "crps" in (tmp_path / "out/report.html").read_text(encoding="utf-8")


def test_weights_of_another_head_are_refused(tmp_path):
    config = of_network(tmp_path, model__head="quantiles", train__loss_function="PinballLoss", train__epochs=1)
    Trainer(config).train()
    other = {"name": "quantiles", "levels": [0.1, 0.2, 0.3, 0.5, 0.7, 0.8, 0.9]}
    changed = of_network(tmp_path, model__head=other, train__loss_function="PinballLoss", mode="test")
    with pytest.raises(RunError, match=r"head: levels is 0.05.* in the file, 0.1.* in the model"):
        Trainer(changed).evaluate()


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        (
            {"train__loss_function": "PinballLoss"},
            "scores a distribution, and model.head names none\n  hint: set",
        ),
        ({"model__head": "quantiles"}, "RmseLoss does not train model.head: quantiles\n  hint: .*=PinballLoss"),
        (
            {"model__head": "normal", "train__loss_function": "PinballLoss"},
            "PinballLoss does not train model.head: normal\n  hint: set train.loss_function=NormalNllLoss",
        ),
        ({"model__head": "quantile"}, "unknown name 'quantile' among the heads\n  hint: did you mean 'quantiles'"),
        (
            {"model__head": {"name": "normal", "level": [0.5]}, "train__loss_function": "NormalNllLoss"},
            "unknown key 'model.head.level'\n  hint: did you mean 'levels'",
        ),
        (
            {
                "model__phy": {"name": "Hbv"},
                "model__flow_regime": None,
                "model__head": "normal",
                "train__loss_function": "NormalNllLoss",
            },
            "normal is what a network alone says of its targets; Hbv computes them",
        ),
    ],
)
def test_configurations_that_do_not_fit_are_refused(tmp_path, changes, text):
    with pytest.raises(ConfigError, match=text):
        as_config(of_network(tmp_path, **{"train__loss_function": "RmseLoss"} | changes))


def test_refusals_name_cause_and_remedy(tmp_path):
    with pytest.raises(ConfigError, match=r"are no levels of quantiles\n  where: model.head.levels\n  hint: give"):
        make_head({"name": "normal", "levels": [0.5, 0.1]})
    with pytest.raises(ConfigError, match="the median is the prediction"):
        make_head({"name": "quantiles", "levels": [0.1, 0.9]})
    assert isinstance(make_head(None), PointHead)
    Trainer(of_network(tmp_path, train__epochs=1, train__loss_function="RmseLoss")).train()
    with pytest.raises(RunError, match=r"nothing to draw from\n.*\n  hint: train a network alone"):
        dropout_ensemble(dmg.load_run(tmp_path / "out"), small_store(), 3, noise=True)
    with pytest.raises(DataError, match=r"quantiles \(2, 3\) do not fit 1 levels and observations \(3,\)"):
        quantile_crps(np.zeros((2, 3)), [0.5], np.zeros(3))
