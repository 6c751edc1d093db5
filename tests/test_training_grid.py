import pytest
import torch

from dmg.core.data import create_training_grid
from dmg.errors import DataError


def settings(config, rho, warmup, batch, **train):
    config["model"] |= {"rho": rho, "warmup": warmup}
    config["train"] |= {"batch_size": batch, "start_time": "1991/10/01", "end_time": "1993/09/30"} | train
    return config


@pytest.mark.parametrize(
    ("sites", "steps", "batch", "rho", "warmup", "expected"),
    [(531, 3288, 100, 365, 365, 194), (671, 5478, 100, 365, 365, 431), (12, 731, 8, 60, 60, 75)],
)
def test_published_numbers(config, sites, steps, batch, rho, warmup, expected):
    # A stride-less tensor has the shape without the memory.
    x = torch.zeros(()).expand(steps, sites, 3)
    assert create_training_grid(x, settings(config, rho, warmup, batch)) == (sites, expected, steps)


def test_iterations_override_the_formula(config):
    x = torch.zeros(731, 12, 3)
    assert create_training_grid(x, settings(config, 60, 60, 8, iterations=5))[1] == 5


@pytest.mark.parametrize("sites", [1, 2])
def test_few_sites_and_a_large_batch_make_one_iteration(config, sites):
    assert create_training_grid(torch.zeros(100, sites, 3), settings(config, 60, 30, 100))[1] == 1


def test_window_longer_than_the_record_counts_as_the_record(config):
    x = torch.zeros(100, 50, 3)
    assert create_training_grid(x, settings(config, 365, 30, 10)) == create_training_grid(
        x, settings(config, 70, 30, 10)
    )


def test_the_last_day_counts(config):
    # One day more to draw from is one day more to cover.
    config = settings(config, 365, 0, 1)
    counts = [create_training_grid(torch.zeros(()).expand(days, 400, 1), config)[1] for days in (366, 367)]
    assert counts[1] > counts[0]


def test_dataset_and_number_of_sites_may_be_given(config):
    config = settings(config, 60, 60, 8)
    x = torch.zeros(731, 12, 3)
    assert create_training_grid({"x_nn_norm": x}, config) == create_training_grid(x, config)
    assert create_training_grid(x, config, n_samples=6)[0] == 6


def test_record_shorter_than_the_warmup_is_an_error_with_both(config):
    with pytest.raises(DataError, match="20 time steps, the warm-up alone takes 30"):
        create_training_grid(torch.zeros(20, 3, 3), settings(config, 60, 30, 8))
