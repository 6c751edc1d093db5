"""Hosts that step finer than the model: what is gathered and handed out, and that nothing is lost between."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dmg.bmi.time_step import Aggregation, Disaggregation, Gathered, default_method, host_steps
from dmg.errors import ConfigError, DataError, RunError

DAY, HOUR = 86400.0, 3600.0
RULES = {
    "prcp": Gathered("rain", "mean"),
    "depth": Gathered("rain_depth", "sum"),
    "tmean": Gathered("temperature", "mean"),
    "tmin": Gathered("temperature", "min"),
    "tmax": Gathered("temperature", "max"),
}


def supplied(rng, sites=3):
    return {name: rng.normal(size=sites) for name in ("rain", "rain_depth", "temperature")}


def test_a_day_of_hours_is_gathered():
    hours = [supplied(np.random.default_rng(i)) for i in range(24)]
    day = Aggregation(RULES, host_steps(HOUR, DAY), sites=3)
    assert [day.add(hour) for hour in hours] == [False] * 23 + [True]
    found = day.take()
    series = {name: np.stack([hour[name] for hour in hours]) for name in hours[0]}
    np.testing.assert_allclose(found["prcp"], series["rain"].mean(0), rtol=1e-12)
    np.testing.assert_allclose(found["depth"], series["rain_depth"].sum(0), rtol=1e-12)
    np.testing.assert_array_equal(found["tmin"], series["temperature"].min(0))
    np.testing.assert_array_equal(found["tmax"], series["temperature"].max(0))
    assert not day.complete
    assert day.gathered == 0
    for hour in hours:  # the next day knows nothing of the one before
        day.add(hour)
    np.testing.assert_array_equal(day.take()["tmin"], found["tmin"])


def test_one_host_step_is_the_model_step():
    step = Aggregation(RULES, host_steps(DAY, DAY), sites=3)
    values = supplied(np.random.default_rng(0))
    assert step.add(values)
    found = step.take()
    for name in ("tmean", "tmin", "tmax"):
        np.testing.assert_array_equal(found[name], values["temperature"])
    out = Disaggregation(["flow"], 1, sites=3)
    out.put({"flow": values["rain"]})
    np.testing.assert_array_equal(out.next()["flow"], values["rain"])  # no delay


@given(st.integers(1, 48), st.integers(1, 5), st.integers(0, 47), st.sampled_from(["repeat", "end"]))
def test_water_is_neither_lost_nor_made_at_any_host_step(count, days, extra, method):
    """Received = taken by the model + gathered so far; made by the model = shown + waiting."""
    rng = np.random.default_rng(count * 100 + days)
    rain = Aggregation({"prcp": Gathered("rain", "mean")}, count, sites=2)
    flow = Disaggregation(["flow"], count, sites=2, method=method)
    received, taken, shown = np.zeros(2), np.zeros(2), np.zeros(2)
    for _ in range(days * count + extra % count):
        value = rng.gamma(1.0, size=2)
        received += value / count
        if rain.add({"rain": value}):
            through = rain.take()["prcp"]
            taken += through
            flow.put({"flow": through})
        shown += flow.next()["flow"] / count
        np.testing.assert_allclose(received, taken + rain.so_far()["prcp"], rtol=1e-12)
        np.testing.assert_allclose(taken, shown + flow.waiting()["flow"], rtol=1e-12, atol=1e-12)


def test_repeat_and_end_over_a_day():
    shown = {}
    for method in ("repeat", "end"):
        out = Disaggregation(["flow"], 4, sites=1, stores=["snow"], method=method)
        series = [out.next()]  # before the first model step
        for day in (8.0, 2.0):
            out.put({"flow": np.array([day]), "snow": np.array([day + 1])})
            series += [out.next() for _ in range(4)]
        shown[method] = [float(s["flow"][0]) for s in series]
        assert [float(s["snow"][0]) for s in series] == [0, 9, 9, 9, 9, 3, 3, 3, 3]
    assert shown == {"repeat": [0, 8, 8, 8, 8, 2, 2, 2, 2], "end": [0, 32, 0, 0, 0, 8, 0, 0, 0]}


def test_a_spin_up_is_shown_until_the_first_model_step_is_complete():
    out = Disaggregation(["flow"], 24, sites=1)
    out.put({"flow": np.array([5.0])}, shown=1)
    assert [float(out.next()["flow"][0]) for _ in range(24)] == [5.0] * 23 + [0.0]


@given(st.integers(0, 23))
def test_it_goes_on_from_any_host_step_bit_for_bit(hours):
    rng = np.random.default_rng(hours)
    series = [supplied(rng) for _ in range(24)]
    whole, first, second = (Aggregation(RULES, 24, sites=3) for _ in range(3))
    for hour in series:
        whole.add(hour)
    for hour in series[:hours]:
        first.add(hour)
    second.restore(first.state())
    for hour in series[hours:]:
        second.add(hour)
    expected = whole.take()
    for name, values in second.take().items():
        np.testing.assert_array_equal(values, expected[name])

    out, again = Disaggregation(["flow"], 24, sites=1), Disaggregation(["flow"], 24, sites=1)
    out.put({"flow": np.array([1.5])})
    for _ in range(hours):
        out.next()
    again.restore(out.state())
    while out.shown < 24:
        np.testing.assert_array_equal(out.next()["flow"], again.next()["flow"])
    assert again.shown == 24


def test_a_gap_stays_a_gap():
    day = Aggregation(RULES, 2, sites=2)
    day.add({"rain": np.array([1.0, np.nan]), "rain_depth": np.ones(2), "temperature": np.array([np.nan, 4.0])})
    day.add({"rain": np.ones(2), "rain_depth": np.ones(2), "temperature": np.ones(2)})
    found = day.take()
    assert np.isnan(found["prcp"]).tolist() == [False, True]
    for name in ("tmean", "tmin", "tmax"):
        assert np.isnan(found[name]).tolist() == [True, False]


@pytest.mark.parametrize(
    ("unit", "method"),
    [
        ("mm h-1", "mean"),
        ("mm s^-1", "mean"),
        ("kg m-2 s-1", "mean"),
        ("K", "mean"),
        ("W m-2", "mean"),
        ("mm", "sum"),
        ("m", "sum"),
        ("kg m-2", "sum"),
        ("1", "mean"),
    ],
)
def test_the_unit_says_how(unit, method):
    assert default_method(unit) == method


@pytest.mark.parametrize(
    ("host", "model", "message"),
    [
        (5000.0, DAY, "a model step of 86400 s is no multiple of the host's 5000 s"),
        (DAY, HOUR, "the host steps by 86400 s, longer than the model's 3600 s"),
        (0.0, DAY, "the host's time step is 0 s"),
        (float("nan"), DAY, "the host's time step is nan s"),
    ],
)
def test_steps_that_do_not_divide_are_refused(host, model, message):
    with pytest.raises(ConfigError, match=message):
        host_steps(host, model)
    with pytest.raises(ConfigError, match="such as 4800 s"):
        host_steps(5000.0, DAY)


def test_misuse_is_refused_and_changes_nothing():
    with pytest.raises(ConfigError, match=r"cannot be gathered by 'maen'\n.*did you mean 'mean'"):
        Gathered("rain", "maen")
    with pytest.raises(ConfigError, match="cannot be handed out by 'spline'"):
        Disaggregation(["flow"], 24, 1, method="spline")
    day = Aggregation(RULES, 2, sites=1)
    with pytest.raises(DataError, match="the host supplied no 'temperature'"):
        day.add({"rain": np.ones(1), "rain_depth": np.ones(1)})
    assert day.gathered == 0
    assert not day.so_far()["prcp"].any()
    with pytest.raises(RunError, match="has 0 of 2 host steps"):
        day.take()
    values = {name: np.ones(1) for name in ("rain", "rain_depth", "temperature")}
    day.add(values)
    day.add(values)
    with pytest.raises(RunError, match="complete and was not taken"):
        day.add(values)
    out = Disaggregation(["flow"], 2, sites=1)
    out.put({"flow": np.ones(1)})
    with pytest.raises(RunError, match="2 host steps of the model step before were not shown"):
        out.put({"flow": np.zeros(1)})
    other = Aggregation(RULES, 2, sites=2).state()
    with pytest.raises(RunError, match="that of another component"):
        day.restore(other)
    with pytest.raises(RunError, match="at most 2 host steps"):
        day.restore(Aggregation(RULES, 2, sites=1).state() | {"gathered": np.array(3)})
    assert day.gathered == 2
