"""Weights in a file, and series at a coarser interval."""

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file

from dmg.core import timestep_resample
from dmg.core.utils import save_model
from dmg.errors import DataError, RunError


def test_weights_are_written_under_the_published_name(tmp_path):
    model = torch.nn.Linear(3, 2)
    path = save_model(tmp_path / "model", model, "Hbv", 5)
    assert path == tmp_path / "model" / "hbv_ep5.safetensors"
    found = load_file(path)
    assert set(found) == {"weight", "bias"}
    assert torch.equal(found["weight"], model.weight)


def test_weights_need_a_folder(tmp_path):
    with pytest.raises(RunError, match="no such folder"):
        save_model(tmp_path / "nowhere", torch.nn.Linear(1, 1), "Hbv", 1, make_dir=False)


@pytest.fixture
def days():
    return pd.date_range("2001-01-01", "2001-02-28")


@pytest.mark.parametrize("kind", [np.asarray, torch.as_tensor], ids=["array", "tensor"])
def test_arrays_are_resampled_in_their_kind_and_type(days, kind):
    series = kind(np.ones((59, 3, 1), dtype=np.float32) * np.arange(3, dtype=np.float32)[:, None])
    coarse = timestep_resample(series, "M", "sum", times=days.to_numpy())
    assert type(coarse) is type(series)
    assert coarse.dtype == series.dtype
    np.testing.assert_array_equal(np.asarray(coarse)[..., 0], [[0, 31, 62], [0, 28, 56]])


def test_an_interval_without_values_is_missing(days):
    frame = pd.DataFrame({"time": days, "q": np.where(days.month == 1, np.nan, 2.0)})
    for method in ("mean", "sum"):
        assert timestep_resample(frame, "monthly", method)["q"].isna().tolist() == [True, False]


def test_what_cannot_be_resampled(days):
    with pytest.raises(DataError, match="did you mean 'mean'"):
        timestep_resample(np.ones(59), "M", "maen", times=days)
    with pytest.raises(DataError, match="59 steps but no times"):
        timestep_resample(np.ones(59))
    with pytest.raises(DataError, match="no times"):
        timestep_resample(pd.Series([1.0, 2.0]))
