import json

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from dmg.core.data.normalisation import Normalisation, describe, inverse_log_sqrt, log_sqrt
from dmg.core.data.target_scale import TargetScale
from dmg.errors import DataError

amounts = arrays(np.float64, st.integers(3, 40), elements=st.floats(0, 500, width=32))


@given(amounts)
def test_log_sqrt_has_an_inverse(x):
    assert np.allclose(inverse_log_sqrt(log_sqrt(x)), x, rtol=1e-9, atol=1e-9)
    y = torch.from_numpy(x)
    assert torch.allclose(inverse_log_sqrt(log_sqrt(y)), y, rtol=1e-9, atol=1e-9)


def test_inverse_of_less_than_nothing_is_nothing():
    # Squaring would turn a very low prediction into a high flow.
    assert inverse_log_sqrt(np.array([-5.0, -1.0])).max() == 0
    assert inverse_log_sqrt(torch.tensor([-5.0])).item() == pytest.approx(0)


@settings(max_examples=50)
@given(amounts, st.booleans())
def test_normalised_values_have_mean_0_and_std_1_and_come_back(x, skewed):
    x = np.append(x, [0.0, 400.0])
    norm = Normalisation.fit({"v": x}, log=["v"] if skewed else [])
    z = norm.apply("v", x)
    assert z.mean() == pytest.approx(0, abs=1e-6)
    assert z.std() == pytest.approx(1, abs=1e-6)
    assert np.allclose(norm.invert("v", z), x, rtol=1e-6, atol=1e-6)


def test_statistics_are_percentiles_mean_and_population_std_without_nan():
    assert describe(np.array([1.0, 2.0, 3.0, np.nan])) == pytest.approx([1.2, 2.8, 2.0, np.sqrt(2 / 3)])


def test_std_of_a_constant_is_floored():
    assert describe(np.full(5, 3.0))[3] == 0.001


def test_missing_values_stay_missing():
    norm = Normalisation.fit({"v": np.array([1.0, np.nan, 3.0])})
    assert np.isnan(norm.apply("v", np.array([np.nan, 2.0]))).tolist() == [True, False]


def test_a_variable_without_values_is_named():
    with pytest.raises(DataError, match="'v' has no value at the training sites"):
        Normalisation.fit({"v": np.array([np.nan])})


def test_negative_amounts_cannot_be_log_normalised():
    with pytest.raises(DataError, match=r"'prcp' has negative values \(least -2\)"):
        Normalisation.fit({"prcp": np.array([1.0, -2.0])}, log=["prcp"])


def test_file_has_the_published_layout_and_comes_back(tmp_path):
    norm = Normalisation.fit({"a": np.arange(9.0), "b": np.arange(3.0)}, log=["a"], about={"sites": 3})
    norm.save(tmp_path / "model" / "n.json")
    content = json.loads((tmp_path / "model" / "n.json").read_text())
    assert content["b"] == norm.statistics["b"]
    again = Normalisation.load(tmp_path / "model" / "n.json")
    assert again.statistics == norm.statistics
    assert again.log == {"a"}
    assert again.about["sites"] == 3


def test_published_file_without_notes_is_read(tmp_path):
    (tmp_path / "n.json").write_text('{"prcp": [0, 1, 0.5, 2]}')
    norm = Normalisation.load(tmp_path / "n.json", log=["prcp"])
    assert norm.log == {"prcp"}
    assert norm.lacks(["prcp"], ["prcp"]) == []


@pytest.mark.parametrize("text", ["", "[1]", '{"a": [1, 2]}', '{"a": "x"}'])
def test_damaged_file_is_an_error_that_names_it(tmp_path, text):
    (tmp_path / "n.json").write_text(text)
    with pytest.raises(DataError, match=r"n\.json"):
        Normalisation.load(tmp_path / "n.json")


def test_what_does_not_fit_is_said(tmp_path):
    norm = Normalisation.fit({"a": np.arange(9.0)}, log=["a"], about={"log": ["a"], "units": {"a": "degC"}})
    assert norm.lacks(["a", "b"], ["a"]) == ["no statistics of 'b'"]
    assert norm.lacks(["a"]) == ["'a' was log-normalised"]
    assert norm.changed_units({"a": "K"}) == {"a": "K"}
    assert norm.changed_units({"a": "celsius", "z": "m"}) == {}


def test_target_scale_undoes_division_and_normalisation_and_converts():
    flow = np.abs(np.random.default_rng(0).normal(2, 1, (50, 2)))
    plain = TargetScale(("q",), divisors={"q": np.array([2.0, 4.0])})
    norm = Normalisation.fit({"q": plain.inverse(flow, "q")}, log=["q"])
    scale = TargetScale(("q",), {"q": np.array([10.0, 1.0])}, {"q": np.array([2.0, 4.0])}, norm)
    z = scale.inverse(flow, "q")
    assert z.mean() == pytest.approx(0, abs=1e-9)
    for values in (z, torch.from_numpy(z)):
        assert np.allclose(scale(values), flow * [10.0, 1.0])
        assert np.allclose(scale(values[..., None])[..., 0], flow * [10.0, 1.0])


def test_target_scale_treats_each_target_as_its_own():
    scale = TargetScale(("q", "e"), factors={"q": np.array([10.0])})
    assert scale(np.ones((3, 1, 2)))[0, 0].tolist() == [10.0, 1.0]
    assert scale(np.ones((3, 1)), "e").max() == 1.0
    with pytest.raises(DataError, match="3 columns for the 2 targets"):
        scale(np.ones((3, 1, 3)))
    with pytest.raises(DataError, match="'x' is not a target"):
        scale(np.ones((3, 1)), "x")


def test_target_scale_of_other_sites_is_refused():
    scale = TargetScale(("q",), factors={"q": np.array([10.0, 20.0])})
    with pytest.raises(DataError, match="values of 1 sites, the dataset has 2"):
        scale(np.ones((3, 1)))
    assert scale.select_sites(slice(1, 2))(np.ones((3, 1))).max() == 20.0
