import json
import time
from pathlib import Path

import numpy as np
import pytest

from dmg.core.data.dataset import attribute_names, check_dataset, series_names
from dmg.errors import DataError
from dmg.registry import samples
from hydrodl2.calc.identifiability import spearman_of_parameters
from hydrodl2.data.sample import generate_sample, simulate_truth
from hydrodl2.data.sample_attributes import seasonality
from hydrodl2.data.sample_landscape import Landscape
from hydrodl2.data.sample_weather import Weather, generate_weather
from hydrodl2.models.hbv.hbv import Hbv

FORCINGS = ("prcp", "tmean", "pet", "dayl", "srad", "vp")
DAYS = np.arange("1990-10-01", "2000-10-01", dtype="datetime64[D]")


@pytest.fixture(scope="module")
def climate():
    """Sixty sites over ten years: the land and its weather."""
    land = Landscape.draw(60, np.random.default_rng(3))
    return land, generate_weather(land, DAYS, np.random.default_rng(4))


def lag_one(series):
    series = series - series.mean(axis=0)
    return (series[1:] * series[:-1]).mean(axis=0) / series.var(axis=0)


def test_full_size_in_under_five_seconds():
    start = time.process_time()
    ds = generate_sample(seed=99)
    assert time.process_time() - start < 5.0
    assert dict(ds.sizes) == {"time": 7397, "site": 100}
    assert (str(ds.time.values[0])[:10], str(ds.time.values[-1])[:10]) == ("1988-10-01", "2008-12-31")


def test_it_is_a_canonical_dataset(sample):
    check_dataset(sample)
    assert set(series_names(sample)) == {*FORCINGS, "streamflow", "streamflow_true"}
    assert all(sample[name].dtype == np.float32 for name in sample.data_vars)
    units = {name: sample[name].attrs["units"] for name in FORCINGS}
    assert units == dict(zip(FORCINGS, ("mm d-1", "degC", "mm d-1", "s", "W m-2", "Pa"), strict=True))


def test_it_has_every_attribute_of_the_packaged_configurations(sample):
    import yaml

    import dmg.conf

    folder = Path(dmg.conf.__file__).parent / "observations"
    for name in ("sample", "camels_531"):
        content = yaml.safe_load((folder / f"{name}.yaml").read_text(encoding="utf-8"))
        assert set(content["all_attributes"]) <= set(attribute_names(sample))
        assert set(content["all_forcings"]) <= set(series_names(sample))


def test_it_is_found_by_name_and_depends_on_its_arguments_only():
    options = {"sites": 3, "start": "1990/10/01", "end": "1991/09/30"}
    one = samples.get("sample")(seed=5, **options)
    one["prcp"].values[:] = -1  # a caller's damage stays with the caller
    again = generate_sample(seed=5, **options)
    assert again["prcp"].min() >= 0
    assert again.identical(generate_sample(3, "1990-10-01", "1991-09-30", 5))
    assert not np.array_equal(again["prcp"], generate_sample(seed=6, **options)["prcp"])


def test_truth_is_hbv_with_the_true_parameters(sample):
    weather = Weather(**{name: sample[name].values.astype(np.float64) for name in FORCINGS})
    names = [*(p.name for p in Hbv.parameter_table), "route_a", "route_b"]
    parameters = {name: sample[f"true_{name}"].values.astype(np.float64) for name in names}
    flow = simulate_truth(weather, parameters)
    true = sample["streamflow_true"].values
    # The sample was spun up before its first day, this run was not: what is left of that is gone after two years.
    error = ((flow - true)[730:] ** 2).sum(axis=0) / ((true - true.mean(axis=0))[730:] ** 2).sum(axis=0)
    assert np.median(error) < 1e-3


def test_true_parameters_are_static_and_inside_the_bounds(sample):
    for p in (*Hbv.parameter_table, *Hbv.router_class.routing_parameters):
        values = sample[f"true_{p.name}"]
        assert values.dims == ("site",)
        assert ((values > p.low) & (values < p.high)).all(), p.name
        assert np.ptp(values.values) > 0.15 * (p.high - p.low), p.name


def test_observations_have_an_error_of_a_few_percent_and_gaps():
    ds = generate_sample(30, "1990-10-01", "1996-09-30", 1)
    observed, true = ds["streamflow"].values, ds["streamflow_true"].values
    missing = np.isnan(observed)
    assert 0.005 < missing.mean() < 0.08
    assert not missing.all(axis=0).any()
    runs = missing.sum() / (np.diff(missing.astype(int), axis=0) == 1).sum()
    assert runs > 10
    ratio = (observed / true)[~missing & (true > 1e-3)]
    assert 0.04 < np.log(ratio).std() < 0.06
    clean = generate_sample(30, "1990-10-01", "1996-09-30", 1, noise=0.0, gaps=False)
    assert np.array_equal(clean["streamflow"], clean["streamflow_true"])
    assert np.array_equal(clean["streamflow_true"], true)


def test_climates_are_snowy_arid_and_humid():
    ds = generate_sample(50, "1988-10-01", "1998-09-30", 2)
    assert (ds["frac_snow"] > 0.35).sum() >= 5
    assert (ds["frac_snow"] < 0.02).sum() >= 5
    assert (ds["aridity"] > 1.3).sum() >= 5
    assert (ds["aridity"] < 0.6).sum() >= 5
    assert ds["p_seasonality"].min() < -0.3
    assert ds["p_seasonality"].max() > 0.3
    runoff = ds["streamflow_true"].mean("time") / ds["p_mean"]
    assert ((runoff >= 0) & (runoff < 1)).all()


def test_climatic_attributes_are_those_of_the_series(sample):
    prcp = sample["prcp"].values.astype(np.float64)
    assert np.allclose(sample["p_mean"], prcp.mean(axis=0), rtol=1e-5)
    assert np.allclose(sample["aridity"], sample["pet_mean"] / sample["p_mean"], rtol=1e-5)
    snow = np.where(sample["tmean"].values < 0, prcp, 0).sum(axis=0) / prcp.sum(axis=0)
    assert np.allclose(sample["frac_snow"], snow, rtol=1e-3, atol=1e-4)
    per_year = (prcp < 1).mean(axis=0) * 365.25
    assert np.allclose(sample["low_prec_freq"], per_year, rtol=1e-2)


@pytest.mark.parametrize(("peak", "expected"), [(200, 0.5), (200 - 182.625, -0.5), (200 + 91.3, 0.0)])
def test_seasonality_is_the_relative_amplitude_with_the_sign_of_summer(peak, expected):
    doy = (DAYS - DAYS.astype("datetime64[Y]")).astype(int) + 1
    rain = 3 * (1 + 0.5 * np.cos(2 * np.pi * (doy - peak) / 365.25))[:, None]
    warmth = np.cos(2 * np.pi * (doy - 200) / 365.25)[:, None]
    assert seasonality(rain, warmth, DAYS)[0] == pytest.approx(expected, abs=0.02)


def test_weather_has_seasons_spells_and_storms(climate):
    land, weather = climate
    summer = np.isin(DAYS.astype("datetime64[M]").astype(int) % 12, (5, 6, 7))
    winter = np.isin(DAYS.astype("datetime64[M]").astype(int) % 12, (11, 0, 1))
    for series in (weather.tmean, weather.pet, weather.dayl, weather.srad):
        assert (series[summer].mean(axis=0) > series[winter].mean(axis=0)).all()
    wet = (weather.prcp > 0).astype(float)
    assert (lag_one(wet) > 0.15).all()
    assert (weather.prcp.max(axis=0) > 6 * weather.prcp.mean(axis=0)).all()
    anomaly = (
        weather.tmean - np.array([weather.tmean[m::365].mean(axis=0) for m in range(365)])[np.arange(len(DAYS)) % 365]
    )
    assert (lag_one(anomaly) > 0.5).all()
    assert (np.abs(weather.prcp.mean(axis=0) / (1.4 * 5.0**land.wetness) - 1) < 0.02).all()
    assert np.corrcoef(land.storminess, (weather.prcp > 0).mean(axis=0))[0, 1] < -0.5


def test_forcings_are_in_the_range_of_the_real_ones(climate):
    weather = climate[1]
    assert all(np.isfinite(series).all() for series in vars(weather).values())
    assert weather.prcp.min() == 0
    assert weather.pet.min() >= 0
    assert 1.0 < weather.pet.mean() < 4.5
    assert 8 * 3600 < weather.dayl.min() < weather.dayl.max() < 16.5 * 3600
    assert 50 < weather.srad.min() < weather.srad.max() < 700
    assert 10 < weather.vp.min() < weather.vp.max() < 5000


def test_empty_samples_are_refused():
    with pytest.raises(DataError, match=r"ends .* before it begins"):
        generate_sample(3, "1991-01-01", "1990-01-01")
    with pytest.raises(DataError, match="0 sites"):
        generate_sample(0)


def test_committed_list_of_identifiable_parameters_follows_its_criterion():
    path = Path(__file__).parents[1] / "benchmarks" / "results" / "identifiability.json"
    result = json.loads(path.read_text(encoding="utf-8"))
    assert len(result["identifiable"]) >= 5
    assert set(result["parameters"]) == {p.name for p in Hbv.parameter_table}
    noise = result["median_cost_of_observation_error"]
    for name, row in result["parameters"].items():
        assert (name in result["identifiable"]) == row["identifiable"] == (row["times_noise"] >= 2)
        assert row["times_noise"] == pytest.approx(row["median_cost"] / noise, rel=0.02, abs=0.02)


def test_spearman_is_that_of_scipy_with_ties_time_and_components_averaged():
    from scipy.stats import spearmanr

    rng = np.random.default_rng(0)
    true = np.round(rng.random(20), 1)
    learned = rng.random((7, 20, 3)) + true[None, :, None]
    mean = learned.mean(axis=(0, 2))
    got = spearman_of_parameters({"a": true, "b": true}, {"a": learned, "c": true})
    assert got == {"a": pytest.approx(spearmanr(true, mean).statistic)}
    held = np.arange(20) % 2 == 0
    assert spearman_of_parameters({"a": true}, {"a": learned}, held)["a"] == pytest.approx(
        spearmanr(true[held], mean[held]).statistic
    )
    assert np.isnan(spearman_of_parameters({"a": true}, {"a": np.ones(20)})["a"])


@pytest.mark.parametrize(
    ("learned", "message"),
    [({"b": [1, 2, 3]}, "no parameter"), ({"a": [1, 2]}, "true values of 3 sites, learned ones of 2")],
)
def test_spearman_of_what_does_not_fit_is_an_error(learned, message):
    with pytest.raises(DataError, match=message):
        spearman_of_parameters({"a": [1, 2, 3]}, learned)


def test_spearman_needs_three_sites():
    with pytest.raises(DataError, match="2 sites are too few"):
        spearman_of_parameters({"a": [1, 2, 3]}, {"a": [1, 2, 3]}, sites=[0, 1])
