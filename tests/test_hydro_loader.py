import json
import logging

import numpy as np
import pytest
import torch

from dmg.core.data import create_training_grid, load_json, txt_to_array
from dmg.core.data.dataset import write_dataset
from dmg.core.data.loaders import HydroLoader
from dmg.core.data.normalisation import Normalisation
from dmg.core.data.samplers import HydroSampler
from dmg.errors import ConfigError, DataError

SQUARE_FEET = 0.3048**3 * 86400e3 / 1e6
"""mm/d of one ft3/s on one km²."""


def pure(config, **model):
    config["model"] |= {"phy": None, **model}
    return config


def statistics(folder):
    return json.loads((folder / "out/model/normalization_statistics.json").read_text(encoding="utf-8"))


# Periods, keys, names.


def test_datasets_have_the_published_keys_shapes_and_names(config):
    train = HydroLoader(config).train_dataset
    shapes = {key: tuple(value.shape) for key, value in train.items() if torch.is_tensor(value)}
    assert shapes == {
        "x_phy": (396, 8, 3),
        "c_phy": (8, 0),
        "x_nn": (396, 8, 3),
        "x_nn_norm": (396, 8, 3),
        "c_nn": (8, 5),
        "c_nn_norm": (8, 5),
        "xc_nn_norm": (396, 8, 8),
        "target": (396, 8, 1),
    }
    assert all(value.dtype == torch.float32 for value in train.values() if torch.is_tensor(value))
    assert train.names["x_phy"] == ("prcp", "tmean", "pet")
    assert train.names["target"] == ("streamflow",)
    assert train.units["prcp"] == "mm d-1"


def test_training_and_evaluation_begin_a_warmup_earlier(config):
    loader = HydroLoader(config)
    for data, first, last in (
        (loader.train_dataset, "1991-09-01", "1992-09-30"),
        (loader.eval_dataset, "1992-09-01", "1993-09-30"),
    ):
        assert str(data.times[0])[:10] == first
        assert str(data.times[-1])[:10] == last
        assert data.n_times == len(data.times) == data["x_phy"].shape[0]


def test_every_day_of_the_training_period_is_drawn(config):
    loader = HydroLoader(config)
    sites, _, steps = create_training_grid(loader.train_dataset["xc_nn_norm"], config)
    sampler = HydroSampler(config)
    days = {
        str(day)[:10]
        for _ in range(300)
        for day in np.unique(
            sampler.get_training_sample(loader.train_dataset, sites, steps).times[config["model"]["warmup"] :]
        )
    }
    assert len(days) == 366
    assert (min(days), max(days)) == ("1991-10-01", "1992-09-30")


def test_warmup_inside_starts_with_the_period(config):
    config["test"]["warmup"] = "inside"
    assert str(HydroLoader(config).eval_dataset.times[0])[:10] == "1992-10-01"


def test_warmup_reaches_as_far_back_as_the_record_and_says_so(config, caplog):
    config["test"] |= {"start_time": "1990/10/11", "end_time": "1991/09/30"}
    with caplog.at_level(logging.WARNING):
        data = HydroLoader(config).eval_dataset
    assert str(data.times[0])[:10] == "1990-10-01"
    assert "its first 20 steps are warm-up and not scored" in caplog.text


@pytest.mark.parametrize(
    ("mode", "first", "last"),
    [
        ("train", "1991-10-01", "1992-09-30"),
        ("test", "1992-10-01", "1993-09-30"),
        ("train_test", "1991-10-01", "1993-09-30"),
        ("sim", "1993-01-01", "1993-02-28"),
    ],
)
def test_dataset_is_there_in_every_mode_and_is_its_period(config, mode, first, last):
    config |= {"mode": mode, "sim": {"start_time": "1993/01/01", "end_time": "1993/02/28"}}
    loader = HydroLoader(config)
    assert [str(day)[:10] for day in loader.dataset.times[[0, -1]]] == [first, last]
    assert loader.train_dataset.n_sites == loader.eval_dataset.n_sites == 8


def test_simulation_needs_no_target(config, sample):
    config |= {"mode": "sim", "sim": {"start_time": "1993/01/01", "end_time": "1993/02/28"}}
    loader = HydroLoader(config, store=sample.drop_vars("streamflow"))
    assert "target" not in loader.dataset
    assert "target" not in loader.eval_dataset
    assert str(loader.eval_dataset.times[0])[:10] == "1992-12-02"


def test_validation_has_the_training_sites_in_its_own_period(config):
    assert HydroLoader(config).valid_dataset is None
    config["valid"] = {"start_time": "1992/10/01", "end_time": "1992/12/31"}
    config["test"]["holdout_sites"] = 2
    data = HydroLoader(config).valid_dataset
    assert data.n_sites == 6
    assert str(data.times[0])[:10] == "1992-09-01"


def test_period_outside_the_record_names_both(config, sample):
    config["test"] |= {"start_time": "1992/10/01", "end_time": "1994/09/30"}
    config["observations"]["sample"] = None
    with pytest.raises(DataError, match=r"test period 1992-10-01 to 1994-09-30 .* record, 1990-10-01 to 1993-09-30"):
        _ = HydroLoader(config, store=sample).eval_dataset


def test_record_is_what_store_and_configuration_have_in_common(config, sample):
    config["observations"] |= {"start_time": "1980/10/01", "end_time": "2014/09/30", "sample": None}
    assert HydroLoader(config, store=sample).data.times[0] == sample.time.values[0]
    config["observations"]["start_time"] = "1991/09/21"
    assert str(HydroLoader(config, store=sample).train_dataset.times[0])[:10] == "1991-09-21"
    config["observations"] |= {"start_time": None, "end_time": None}
    assert HydroLoader(config, store=sample).train_dataset.n_times == 396


def test_variables_are_matched_by_name_whatever_their_order(config, sample):
    expected = HydroLoader(config, store=sample).train_dataset
    shuffled = sample[sorted(sample.data_vars, reverse=True)].transpose("site", "time")
    got = HydroLoader(config, store=shuffled, overwrite=True).train_dataset
    assert all(torch.equal(expected[key], got[key]) for key in ("x_phy", "xc_nn_norm", "c_nn"))
    assert torch.equal(got["x_phy"][..., 1], torch.from_numpy(sample["tmean"].values[335:731]))


@pytest.mark.parametrize("key", ["forcings", "attributes"])
def test_unknown_variable_is_named_with_the_closest(config, sample, key):
    config["model"]["nn"][key] = [*config["model"]["nn"][key][:-1], "slope_maen"]
    with pytest.raises(DataError, match="'slope_maen'"):
        _ = HydroLoader(config, store=sample).train_dataset


def test_store_on_disk_is_read_as_in_memory(config, sample, tmp_path):
    memory = HydroLoader(config).train_dataset.fingerprint()
    for name in ("store.nc", "store.zarr"):
        write_dataset(sample, tmp_path / name)
        config["observations"] |= {"name": "mine", "data_path": str(tmp_path / name), "sample": None}
        assert HydroLoader(config).train_dataset.fingerprint() == memory


def test_missing_store_says_what_to_do(config):
    config["observations"] |= {"name": "camels_531", "sample": None}
    with pytest.raises(DataError, match=r"no store[\s\S]*observations.data_path=STORE.nc"):
        HydroLoader(config)


def test_pickle_is_refused_with_the_conversion(config, tmp_path):
    (tmp_path / "x.pkl").write_bytes(b"")
    config["observations"] |= {"name": "camels_531", "data_path": str(tmp_path / "x.pkl"), "sample": None}
    with pytest.raises(DataError, match="dmg data pickle"):
        HydroLoader(config)


def test_hourly_record_ends_with_the_last_hour(config, sample):
    hours = np.datetime64("1991-09-20", "ns") + np.arange(24 * 40).astype("timedelta64[h]")
    store = sample.isel(time=slice(0, len(hours))).assign_coords(time=hours)
    config["train"] |= {"start_time": "1991/10/01", "end_time": "1991/10/07"}
    config["model"] |= {"rho": 4, "warmup": 3}
    config["observations"]["sample"] = None
    data = HydroLoader(config, store=store).train_dataset
    assert data.n_times == 3 + 7 * 24
    assert str(data.times[-1])[:13] == "1991-10-07T23"


def test_a_window_is_counted_in_steps_of_the_record(config, sample):
    hours = np.datetime64("1991-09-20", "ns") + np.arange(24 * 40).astype("timedelta64[h]")
    store = sample.isel(time=slice(0, len(hours))).assign_coords(time=hours)
    config["train"] |= {"start_time": "1991/10/01", "end_time": "1991/10/02"}
    config["model"] |= {"rho": 48, "warmup": 24}
    config["observations"] |= {"name": "mine", "sample": None}
    assert HydroLoader(config, store=store).train_dataset.n_times == 72
    config["model"]["rho"] = 49
    with pytest.raises(ConfigError, match=r"= 73 steps does not fit into the 72 steps of 1 h from 1991-09-30T00:00"):
        _ = HydroLoader(config, store=store).train_dataset


def test_a_target_without_any_observation_is_refused_before_training(config, sample):
    sample["streamflow"][335:731] = np.nan
    with pytest.raises(DataError, match=r"'streamflow' has no observation from 1991/10/01 to 1992/09/30 at any of"):
        _ = HydroLoader(config, store=sample).train_dataset


def test_a_unit_that_measures_something_else_names_variable_and_store(config, sample):
    sample["tmean"].attrs["units"] = "mm d-1"
    with pytest.raises(DataError, match=r"'tmean': cannot convert 'mm d-1' to 'degC'") as caught:
        _ = HydroLoader(config, store=sample).train_dataset
    assert caught.value.where
    assert "needed in 'degC'" in caught.value.hint


def test_only_what_is_selected_is_read_from_a_store(config, sample, tmp_path):
    """Whatever else a Zarr store holds, other variables, sites and years, is damaged here and does not matter."""
    many = sample.isel(site=np.arange(200) % 8).assign_coords(site=[f"S{i:03d}" for i in range(1, 201)])
    times = np.datetime64("1990-10-01", "ns") + np.arange(2100).astype("timedelta64[D]")
    path = write_dataset(many.isel(time=np.arange(2100) % 1000).assign_coords(time=times), tmp_path / "big.zarr")
    damaged = 0
    for chunk in path.glob("*/[0-9]*"):
        name, (row, *column) = chunk.parent.name, chunk.name.split(".")
        if name in ("dayl", "srad", "vp") or (column and (row > "0" or column[0] > "0")):
            chunk.write_bytes(b"damaged")
            damaged += 1
    assert damaged > 30
    (tmp_path / "sites.txt").write_text("S005\nS001\n")
    config["observations"] |= {"name": "big", "sample": None, "data_path": str(path)}
    config["observations"]["subset_path"] = str(tmp_path / "sites.txt")
    loader = HydroLoader(config)
    expected = sample["prcp"].sel(site=["S005", "S001"]).values[335:731]
    assert torch.equal(loader.train_dataset["x_phy"][..., 0], torch.from_numpy(expected))
    config["observations"]["subset_path"] = None
    with pytest.raises(DataError, match="'streamflow' cannot be read: "):
        _ = HydroLoader(config).train_dataset


# Sites.


@pytest.mark.parametrize("content", ['["S005", "S001", "S007"]', "S005\nS001\nS007\n", "S005, S001, S007"])
def test_sites_come_in_the_order_of_the_subset(config, sample, tmp_path, content):
    path = tmp_path / ("subset.json" if content.startswith("[") else "subset.txt")
    path.write_text(content)
    config["observations"]["subset_path"] = str(path)
    data = HydroLoader(config).train_dataset
    assert data.sites == ["S005", "S001", "S007"]
    expected = sample["tmean"].sel(site=data.sites).values[335:731]
    assert torch.equal(data["x_phy"][..., 1], torch.from_numpy(expected))
    assert torch.equal(data["c_nn"][:, 0], torch.from_numpy(sample["p_mean"].sel(site=data.sites).values))


def test_gage_info_gives_the_order_where_there_is_no_subset(config, sample, tmp_path):
    np.save(tmp_path / "gages.npy", np.array([30, 10]))
    config["observations"]["gage_info"] = str(tmp_path / "gages.npy")
    store = sample.assign_coords(site=[f"{10 * i:08d}" for i in range(1, 9)])
    assert HydroLoader(config, store=store).sites == ["00000030", "00000010"]


def test_unknown_sites_are_listed(config, tmp_path):
    (tmp_path / "subset.txt").write_text("S001 S009 X")
    config["observations"]["subset_path"] = str(tmp_path / "subset.txt")
    with pytest.raises(DataError, match=r"2 of 3 sites are not in .*: S009, X"):
        HydroLoader(config)
    config["observations"]["subset_path"] = str(tmp_path / "nothing.txt")
    with pytest.raises(DataError, match=r"no such list of sites[\s\S]*observations.subset_path"):
        HydroLoader(config)


def test_held_out_sites_are_evaluated_only(config):
    config["test"]["holdout_sites"] = ["S003", "S006"]
    loader = HydroLoader(config)
    assert loader.train_dataset.sites == ["S001", "S002", "S004", "S005", "S007", "S008"]
    assert loader.train_dataset.holdout is None or not loader.train_dataset.holdout.any()
    held = [site for site, out in zip(loader.eval_dataset.sites, loader.eval_dataset.holdout, strict=True) if out]
    assert held == ["S003", "S006"]
    assert loader.eval_dataset.n_sites == 8


def test_number_of_held_out_sites_is_drawn_with_the_seed(config):
    config["test"]["holdout_sites"] = 3
    masks = [HydroLoader(config | {"seed": seed}).holdout for seed in (1, 1, 2, 3)]
    assert all(mask.sum() == 3 for mask in masks)
    assert np.array_equal(masks[0], masks[1])
    assert not (np.array_equal(masks[0], masks[2]) and np.array_equal(masks[0], masks[3]))
    config["test"]["holdout_sites"] = 8
    with pytest.raises(ConfigError, match="8 sites are to be held out, there are 8"):
        HydroLoader(config)


def spatial(config, tmp_path, **test):
    """Table and subset are in different orders, and neither is sorted."""
    groups = {"S008": (1, 10), "S002": (0, 10), "S005": (1, 20), "S001": (0, 30), "S003": (2, 20), "S006": (2, 30)}
    rows = [f"{site},{huc},{group}" for site, (group, huc) in groups.items()]
    (tmp_path / "split.csv").write_text("\n".join(["gage,huc,PUB_ID", *rows]))
    (tmp_path / "subset.json").write_text('["S005", "S001", "S006", "S008", "S003", "S002"]')
    config["observations"] |= {
        "subset_path": str(tmp_path / "subset.json"),
        "gage_split_file": str(tmp_path / "split.csv"),
    }
    config["test"] |= {"type": "spatial", **test}
    return config


@pytest.mark.parametrize(
    ("test", "fold", "held"),
    [
        ({"extent": "PUB", "PUB_ids": [0, 1, 2]}, 0, ["S001", "S002"]),
        ({"extent": "PUB", "PUB_ids": [0, 1, 2]}, 1, ["S005", "S008"]),
        ({"extent": "PUR", "huc_regions": [[10], [20, 30]]}, 1, ["S005", "S001", "S006", "S003"]),
    ],
)
def test_fold_holds_out_the_sites_of_its_group_by_name(config, tmp_path, test, fold, held):
    loader = HydroLoader(spatial(config, tmp_path, **test), holdout_index=fold)
    assert loader.eval_dataset.sites == held
    assert loader.eval_dataset.holdout.all()
    assert loader.train_dataset.sites == [site for site in loader.sites if site not in held]
    config["test"]["holdout_index"] = fold
    assert HydroLoader(config).eval_dataset.sites == held


def test_spatial_test_that_cannot_be_is_an_error(config, tmp_path):
    config = spatial(config, tmp_path, extent="PUB", PUB_ids=[0, 9])
    for fold, message in ((None, "needs the fold"), (2, "no fold 2: the test has 2"), (1, "holds out no site")):
        with pytest.raises(ConfigError, match=message):
            HydroLoader(config, holdout_index=fold)
    (tmp_path / "split.csv").write_text("gage,PUB_ID\nS001,0\n")
    with pytest.raises(DataError, match="5 of 6 sites are not in the table of regions: S005"):
        HydroLoader(config, holdout_index=0)
    (tmp_path / "split.csv").write_text("gage,group\nS001,0\n")
    with pytest.raises(DataError, match="no column PUB_ID"):
        HydroLoader(config, holdout_index=0)


# Statistics.


def damaged(sample, config):
    """Change everything that is not of the training sites in the training period."""
    other = sample.copy(deep=True)
    outside = (other.time < np.datetime64("1991-10-01")) | (other.time > np.datetime64("1992-09-30"))
    for name in ("prcp", "tmean", "pet", "streamflow"):
        other[name].values[outside.values] *= 3
        other[name].values[:, :2] *= 5
    for name in config["model"]["nn"]["attributes"]:
        other[name].values[:2] = 77
    return other


@pytest.mark.parametrize("mode", ["train", "test", "train_test", "sim"])
def test_statistics_are_of_training_sites_and_period_in_every_mode(config, sample, mode, tmp_path):
    config["test"]["holdout_sites"] = ["S001", "S002"]
    config |= {"mode": mode, "sim": {"start_time": "1992/10/01", "end_time": "1993/09/30"}}
    one = HydroLoader(config | {"output_dir": str(tmp_path / "a")}, store=sample)
    other = HydroLoader(config | {"output_dir": str(tmp_path / "b")}, store=damaged(sample, config))
    _ = other.eval_dataset  # whatever is read first
    assert one.normalisation.statistics == other.normalisation.statistics
    prcp = sample["prcp"].values[365:731, 2:].astype(np.float64)
    expected = [*np.percentile(prcp, [10, 90]), prcp.mean(), prcp.std()]
    assert one.normalisation.statistics["prcp"] == pytest.approx(expected)


def test_inputs_are_normalised_with_them(config):
    config["model"]["use_log_norm"] = ["prcp"]
    loader = HydroLoader(config)
    train = loader.train_dataset
    assert torch.allclose(train["x_nn_norm"][30:].mean(dim=(0, 1)), torch.zeros(3), atol=1e-4)
    assert torch.allclose(train["c_nn_norm"].std(dim=0, unbiased=False), torch.ones(5), atol=1e-4)
    mean, std = loader.normalisation.statistics["prcp"][2:]
    z = (torch.log10(torch.sqrt(train["x_nn"][..., 0]) + 0.1) - mean) / std
    assert torch.allclose(train["x_nn_norm"][..., 0], z, atol=1e-5)


def test_statistics_are_saved_in_training_and_used_in_testing(config, sample, tmp_path):
    _ = HydroLoader(config, store=sample).train_dataset
    saved = statistics(tmp_path)
    assert {"prcp", "tmean", "pet", *config["model"]["nn"]["attributes"], "_about"} == set(saved)
    testing = HydroLoader(config | {"mode": "test"}, store=damaged(sample, config))
    assert testing.normalisation.statistics == {k: v for k, v in saved.items() if k != "_about"}


def test_testing_without_a_file_writes_none(config, tmp_path):
    _ = HydroLoader(config | {"mode": "test"}).eval_dataset
    assert not (tmp_path / "out").exists()


def test_new_training_does_not_use_statistics_of_other_data(config, tmp_path):
    _ = HydroLoader(config).train_dataset
    before = statistics(tmp_path)
    config["train"]["start_time"] = "1991/11/01"
    _ = HydroLoader(config).train_dataset
    assert statistics(tmp_path)["prcp"] != before["prcp"]


def test_overwrite_takes_them_anew(config, tmp_path):
    _ = HydroLoader(config).train_dataset
    path = tmp_path / "out/model/normalization_statistics.json"
    content = statistics(tmp_path) | {"prcp": [0, 0, 0, 1]}
    path.write_text(json.dumps(content))
    assert HydroLoader(config).normalisation.statistics["prcp"] == [0, 0, 0, 1]
    assert HydroLoader(config, overwrite=True).normalisation.statistics["prcp"] != [0, 0, 0, 1]


def test_pretrained_statistics_are_used_or_refused_with_the_reason(config, tmp_path):
    _ = HydroLoader(config).train_dataset
    config |= {"pretrained_model_dir": str(tmp_path / "out/model"), "output_dir": str(tmp_path / "other")}
    config["train"]["start_time"] = "1991/11/01"
    fine = HydroLoader(config).normalisation
    assert fine.statistics["prcp"] == statistics(tmp_path)["prcp"]
    # The fine-tuned model is used with them too, wherever the pretrained one has gone.
    _ = HydroLoader(config).train_dataset
    assert Normalisation.load(tmp_path / "other/model/normalization_statistics.json").statistics == fine.statistics
    config["model"]["nn"]["attributes"] = ["p_mean", "lai_max"]
    config["model"]["use_log_norm"] = ["prcp"]
    with pytest.raises(DataError, match="no statistics of 'lai_max'; 'prcp' was not log-normalised"):
        _ = HydroLoader(config).normalisation


def test_weights_without_their_statistics_are_refused(config, tmp_path):
    (tmp_path / "weights").mkdir()
    config |= {"pretrained_model_dir": str(tmp_path / "weights"), "mode": "test"}
    with pytest.raises(DataError, match=r"no normalization_statistics.json with the trained weights") as caught:
        _ = HydroLoader(config).eval_dataset
    assert caught.value.where == str(tmp_path / "weights")


def test_statistics_in_another_unit_are_refused(config, sample, tmp_path):
    pure(config)
    _ = HydroLoader(config, store=sample).train_dataset
    warm = sample.assign(tmean=(sample["tmean"] + 273.15).assign_attrs(units="K"))
    with pytest.raises(DataError, match="'tmean' is now in K"):
        _ = HydroLoader(config | {"mode": "test"}, store=warm).normalisation


# Missing and impossible values.


def test_sentinels_never_reach_a_model_however_often_it_is_loaded(config, sample):
    at = 400
    before = sample["tmean"].values[at, 3]
    sample["tmean"].values[at, 3] = -999
    sample["streamflow"].values[at + 2 : at + 9, 3] = -999
    for _ in range(2):
        data = HydroLoader(config, store=sample).train_dataset
        assert sample["tmean"].values[at, 3] == -999
        row = at - 335
        assert data["x_phy"].min() > -60
        assert data["x_phy"][row, 3, 1] == pytest.approx(sample["tmean"].values[[at - 1, at + 1], 3].mean(), abs=1e-4)
        assert data["x_nn_norm"].abs().max() < 30
        assert torch.isnan(data["target"][row + 2 : row + 9, 3]).all()
    assert before > -60


def test_inputs_have_no_nan_and_targets_keep_theirs(config, sample):
    sample["pet"].values[500:503, 1] = np.nan
    loader = HydroLoader(config, store=sample)
    for data in (loader.train_dataset, loader.eval_dataset, loader.dataset):
        for key in ("x_phy", "x_nn", "xc_nn_norm", "c_nn"):
            assert torch.isfinite(data[key]).all(), key
    target = loader.dataset["target"][..., 0]
    assert torch.equal(torch.isnan(target), torch.from_numpy(np.isnan(sample["streamflow"].values[365:])))
    assert torch.isnan(target).any()


def test_long_gap_of_a_forcing_is_an_error_with_site_and_dates(config, sample):
    sample["prcp"].values[500:510, 1] = np.nan
    with pytest.raises(DataError, match=r"'prcp' is missing at S002 \(1992-02-13\.\.1992-02-22\)"):
        _ = HydroLoader(config, store=sample).train_dataset
    config["observations"]["max_gap"] = 10
    assert torch.isfinite(HydroLoader(config, store=sample).train_dataset["x_phy"]).all()


def test_negative_precipitation_is_an_error_with_site_and_date(config, sample):
    sample["prcp"].values[500, 1] = -0.5
    with pytest.raises(DataError, match=r"'prcp' is negative .* at S002 \(1992-02-13"):
        _ = HydroLoader(config, store=sample).train_dataset


def test_missing_attribute_is_an_error_or_the_mean_of_the_training_sites(config, sample):
    sample["slope_mean"].values[4] = np.nan
    with pytest.raises(DataError, match=r"'slope_mean' is missing at S005[\s\S]*train_mean"):
        _ = HydroLoader(config, store=sample).train_dataset
    config["observations"]["attribute_fill"] = "train_mean"
    config["test"]["holdout_sites"] = ["S005", "S006"]
    data = HydroLoader(config, store=sample).eval_dataset
    expected = sample["slope_mean"].values[[0, 1, 2, 3, 6, 7]].mean()
    assert data["c_nn"][4, 4] == pytest.approx(expected, rel=1e-5)


# Units and targets.


def test_units_of_the_store_are_converted_for_the_process_model(config, sample):
    expected = HydroLoader(config, store=sample).train_dataset["x_phy"]
    store = sample.assign(
        tmean=(sample["tmean"].astype("f8") + 273.15).assign_attrs(units="K"),
        prcp=(sample["prcp"] / 86400).assign_attrs(units="kg m-2 s-1"),
    )
    got = HydroLoader(config, store=store, overwrite=True).train_dataset
    assert torch.allclose(got["x_phy"], expected, atol=2e-4)
    assert got.units["tmean"] == "degC"


def test_forcing_without_unit_is_an_error_for_a_process_model(config, sample):
    sample["pet"].attrs.clear()
    with pytest.raises(DataError, match="'pet' has no unit"):
        _ = HydroLoader(config, store=sample).train_dataset


def as_discharge(sample, unit="ft3 s-1"):
    flow = sample["streamflow"] * sample["area_gages2"] / SQUARE_FEET
    return sample.assign(streamflow=flow.transpose("time", "site").assign_attrs({"units": unit} if unit else {}))


@pytest.mark.parametrize("unit", ["ft3 s-1", "cfs", ""])
def test_discharge_becomes_a_depth(config, sample, unit):
    got = HydroLoader(config, store=as_discharge(sample, unit)).train_dataset["target"]
    expected = HydroLoader(config, store=sample).train_dataset["target"]
    assert torch.allclose(got, expected, rtol=1e-5, equal_nan=True)


def test_the_unit_of_the_store_wins_over_target_unit(config, sample):
    config["observations"]["target_unit"] = "m3/s"
    got = HydroLoader(config, store=as_discharge(sample)).train_dataset["target"]
    expected = HydroLoader(config, store=sample).train_dataset["target"]
    assert torch.allclose(got, expected, rtol=1e-5, equal_nan=True)


def test_area_is_needed_only_for_a_conversion(config, sample):
    config["observations"]["area_name"] = None
    _ = HydroLoader(config, store=sample.drop_vars("area_gages2")).eval_dataset
    with pytest.raises(DataError, match=r"area of each site[\s\S]*observations.area_name"):
        _ = HydroLoader(config, store=as_discharge(sample)).train_dataset
    config["observations"]["area_name"] = "area_gages2"
    sample["area_gages2"].values[2] = 0
    with pytest.raises(DataError, match="'area_gages2' is missing or not positive at S003"):
        _ = HydroLoader(config, store=as_discharge(sample)).train_dataset


@pytest.mark.parametrize("hybrid", [True, False])
@pytest.mark.parametrize(("unit", "factor"), [("mm/d", None), ("ft3/s", SQUARE_FEET), ("m3/s", 86.4)])
def test_output_unit_works_for_hybrid_and_pure_networks(config, sample, hybrid, unit, factor):
    config["model"]["output_unit"] = unit
    if not hybrid:
        pure(config)
    data = HydroLoader(config).eval_dataset
    expected = data["target"][..., 0].numpy()
    if factor:
        expected = expected * sample["area_gages2"].values / factor
    for name in ("obs_convert_fn", "denorm_fn"):
        assert np.allclose(data[name](data["target"])[..., 0], expected, rtol=1e-5, equal_nan=True)
    part = data.select(sites=slice(3, 5))
    assert np.allclose(part["denorm_fn"](part["target"])[..., 0], expected[:, 3:5], rtol=1e-5, equal_nan=True)


@pytest.mark.parametrize("regime", ["low", "high"])
@pytest.mark.parametrize("divided", [True, False])
def test_normalised_targets_have_mean_0_and_std_1_and_come_back(config, regime, divided):
    pure(config, flow_regime=regime)
    config["observations"]["prcp_mean_name"] = "p_mean" if divided else None
    loader = HydroLoader(config)
    z = loader.train_dataset["target"][30:, :, 0].double()
    z = z[~torch.isnan(z)]
    assert z.mean().item() == pytest.approx(0, abs=1e-4)
    assert z.std(unbiased=False).item() == pytest.approx(1, abs=1e-4)
    physical = loader.eval_dataset.select(times=slice("1992-09-01", "1992-09-30"))
    same = loader.train_dataset.select(times=slice("1992-09-01", "1992-09-30"))
    assert torch.allclose(
        physical["denorm_fn"](same["target"]), physical["target"], rtol=1e-3, atol=1e-4, equal_nan=True
    )
    assert loader.normalisation.log == ({"prcp", "streamflow"} if regime == "low" else set())


def test_targets_of_a_process_model_are_in_mm_per_day(config, sample):
    expected = torch.from_numpy(sample["streamflow"].values[335:731])
    assert torch.equal(HydroLoader(config).train_dataset["target"][..., 0].nan_to_num(), expected.nan_to_num())
    assert torch.equal(HydroLoader(pure(config)).train_dataset["target"][..., 0].nan_to_num(), expected.nan_to_num())


def test_mean_precipitation_is_needed_only_where_flow_is_divided_by_it(config, sample):
    config["model"]["nn"]["attributes"] = ["slope_mean"]
    store = sample.drop_vars("p_mean")
    _ = HydroLoader(config, store=store).train_dataset
    with pytest.raises(DataError, match="no attribute 'p_mean'"):
        _ = HydroLoader(pure(config, flow_regime="high"), store=store).train_dataset


def test_each_of_several_targets_is_its_own(config, sample):
    config["train"]["target"] = ["streamflow", "swe"]
    swe = (sample["prcp"] * 3 + 1).assign_attrs(units="cm")
    store = sample.assign(swe=swe)
    data = HydroLoader(config, store=store).train_dataset
    assert data["target"].shape == (396, 8, 2)
    assert torch.equal(data["target"][..., 1], torch.from_numpy(swe.values[335:731]))
    config["model"]["output_unit"] = "m3/s"
    evaluated = HydroLoader(pure(config, flow_regime="high"), store=store).eval_dataset
    converted = evaluated["obs_convert_fn"](evaluated["target"])
    assert torch.equal(converted[..., 1], evaluated["target"][..., 1])
    assert not torch.allclose(converted[..., 0], evaluated["target"][..., 0], equal_nan=True)
    z = HydroLoader(config, store=store).train_dataset["target"][30:]
    assert torch.allclose(z.nanmean(dim=(0, 1)), torch.zeros(2), atol=1e-4)
    with pytest.raises(DataError, match="no series 'swe'"):
        _ = HydroLoader(config, store=sample).train_dataset


def test_one_site_and_large_batches_work(config, tmp_path):
    (tmp_path / "one.txt").write_text("S004")
    config["observations"]["subset_path"] = str(tmp_path / "one.txt")
    config["train"]["batch_size"] = 100
    data = HydroLoader(config).train_dataset
    sites, iterations, steps = create_training_grid(data["xc_nn_norm"], config)
    assert (sites, iterations) == (1, 1)
    batch = HydroSampler(config).get_training_sample(data, sites, steps)
    assert batch["target"].shape == (60, 100, 1)
    assert torch.isfinite(batch["xc_nn_norm"]).all()


def test_fingerprint_is_that_of_the_data(config, sample):
    one = HydroLoader(config).fingerprint()
    assert HydroLoader(config, store=sample).fingerprint() == one
    sample["prcp"].values[600, 0] += 1
    assert HydroLoader(config, store=sample).fingerprint() != one


def test_text_files(tmp_path):
    (tmp_path / "a.json").write_text(json.dumps(json.dumps({"nse": [1]})))
    (tmp_path / "b.txt").write_text("01013500\n2\n")
    assert load_json(tmp_path / "a.json") == {"nse": [1]}
    assert txt_to_array(tmp_path / "b.txt").tolist() == [1013500, 2]
    (tmp_path / "c.json").write_text("{")
    with pytest.raises(DataError, match=r"not JSON[\s\S]*c\.json"):
        load_json(tmp_path / "c.json")
    with pytest.raises(DataError, match="no such file"):
        txt_to_array(tmp_path / "none.txt")


def test_statistics_file_of_the_loader_is_that_of_normalisation(config, tmp_path):
    loader = HydroLoader(config)
    _ = loader.train_dataset
    assert Normalisation.load(tmp_path / "out/model/normalization_statistics.json") == loader.normalisation
