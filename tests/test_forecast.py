"""The forecast example: an ensemble that knows the weather is the analysis, its skill falls with lead time."""

import re
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from small_run import small_config, small_store

import dmg
from dmg.core.data.dataset import write_dataset
from dmg.trainers import Trainer
from example.hydrology.forecast_by_lead_time import DAY, draw, hindcast, skill_by_lead, weather_ensemble

LEADS, MEMBERS = 4, 6


@pytest.fixture(scope="module")
def store():
    return small_store(3, days=1200)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    Trainer(small_config(folder, train__epochs=1, train__iterations=1)).train()
    return dmg.load_run(folder / "out", device="cpu")


@pytest.fixture(scope="module")
def weather(store):
    return store.drop_vars(["streamflow", "AET_hydro", "true_parBETA"])


@pytest.fixture(scope="module")
def issues(store):
    return store.time.values[[300, 330, 390]]


def test_a_forecast_with_the_true_weather_is_the_analysis(run, weather, issues):
    forecasts = hindcast(run, weather, issues, leads=LEADS, members=2, memory=1e9)
    assert forecasts.dims == ("issue", "realization", "lead", "site")
    analysis = run.predict(weather, outputs=["streamflow"])["streamflow"]
    for issue in issues:
        truth = analysis.sel(time=slice(issue, issue + (LEADS - 1) * DAY)).values
        for member in forecasts.sel(issue=issue).values:
            np.testing.assert_allclose(member, truth, rtol=1e-4, atol=1e-6)  # float32, other batches


def test_the_code_of_the_page_runs(run, weather, issues, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    until, after = (
        weather.sel(time=slice(None, issues[0] - DAY)),
        weather.sel(time=slice(issues[0], issues[0] + 5 * DAY)),
    )
    write_dataset(until, tmp_path / "until_today.nc")
    page = Path(__file__).parents[1] / "docs" / "forecasts.md"
    (code,) = re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    names = {"weather": after}
    exec(compile(code.replace("output/mine", str(run.path)), page.name, "exec"), names)
    assert dict(names["forecast"].sizes) == {"realization": 20, "time": 6, "site": 3}
    whole = run.predict(weather)["streamflow"].sel(time=after.time)
    np.testing.assert_allclose(names["forecast"]["streamflow"].values[7], whole.values, rtol=1e-4, atol=1e-6)


def test_members_follow_the_weather_and_then_that_of_another_year(weather, issues):
    ensemble = weather_ensemble(weather, issues[0], LEADS, MEMBERS, memory=2.0, rng=np.random.default_rng(0))
    truth = weather.sel(time=slice(issues[0], issues[0] + (LEADS - 1) * DAY))
    drawn = {name: ensemble[name].values.reshape(LEADS, MEMBERS, 3) for name in ("prcp", "tmean", "pet")}
    left = {}
    for name, values in drawn.items():
        apart = (values != truth[name].values[:, None]).any(axis=-1)
        assert (np.diff(apart.astype(int), axis=0) >= 0).all()  # nobody comes back
        left[name] = apart
    np.testing.assert_array_equal(left["tmean"], left["pet"])  # all variables are of one year
    assert left["tmean"].any()
    assert not left["tmean"].all()
    record = weather["tmean"].values
    member = int(np.argmax(left["tmean"][-1]))
    assert (record == drawn["tmean"][-1, member]).all(axis=-1).any()  # it did happen, on another day


def test_skill_by_lead_time(run, store, weather, issues, tmp_path):
    forecasts = hindcast(run, weather, issues, leads=LEADS, members=MEMBERS, memory=0.5)
    spread = forecasts.std("realization").mean(("issue", "site")).values
    assert spread[-1] > spread[0]
    observed = store["streamflow"]
    table = skill_by_lead(forecasts, observed)
    assert {name: len(values) for name, values in table.items()} == dict.fromkeys(
        ("crps", "persistence", "climatology", "nse"), LEADS
    )
    assert all(np.isfinite(values).all() for values in table.values())
    draw(table, tmp_path / "skill.png")
    assert (tmp_path / "skill.png").stat().st_size > 5000

    # Observations as the forecast: nothing is better.
    begins = np.searchsorted(observed.time.values, issues)
    perfect = np.stack([observed.fillna(1.0).values[b : b + LEADS] for b in begins])
    copies = xr.DataArray(np.repeat(perfect[:, None], 2, axis=1), forecasts.isel(realization=[0, 1]).coords)
    best = skill_by_lead(copies, observed)
    np.testing.assert_allclose(best["crps"], 0.0, atol=1e-12)
    np.testing.assert_allclose(best["nse"], 1.0, atol=1e-12)
    last = observed.values[begins - 1][:, None]
    errors = np.abs(observed.values[begins[:, None] + np.arange(LEADS)] - last)
    np.testing.assert_allclose(best["persistence"], np.nanmedian(np.nanmean(errors, axis=0), axis=-1), rtol=1e-6)
