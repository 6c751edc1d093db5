"""Splits in space and time, and the errors of peaks that they are judged by."""

import csv
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from conftest import SAMPLE
from hypothesis import given
from hypothesis import strategies as st
from small_config import changed, hbv_config

from dmg.conf.config import as_config
from dmg.conf.experiment import FOLDER, read_experiment
from dmg.core.data.loaders import HydroLoader
from dmg.core.data.loaders.site_data import SiteData
from dmg.core.data.splits import random_groups, regions, table
from dmg.core.data.splits.random import draw_groups
from dmg.core.data.splits.regions import cluster
from dmg.errors import ConfigError, DataError
from dmg.experiments import make_plan
from dmg.experiments.peaks import class_names, peak_errors
from dmg.registry import process_models
from hydrodl2.calc.return_period import fit_log_pearson3
from hydrodl2.data.extremes import extremes

PACKAGED = Path(table.__code__.co_filename).parent / "camels_us.csv"


def read(path):
    with Path(path).open(encoding="utf-8") as handle:
        return list(csv.DictReader(handle))


def held_out(config, result):
    """Return what each fold holds out, as the loader sees it."""
    config = changed(config, **{key.replace(".", "__"): value for key, value in result.settings.items()})
    folds = len(as_config(config).test.folds)
    return [HydroLoader(config, holdout_index=fold).eval_dataset.sites for fold in range(folds)]


# Space.


@given(st.permutations([f"{i:08d}" for i in range(23)]), st.integers(2, 23), st.integers(0, 5))
def test_groups_are_equal_in_size_and_know_no_order(sites, folds, seed):
    groups = draw_groups(sites, folds, seed)
    sizes = np.bincount(list(groups.values()), minlength=folds)
    assert sizes.max() - sizes.min() <= 1
    assert groups == draw_groups(sorted(sites), folds, seed)


def test_every_fold_of_a_random_split_holds_out_its_group(config, tmp_path):
    result = random_groups(SiteData(as_config(config)), tmp_path, folds=3, seed=1)
    held = held_out(config, result)
    assert sorted(site for fold in held for site in fold) == [f"S{i:03d}" for i in range(1, 9)]
    assert "3 groups of sites (2 to 3 sites)" in result.notes[0]
    other = random_groups(SiteData(as_config(config)), tmp_path, folds=3, seed=2)
    assert held_out(config, other) != held


@given(st.integers(0, 10), st.permutations(range(30)))
def test_regions_are_clusters_of_places_whatever_the_order(seed, order):
    rng = np.random.default_rng(1)
    middle = np.repeat([[45.0, -120.0], [30.0, -100.0], [40.0, -75.0]], 10, axis=0)
    lat, lon = (middle + rng.normal(0, 1, (30, 2))).T
    sites = [f"s{i:02d}" for i in range(30)]
    found = cluster([sites[i] for i in order], lat[list(order)], lon[list(order)], 3, seed)
    assert [found[site] for site in sites] == [0] * 10 + [1] * 10 + [2] * 10  # from west to east


def test_regions_of_a_store(config, tmp_path):
    result = regions(SiteData(as_config(config)), tmp_path, folds=2)
    assert result.settings["test.extent"] == "PUR"
    assert sorted(site for fold in held_out(config, result) for site in fold) == [f"S{i:03d}" for i in range(1, 9)]


def test_a_table_groups_sites_by_name(config, tmp_path):
    lines = ["name,unit", "S008,1", "S003,b", "S001,b", *(f"S00{i},01" for i in (2, 4, 5)), "S006,b", "S007,2.0"]
    path = tmp_path / "mine.csv"
    path.write_text("\n".join(lines))
    data = SiteData(as_config(config))
    arguments = {"path": str(path), "column": "unit", "site_column": "name"}
    held = held_out(config, table(data, tmp_path / "a", **arguments))
    assert held == [["S002", "S004", "S005", "S008"], ["S007"], ["S001", "S003", "S006"]]
    joined = table(data, tmp_path / "b", groups=[["b", 2], [1]], extent="PUR", **arguments)
    assert held_out(config, joined) == [["S001", "S003", "S006", "S007"], ["S002", "S004", "S005", "S008"]]
    with pytest.raises(ConfigError, match="'unit' b, which is in none of the groups"):
        table(data, tmp_path, groups=[[1], [2]], **arguments)
    with pytest.raises(ConfigError, match="is in two groups"):
        table(data, tmp_path, groups=[[1, "b"], [2, 1]], **arguments)
    path.write_text("\n".join(lines[:3]))
    with pytest.raises(DataError, match="6 of 8 sites are not in the table of groups"):
        table(data, tmp_path, **arguments)


def test_the_packaged_groups_are_those_of_the_seed():
    rows = read(PACKAGED)
    sites = [row["gage"] for row in rows]
    assert len(set(sites)) == 671
    for column, folds in (("ten", 10), ("five", 5)):
        assert {row["gage"]: int(row[column]) for row in rows} == draw_groups(sites, folds, 0)
    assert {int(row["huc"]) for row in rows} == set(range(1, 19))


# Time.

LONG = {**SAMPLE, "sites": 4, "start": "1980/10/01", "end": "2000/09/30", "gaps": False}
YEARS = {"train": [1990, 2000], "test": [1983, 2000], "record": [1981, 2014]}


@pytest.fixture(scope="module")
def long_config():
    return hbv_config(observations={"name": "sample", "sample": LONG, "area_name": "area_gages2"})


def test_extremes_are_trained_and_tested_on_their_own_years(long_config, tmp_path):
    config = changed(long_config, output_dir=str(tmp_path / "out"))
    data = SiteData(as_config(config))
    result = extremes(data, tmp_path, **YEARS)
    assert "water years 1981 to 2000" in result.notes[0]  # the record ends before 2014
    settings = {key.replace(".", "__"): value for key, value in result.settings.items()}
    loader = HydroLoader(changed(config, **settings))
    years_of = {}
    for name, batch in (("train", loader.train_dataset), ("test", loader.eval_dataset)):
        months = batch.times.astype("datetime64[M]").astype(int)
        years = 1970 + (months + 3) // 12
        known = np.isfinite(batch["target"][..., 0].numpy())
        years_of[name] = {(batch.sites[i], int(y)) for i in range(batch.n_sites) for y in np.unique(years[known[:, i]])}
    assert not years_of["train"] & years_of["test"]
    # Worked out from the flow itself.
    flow = data.target("streamflow", slice(0, len(data.times)), np.arange(4))
    years = 1970 + (data.times.astype("datetime64[M]").astype(int) + 3) // 12
    peaks = np.array([[np.nanmax(flow[years == y, i]) for i in range(4)] for y in range(1981, 2001)])
    for i, site in enumerate(data.sites):
        periods = fit_log_pearson3(peaks[:, i]).return_period(peaks[:, i])
        for year, period in zip(range(1981, 2001), periods, strict=True):
            assert ((site, year) in years_of["train"]) == (period <= 5 and year >= 1990), (site, year)
            assert ((site, year) in years_of["test"]) == (period > 5 and year >= 1983), (site, year)
    events = read(result.events)
    assert {(row["site"], int(row["water_year"])) for row in events if row["trained"] == "1"} == years_of["train"]
    assert all(1983 <= int(row["water_year"]) <= 2000 for row in events)


def test_extremes_that_cannot_be_say_why(long_config, tmp_path):
    data = SiteData(as_config(long_config))
    for options, message in (
        ({"test": [2005, 2008]}, "none of the water years 2005 to 2008 of the test; it has 1981 to 2000"),
        ({"record": [2005, 2008]}, "the record has none of the water years 2005 to 2008"),
        ({"threshold": 1e9}, "no water year has a peak of more than 1e"),
        ({"record": [1992, 2000]}, "no site has return periods: 9 annual maxima are too few"),
    ):
        with pytest.raises(DataError, match=message):
            extremes(data, tmp_path, **{**YEARS, **options})


def test_a_site_that_cannot_be_fitted_takes_no_part(long_config, tmp_path):
    data = SiteData(as_config(long_config))
    dry = data.sites[2]
    whole = data.target

    def with_dry_years(name, window, columns):
        flow = whole(name, window, columns).copy()
        flow[:3000, 2] = 0.0
        return flow

    data.target = with_dry_years
    result = extremes(data, tmp_path, **YEARS)
    assert Path(result.settings["observations.subset_path"]).read_text().split() == [s for s in data.sites if s != dry]
    assert any(f"Site {dry} takes no part: 8 of 20 annual maxima are zero" in note for note in result.notes)


# Errors of peaks.


def test_peak_errors_by_class(tmp_path):
    times = np.arange("1980-10-01", "1983-10-01", dtype="datetime64[D]")
    flow = np.ones((len(times), 2))
    flow[100, 0], flow[500, 0], flow[900, 1] = 8.0, 3.0, 30.0
    simulated = xr.DataArray(flow, coords={"time": times, "site": ["a", "b"]}, dims=("time", "site"))
    years = ["1980-10-01,1981-09-30", "1981-10-01,1982-09-30", "1982-10-01,1983-09-30", "1979-10-01,1980-09-30"]
    rows = [
        f"a,{years[0]},1981-01-01,10,5,0",  # |8 - 10| / 10, and five years belong to the first class
        f"a,{years[1]},1982-01-01,6,5.1,0",  # |3 - 6| / 6
        f"b,{years[2]},1983-03-01,20,200,1",  # trained on
        f"b,{years[1]},1982-03-01,0,1,0",  # no flow
        f"b,{years[3]},1980-03-01,9,9,0",  # not simulated
        f"c,{years[1]},1982-03-01,5,9,0",  # another site
    ]
    path = tmp_path / "events.csv"
    path.write_text("\n".join(["site,start,end,day,peak,return_period,trained", *rows]))
    found = peak_errors(simulated, path, [25, 5])
    assert list(found) == class_names([5, 25]) == ["1–5", "5–25", "25+"]
    assert [errors.tolist() for errors in found.values()] == [[pytest.approx(0.2)], [0.5], []]
    # Where the site was held out, no year of it was trained on.
    assert peak_errors(simulated, path, [5, 25], spatial=True)["25+"].tolist() == [0.5]


# The packaged experiments.


@pytest.mark.parametrize("name", sorted(path.stem for path in FOLDER.glob("[!_]*.yaml")))
def test_packaged_experiments_compose(name, tmp_path):
    experiment = read_experiment(name)
    names = [p.settings.get("model.phy.name", [None])[0] for p in experiment.models.values()]
    assert all(phy is None or phy in process_models for phy in names)
    # Without a store only what needs no data can be composed.
    plan = make_plan(experiment.model_copy(update={"splits": []}), tmp_path)
    assert {member.model for member in plan.members} == set(experiment.models)
    assert not list(tmp_path.iterdir())
