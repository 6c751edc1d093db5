"""The hourly sample: hours that add up to the days, and a truth that hourly HBV 2.0 makes."""

import numpy as np
import pytest

from dmg.core.data.dataset import check_dataset
from dmg.registry import samples
from hydrodl2.data.sample_hours import to_hours
from hydrodl2.data.sample_landscape import Landscape
from hydrodl2.data.sample_weather import generate_weather
from hydrodl2.models.hbv import Hbv_2_hourly

OPTIONS = {"sites": 4, "start": "2000-10-01", "end": "2000-12-31"}


@pytest.fixture(scope="module")
def sample():
    return samples.get("sample_hourly")(**OPTIONS)


def test_it_is_a_canonical_hourly_dataset(sample):
    check_dataset(sample)
    assert np.unique(np.diff(sample["time"].values)) == np.timedelta64(1, "h")
    assert sample.sizes == {"time": 92 * 24, "site": 4}
    units = {name: sample[name].attrs["units"] for name in ("prcp", "tmean", "pet", "streamflow")}
    assert units == {"prcp": "mm h-1", "tmean": "degC", "pet": "mm h-1", "streamflow": "mm h-1"}
    assert samples.get("sample_hourly")(**OPTIONS).identical(sample)
    assert not np.array_equal(samples.get("sample_hourly")(**OPTIONS, seed=1)["prcp"], sample["prcp"])


def test_hours_add_up_to_days():
    land = Landscape.draw(6, np.random.default_rng(0))
    days = np.arange("2001-01-01", "2002-01-01", dtype="datetime64[D]")
    weather = generate_weather(land, days, np.random.default_rng(1))
    hours = to_hours(weather, land, np.random.default_rng(2))

    def by_day(series):
        return series.reshape(len(days), 24, 6)

    np.testing.assert_allclose(by_day(hours.prcp).sum(1), weather.prcp, atol=1e-10)
    np.testing.assert_allclose(by_day(hours.pet).sum(1), weather.pet, atol=1e-10)
    np.testing.assert_allclose(by_day(hours.tmean).mean(1), weather.tmean, atol=1e-10)
    assert hours.prcp.min() >= 0
    assert (by_day(hours.pet)[:, 0] == 0).all()
    assert (by_day(hours.tmean)[:, 15] > by_day(hours.tmean)[:, 3]).all()
    wet = (by_day(hours.prcp) > 0).sum(1)[weather.prcp > 0]
    assert 2 < wet.mean() < 20


def test_rivers_answer_within_hours(sample):
    true, rain = sample["streamflow_true"].values, sample["prcp"].values
    assert (true >= 0).all()
    assert np.isfinite(true).all()
    change = np.abs(np.diff(true, axis=0)).max(axis=0)
    assert (change > 0.01 * true.max(axis=0)).all()
    assert (true.mean(axis=0) < 1.5 * rain.mean(axis=0)).all()


def test_true_parameters_are_inside_the_bounds(sample):
    for p in Hbv_2_hourly.parameter_table:
        values = sample[f"true_{p.name}"].values
        assert ((values >= p.low) & (values <= p.high)).all(), p.name
