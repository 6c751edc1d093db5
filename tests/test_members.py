"""Ensembles: one state forked into many, members beside each other in a batch, and their score."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from small_run import small_store

from dmg.core.calc.crps import crps
from dmg.core.data.members import as_members, by_member, member_ids
from dmg.engine import ModelState
from dmg.errors import DataError
from dmg.models.delta_models import DeltaState
from dmg.models.full_state import FullState


def test_members_lie_beside_each_other_and_come_back():
    ds = small_store(3, days=4)
    ensemble = as_members(ds, 2)
    assert ensemble.site.values.tolist() == ["s0/0", "s1/0", "s2/0", "s0/1", "s1/1", "s2/1"]
    assert ensemble.realization.values.tolist() == [0, 0, 0, 1, 1, 1]
    changed = ensemble["prcp"].values.reshape(4, 2, 3)
    changed[:, 1] *= 2
    back = by_member(ensemble.assign(prcp=ensemble["prcp"].copy(data=changed.reshape(4, 6))))
    assert back["prcp"].dims == ("realization", "time", "site")
    np.testing.assert_array_equal(back["prcp"].sel(realization=0), ds["prcp"])
    np.testing.assert_array_equal(back["prcp"].sel(realization=1), 2 * ds["prcp"])
    np.testing.assert_array_equal(back["area"].isel(realization=1), ds["area"])
    assert back["prcp"].attrs["units"] == "mm d-1"


def test_a_state_is_forked_by_site():
    state = FullState(
        {
            "Hbv": DeltaState(
                network=(torch.arange(6.0).reshape(1, 2, 3),),
                static=torch.arange(4.0).reshape(2, 2),
                process=ModelState({"SM": torch.tensor([[1.0], [2.0]])}, {"flow": torch.tensor([[3.0, 4.0]])}),
            )
        },
        ["a", "b"],
        np.datetime64("2000-01-01"),
        np.timedelta64(1, "D"),
        {},
    )
    forked = state.fork(3)
    assert forked.sites == ["a/0", "b/0", "a/1", "b/1", "a/2", "b/2"]
    assert forked.time == state.time
    found = forked.models["Hbv"]
    assert found.process.stores["SM"].ravel().tolist() == [1, 2] * 3
    assert found.process.routing["flow"].tolist() == [[3, 4] * 3]
    assert found.static.tolist() == [[0, 1], [2, 3]] * 3
    assert found.network[0].shape == (1, 6, 3)
    assert state.fork(1).models["Hbv"].static.tolist() == [[0, 1], [2, 3]]


def test_what_is_no_ensemble_is_refused():
    with pytest.raises(DataError, match="an ensemble of 0 members"):
        member_ids(["a"], 0)
    ds = as_members(small_store(2, days=3), 2)
    with pytest.raises(DataError, match="not those of an ensemble, member after member"):
        by_member(ds.isel(site=[1, 0, 2, 3]))
    with pytest.raises(ValueError, match="1 members are too few"):
        crps(np.ones((1, 3)), np.ones(3), fair=True)


@given(st.integers(1, 12), st.booleans(), st.integers(0, 100))
def test_crps_is_its_definition(size, fair, seed):
    fair = fair and size > 1
    rng = np.random.default_rng(seed)
    x, y = rng.normal(size=(size, 5)), rng.normal(size=5)
    pairs = np.abs(x[:, None] - x[None]).sum((0, 1)) / (size * (size - 1 if fair else size))
    np.testing.assert_allclose(crps(x, y, fair=fair), np.abs(x - y).mean(0) - 0.5 * pairs, atol=1e-12)


def test_crps_of_many_draws_is_that_of_their_distribution():
    """Of a standard normal at 0 it is (√2 − 1)/√π (Gneiting et al. 2005)."""
    x = np.random.default_rng(0).normal(size=(4000, 1))
    expected = (math.sqrt(2) - 1) / math.sqrt(math.pi)
    assert crps(x, np.zeros(1)).item() == pytest.approx(expected, abs=0.02)
    assert np.isnan(crps(x, np.array([np.nan]))).all()
    np.testing.assert_array_equal(crps([[2.0], [2.0]], [3.0]), [1.0])
