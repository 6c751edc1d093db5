import json

import numpy as np
import pytest
import torch

from dmg.core.data.batch import Batch
from dmg.core.data.samplers import HydroSampler
from dmg.errors import DataError, RunError

WARMUP, RHO, STEPS, SITES = 5, 10, 40, 6


@pytest.fixture
def config(config):
    config["model"] |= {"warmup": WARMUP, "rho": RHO}
    config["train"]["batch_size"] = 16
    return config


@pytest.fixture
def dataset():
    """Values say where they come from: 100 · site + step."""
    value = (torch.arange(STEPS)[:, None] + 100.0 * torch.arange(SITES))[..., None]
    static = 100.0 * torch.arange(SITES)[:, None]
    return Batch(
        {"x_phy": value, "x_nn_norm": value + 0.5, "c_nn_norm": static, "c_phy": static, "target": value.clone()},
        sites=[f"s{i}" for i in range(SITES)],
        times=np.datetime64("2000-01-01") + np.arange(STEPS),
    )


def draw(sampler, dataset, times=200):
    return [sampler.get_training_sample(dataset, SITES, STEPS) for _ in range(times)]


def test_windows_hold_the_steps_of_their_site(config, dataset):
    batch = HydroSampler(config).get_training_sample(dataset, SITES, STEPS)
    assert batch["x_phy"].shape == (WARMUP + RHO, 16, 1)
    assert batch["target"].shape == (RHO, 16, 1)
    assert batch["xc_nn_norm"].shape == (WARMUP + RHO, 16, 2)
    first = batch["x_phy"][0, :, 0]
    steps = torch.arange(WARMUP + RHO)[:, None]
    assert torch.equal(batch["x_phy"][..., 0], first + steps)
    assert torch.equal(batch["target"][..., 0], first + steps[WARMUP:])
    assert torch.equal(batch["c_nn_norm"][:, 0], 100.0 * torch.from_numpy(batch["batch_sample"]))
    assert batch["batch_sample"].dtype == np.int64
    assert batch.sites == [f"s{i}" for i in batch["batch_sample"]]
    starts = (first - batch["c_phy"][:, 0]).numpy().astype(int)
    assert (batch.times[0] == dataset.times[starts]).all()


def test_every_legal_start_is_drawn_the_last_one_included(config, dataset):
    starts = torch.cat([b["target"][0, :, 0] % 100 for b in draw(HydroSampler(config), dataset)])
    assert sorted(set(starts.tolist())) == list(range(WARMUP, STEPS - RHO + 1))


def test_a_stride_leaves_out_the_starts_between(config, dataset):
    config["train"]["stride"] = 7
    starts = torch.cat([b["target"][0, :, 0] % 100 for b in draw(HydroSampler(config), dataset)])
    assert sorted(set(starts.tolist())) == list(range(WARMUP, STEPS - RHO + 1, 7))


def test_starts_and_sites_are_drawn_evenly(config, dataset):
    batches = draw(HydroSampler(config), dataset, 400)
    starts = torch.cat([b["target"][0, :, 0] % 100 for b in batches]).long().numpy() - WARMUP
    sites = np.concatenate([b["batch_sample"] for b in batches])
    for drawn, kinds in ((starts, STEPS - RHO - WARMUP + 1), (sites, SITES)):
        expected = len(drawn) / kinds
        # Chi-squared with `kinds - 1` degrees of freedom; the bound is five standard deviations away.
        score = ((np.bincount(drawn, minlength=kinds) - expected) ** 2 / expected).sum()
        assert score < kinds - 1 + 5 * np.sqrt(2 * (kinds - 1))


def test_windows_without_any_target_are_drawn_again(config, dataset):
    dataset["target"][WARMUP : STEPS - 3, :4] = torch.nan
    dataset["target"][:, 4] = torch.nan
    for batch in draw(HydroSampler(config), dataset, 50):
        assert (~torch.isnan(batch["target"])).any(dim=0).all()
        assert 4 not in batch["batch_sample"]


def test_one_target_of_two_is_enough(config, dataset):
    target = dataset["target"].repeat(1, 1, 2)
    target[..., 0] = torch.nan
    dataset["target"] = target
    assert draw(HydroSampler(config), dataset, 1)[0]["target"].shape == (RHO, 16, 2)


def test_hopelessly_sparse_targets_are_an_error_that_names_the_sites_without(config, dataset, monkeypatch):
    monkeypatch.setattr("dmg.core.data.samplers.hydro_sampler.MAX_TRIES", 1)
    dataset["target"][:, :5] = torch.nan
    with pytest.raises(DataError, match=r"no window of 10 steps .* without any are 5 of 6 sites: s0, s1, s2, s3, s4"):
        HydroSampler(config).get_training_sample(dataset, SITES, STEPS)


def test_draws_depend_on_the_seed_only(config, dataset):
    torch.manual_seed(1)
    np.random.seed(1)  # noqa: NPY002
    one = draw(HydroSampler(config), dataset, 3)
    torch.manual_seed(2)
    np.random.seed(2)  # noqa: NPY002
    other = draw(HydroSampler(config), dataset, 3)
    assert all(torch.equal(a["x_phy"], b["x_phy"]) for a, b in zip(one, other, strict=True))
    config["seed"] = 8
    assert not torch.equal(draw(HydroSampler(config), dataset, 1)[0]["x_phy"], one[0]["x_phy"])


def test_state_continues_exactly_and_fits_into_json(config, dataset):
    sampler = HydroSampler(config)
    draw(sampler, dataset, 2)
    state = json.loads(json.dumps(sampler.state_dict()))
    expected = draw(sampler, dataset, 2)
    again = HydroSampler(config)
    again.load_state_dict(state)
    got = draw(again, dataset, 2)
    assert all(torch.equal(a["x_phy"], b["x_phy"]) for a, b in zip(expected, got, strict=True))
    with pytest.raises(RunError, match="not the state"):
        again.load_state_dict({"generator": {"bit_generator": "nonsense"}})


def test_record_shorter_than_the_window_is_the_window(config, dataset):
    short = dataset.select(times=slice(0, WARMUP + 4))
    batch = HydroSampler(config).get_training_sample(short, SITES, WARMUP + 4)
    assert batch["target"].shape[0] == 4
    with pytest.raises(DataError, match="the warm-up alone takes 5"):
        HydroSampler(config).get_training_sample(short, SITES, WARMUP)


def test_one_site_keeps_its_dimension(config, dataset):
    batch = HydroSampler(config).get_training_sample(dataset.select(sites=[3]), 1, STEPS)
    assert batch["x_phy"].shape == (WARMUP + RHO, 16, 1)
    assert batch["target"].min() >= 300


def test_validation_sample_is_some_sites_over_all_steps(config, dataset):
    part = HydroSampler(config).get_validation_sample(dataset, 2, 4)
    assert part.sites == ["s2", "s3"]
    assert part["x_phy"].shape == (STEPS, 2, 1)


def test_a_plain_dict_does_as_well(config, dataset):
    plain = dataset.stored()
    sampler, other = HydroSampler(config), HydroSampler(config)
    one, two = sampler.get_training_sample(plain, SITES, STEPS), other.get_training_sample(dataset, SITES, STEPS)
    assert torch.equal(one["xc_nn_norm"], two["xc_nn_norm"])
    assert sampler.get_validation_sample(plain, 0, 2)["target"].shape == (STEPS, 2, 1)
