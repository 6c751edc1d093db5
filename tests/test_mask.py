"""Masks by site and time: what counts in training and evaluation, and what the rest must not change."""

from pathlib import Path

import numpy as np
import pytest
import torch

from dmg.core.data.loaders import HydroLoader
from dmg.core.data.samplers import HydroSampler
from dmg.errors import DataError

PERIODS = """\
end,start,site
1992-03-31,1992-01-01,S002
1992-08-31,1992-08-01,S002
1992-09-30,1991-10-01,S005
1992-09-30,1991-10-01,elsewhere
"""


@pytest.fixture
def masked(config, tmp_path):
    (tmp_path / "mask.csv").write_text(PERIODS)
    config["train"]["mask"] = str(tmp_path / "mask.csv")
    return config


def expected(data):
    """What the table says, worked out day by day."""
    days = data.times.astype("datetime64[D]").astype(str)
    counts = np.zeros((len(days), data.n_sites), bool)
    counts[:, data.sites.index("S002")] = [
        "1992-01-01" <= d <= "1992-03-31" or "1992-08-01" <= d <= "1992-08-31" for d in days
    ]
    counts[:, data.sites.index("S005")] = [d >= "1991-10-01" for d in days]
    return counts


def test_a_table_leaves_the_periods_of_its_sites(masked):
    data = HydroLoader(masked).train_dataset
    del masked["train"]["mask"]
    whole = HydroLoader(masked).train_dataset
    counts = torch.from_numpy(expected(data))
    assert torch.isnan(data["target"][..., 0][~counts]).all()
    assert torch.equal(data["target"][..., 0][counts].nan_to_num(-1), whole["target"][..., 0][counts].nan_to_num(-1))
    assert torch.equal(data["x_phy"], whole["x_phy"])  # inputs are whole: they carry the state between the periods


def test_every_window_has_an_observation_that_counts(masked):
    masked["model"]["rho"] = 20
    data = HydroLoader(masked).train_dataset
    sampler = HydroSampler(masked)
    drawn = set()
    for _ in range(20):
        batch = sampler.get_training_sample(data, data.n_sites, data.n_times)
        assert torch.isfinite(batch["target"]).any(dim=0).all()
        drawn |= set(batch.sites)
    assert drawn == {"S002", "S005"}


def test_statistics_know_nothing_of_what_is_masked(masked, sample):
    masked["model"] |= {"phy": None, "flow_regime": "high"}
    masked["train"]["loss_function"] = {"name": "NseBatchLoss"}
    before = HydroLoader(masked, store=sample)
    counts = expected(before.dataset.select(times=slice("1991-10-01", "1992-09-30")))
    inside = slice(365, 365 + 366)
    assert str(sample.time.values[inside][0])[:10] == "1991-10-01"
    for name in ("prcp", "tmean", "pet", "streamflow"):
        values = sample[name].values[inside]
        sample[name].values[inside] = np.where(counts, values, 100 + 2 * np.abs(values))
    after = HydroLoader(masked, store=sample)
    assert before.normalisation.statistics == after.normalisation.statistics
    del masked["train"]["mask"]
    assert HydroLoader(masked, store=sample).normalisation.statistics != after.normalisation.statistics


def test_statistics_are_taken_anew_for_another_mask(masked, tmp_path):
    first = HydroLoader(masked)
    _ = first.train_dataset  # writes them
    Path(masked["train"]["mask"]).write_text("site,start,end\nS001,1991-10-01,1992-09-30\n")
    assert HydroLoader(masked).normalisation.statistics != first.normalisation.statistics


def test_a_variable_of_the_store_masks_the_evaluation(config, sample):
    counts = np.zeros(sample["prcp"].shape, np.float32)
    counts[800:900, 3] = 1
    counts[900:, 4] = np.nan
    sample["extreme"] = (("time", "site"), counts, {"units": "1"})
    config["test"]["mask"] = "extreme"
    loader = HydroLoader(config, store=sample)
    known = torch.isfinite(loader.eval_dataset["target"][..., 0])
    assert known.any(dim=0).tolist() == [i == 3 for i in range(8)]
    assert known.sum() <= 100
    assert torch.isfinite(loader.train_dataset["target"]).any(dim=0).all()


@pytest.mark.parametrize(
    ("mask", "message"),
    [
        ("nothing", r"'nothing' is neither a file nor a variable[\s\S]*train.mask[\s\S]*site, start, end"),
        ("site,start\nS001,1992-01-01\n", "no column end"),
        ("site,start,end\nX,1992-01-01,1992-02-01\n", "none of the 8 sites in use; it has X"),
        ("site,start,end\nS001,1992-01-01,soon\n", r"'1992-01-01' to 'soon' is no period[\s\S]*line 2"),
        ("site,start,end\nS001,1980-01-01,1980-02-01\n", r"the mask leaves no step[\s\S]*train.mask"),
    ],
)
def test_masks_that_cannot_be_say_why(config, tmp_path, mask, message):
    path = tmp_path / "mask.csv"
    if "\n" in mask:
        path.write_text(mask)
    config["train"]["mask"] = str(path) if "\n" in mask else mask
    with pytest.raises(DataError, match=message):
        _ = HydroLoader(config).train_dataset


def test_a_forcing_that_ends_too_early_says_when(config, sample):
    sample["prcp"].values[1000:] = np.nan
    with pytest.raises(DataError, match=r"'prcp' ends on 1993-06-26 at every site, the period goes to 1993-09-30"):
        _ = HydroLoader(config, store=sample).eval_dataset
