"""Ensembles by dropout, conformal promises that are kept, and reliability that tells too narrow from too wide."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from small_run import no_plots, small_config, small_store  # noqa: F401

import dmg
from dmg.core.post.plot_reliability import plot_reliability
from dmg.errors import DataError, RunError
from dmg.trainers import Trainer
from dmg.uncertainty import (
    Conformal,
    coverage,
    dropout_ensemble,
    ensemble_interval,
    probability_integral_transform,
    relative_width,
    reliability,
)


def train_small(folder, **changes):
    """Return a run that was trained for an epoch."""
    Trainer(small_config(folder, train__epochs=1, **changes)).train()
    return dmg.load_run(folder / "out")


@settings(max_examples=20, deadline=None)
@given(
    level=st.sampled_from([0.5, 0.8, 0.9]), shrink=st.floats(0.1, 3.0), relative=st.booleans(), seed=st.integers(0, 99)
)
def test_calibrated_intervals_hold_what_they_promise(level, shrink, relative, seed):
    rng = np.random.default_rng(seed)
    spread = rng.uniform(0.5, 2.0, (800, 4))
    observed = spread * rng.gamma(2.0, 1.0, (800, 4))
    lower, upper = 2 * spread - shrink * spread, 2 * spread + shrink * spread
    half = 400
    calibration = Conformal.calibrate(lower[:half], upper[:half], observed[:half], level, relative=relative)
    low, high = calibration.apply(lower[half:], upper[half:])
    # Two samples of 400: the standard error of their shares is 0.025 each at most, four sites are pooled.
    assert coverage(low, high, observed[half:]).mean() == pytest.approx(level, abs=0.06)
    assert (low >= 0).all()
    assert (low <= high).all()


def test_margin_is_the_quantile_for_finite_samples():
    observed = np.arange(1.0, 10.0)[:, None]
    lower = upper = np.zeros_like(observed)
    assert Conformal.calibrate(lower, upper, observed, 0.8, relative=False).margin == [8.0]
    assert Conformal.calibrate(lower, upper, observed, 0.95, relative=False).margin == [np.inf]
    observed[3] = np.nan
    assert Conformal.calibrate(lower, upper, observed, 0.5, relative=False).margin == [6.0]


def test_coverage_and_width_of_known_intervals():
    observed = np.array([[1.0], [2.0], [3.0], [np.nan], [10.0]])
    lower, upper = np.full((5, 1), 1.5), np.full((5, 1), 3.5)
    assert coverage(lower, upper, observed) == [0.5]
    assert np.isnan(coverage(lower, upper, np.full((5, 1), np.nan)))
    everything = relative_width(np.zeros((101, 1)), np.full((101, 1), 50.0), np.linspace(0, 100, 101)[:, None], 0.5)
    np.testing.assert_allclose(everything, [1.0])


@pytest.mark.parametrize("spread", [1.0, 0.4, 2.5])
def test_reliability_tells_too_narrow_from_too_wide(spread):
    rng = np.random.default_rng(0)
    mean = rng.normal(size=4000)
    observed, members = mean + rng.normal(size=4000), mean + spread * rng.normal(size=(40, 4000))
    found = reliability(members, observed)
    # 4000 observations: the standard error of a share is below 0.008.
    too_much = {1.0: lambda d: np.abs(d) < 0.03, 0.4: lambda d: d < 0, 2.5: lambda d: d > 0}[spread]
    assert too_much(found.found - found.levels).all()
    assert (found.error < 0.02) == (spread == 1.0)
    place = probability_integral_transform(members, observed)
    assert place.min() >= 0
    assert place.max() <= 1


def test_ties_are_spread_over_their_places():
    place = probability_integral_transform(np.zeros((9, 5000)), np.zeros(5000))
    counts, _ = np.histogram(place, bins=10, range=(0, 1))
    assert counts.min() > 400  # 500 each, standard deviation 21
    lower, upper = ensemble_interval(np.arange(11.0)[:, None], 0.8)
    np.testing.assert_allclose([lower, upper], [[1.0], [9.0]], rtol=1e-12)


def test_reliability_is_drawn(tmp_path):
    rng = np.random.default_rng(0)
    found = reliability(rng.normal(size=(20, 300)), rng.normal(size=300))
    place = probability_integral_transform(rng.normal(size=(20, 300)), rng.normal(size=300))
    figure = plot_reliability({"ours": (found.levels, found.found)}, {"ours": place}, save_path=tmp_path / "r.png")
    assert (tmp_path / "r.png").stat().st_size > 5000
    assert [axes.get_xlabel() for axes in figure.axes] == ["share promised", "place of the observation in the ensemble"]


@pytest.mark.parametrize("network", ["LstmModel", "GruModel", "MinGruModel"])
def test_members_differ_by_dropout_alone(tmp_path, network):
    run = train_small(tmp_path, model__nn__name=network, model__nn__dropout=0.5)
    data = small_store()
    plain = run.predict(data)["streamflow"].values
    state = torch.get_rng_state()
    found = dropout_ensemble(run, data, 3, seed=5)["streamflow"]
    assert found.dims == ("realization", "time", "site")
    assert not np.array_equal(found.values[0], found.values[1])
    np.testing.assert_array_equal(dropout_ensemble(run, data, 2, seed=6)["streamflow"].values, found.values[1:])
    np.testing.assert_array_equal(run.predict(data)["streamflow"].values, plain)
    assert torch.equal(torch.get_rng_state(), state)


def test_refusals_name_cause_and_remedy(tmp_path):
    run = train_small(tmp_path, model__nn__dropout=0.0)
    with pytest.raises(RunError, match="all members are the same: no network of this run drops anything"):
        dropout_ensemble(run, small_store(), 3)
    with pytest.raises(RunError, match="1 members are no ensemble"):
        dropout_ensemble(run, small_store(), 1)
    one = np.ones((3, 1))
    with pytest.raises(DataError, match=r"level is 90.*\n  hint: give a share"):
        Conformal.calibrate(one, one, one, 90)
    with pytest.raises(DataError, match="an interval has no width"):
        Conformal.calibrate(one, one, one, 0.9)
    with pytest.raises(DataError, match="the intervals are of 2 sites, the calibration of 1"):
        Conformal(0.9, np.zeros(1), False).apply(np.ones((3, 2)), np.ones((3, 2)))
    with pytest.raises(DataError, match=r"members \(2, 3, 1\) and observations \(4, 1\) differ"):
        probability_integral_transform(np.ones((2, 3, 1)), np.ones((4, 1)))
    with pytest.raises(DataError, match="there is no observation"):
        reliability(np.ones((2, 3)), np.full(3, np.nan))
