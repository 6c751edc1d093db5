import numpy as np
import pytest
import torch

from dmg.core.data.batch import Batch
from dmg.core.data.target_scale import TargetScale
from dmg.errors import DataError

DAYS = np.arange("2000-01-01", "2000-01-11", dtype="datetime64[D]")


@pytest.fixture
def batch():
    generator = torch.Generator().manual_seed(0)
    values = {
        "x_phy": torch.rand(10, 3, 2, generator=generator),
        "x_nn_norm": torch.rand(10, 3, 2, generator=generator),
        "c_nn_norm": torch.rand(3, 4, generator=generator),
        "target": torch.rand(10, 3, 1, generator=generator),
        "muwts": torch.rand(3, 5, generator=generator),
        "scale": TargetScale(("q",), factors={"q": np.array([1.0, 2.0, 3.0])}),
        "note": "kept",
    }
    return Batch(
        values,
        sites=["a", "b", "c"],
        times=DAYS,
        names={"x_nn_norm": ("prcp", "tmean"), "c_nn_norm": ("p", "q", "r", "s"), "x_phy": ("prcp", "tmean")},
        units={"prcp": "mm d-1"},
        holdout=np.array([False, True, False]),
    )


def test_network_input_is_joined_forcings_first_and_never_stored(batch):
    joined = batch["xc_nn_norm"]
    assert joined.shape == (10, 3, 6)
    assert torch.equal(joined[..., :2], batch["x_nn_norm"])
    assert all(torch.equal(joined[t, :, 2:], batch["c_nn_norm"]) for t in range(10))
    assert "xc_nn_norm" not in batch.stored()
    assert batch.names["xc_nn_norm"] == ("prcp", "tmean", "p", "q", "r", "s")


def test_network_input_follows_what_it_is_made_of(batch):
    batch["x_nn_norm"] = torch.zeros(10, 3, 2)
    assert batch["xc_nn_norm"][..., :2].abs().sum() == 0
    batch["xc_nn_norm"] = torch.ones(10, 3, 6)
    assert batch["xc_nn_norm"].min() == 1


def test_without_attributes_the_network_input_is_the_forcings():
    x = torch.rand(4, 2, 3)
    assert torch.equal(Batch({"x_nn_norm": x, "c_nn_norm": torch.empty(2, 0)})["xc_nn_norm"], x)
    assert torch.equal(Batch({"x_nn_norm": x})["xc_nn_norm"], x)


def test_it_is_a_mapping(batch):
    assert set(batch) == {*batch.stored(), "xc_nn_norm"}
    assert len(batch) == len(list(batch))
    assert "xc_nn_norm" in dict(batch)
    del batch["note"]
    assert batch.get("note") is None
    assert batch != Batch(batch.stored())
    with pytest.raises(KeyError):
        batch["nothing"]


@pytest.mark.parametrize("sites", [["c", "a"], [2, 0], np.array([2, 0])])
def test_sites_are_selected_by_id_or_position_in_the_order_asked_for(batch, sites):
    part = batch.select(sites=sites)
    assert part.sites == ["c", "a"]
    assert torch.equal(part["x_phy"], batch["x_phy"][:, [2, 0]])
    assert torch.equal(part["muwts"], batch["muwts"][[2, 0]])
    assert torch.equal(part["xc_nn_norm"], batch["xc_nn_norm"][:, [2, 0]])
    assert part["scale"].factors["q"].tolist() == [3.0, 1.0]
    assert part["note"] == "kept"
    assert part.holdout.tolist() == [False, False]


def test_sites_are_selected_by_mask(batch):
    assert batch.select(sites=batch.holdout).sites == ["b"]


def test_unknown_site_is_named(batch):
    with pytest.raises(DataError, match="not in this dataset: zz"):
        batch.select(sites=["a", "zz"])


def test_times_are_selected_by_date_with_both_ends(batch):
    part = batch.select(times=slice("2000/01/03", "2000-01-05"))
    assert part.times.tolist() == DAYS[2:5].tolist()
    assert torch.equal(part["target"], batch["target"][2:5])
    assert part["c_nn_norm"].shape == (3, 4)


def test_dates_outside_are_an_error_with_the_record(batch):
    with pytest.raises(DataError, match="2000-01-01 to 2000-01-10"):
        batch.select(times=slice("2001-01-01", "2001-02-01"))


@pytest.mark.parametrize("rows", [slice(2, 7), slice(5, None), [2, 6, 8], slice(0, 4)])
def test_a_target_without_the_warmup_stays_aligned(batch, rows):
    whole = batch["target"]
    batch["target"] = whole[4:]
    part = batch.select(times=rows)
    kept = np.arange(10)[rows]
    assert torch.equal(part["target"], whole[kept[kept >= 4]])
    assert part["x_phy"].shape[0] == len(kept)


def test_one_site_and_one_day_keep_their_dimensions(batch):
    part = batch.select(sites=slice(0, 1), times=slice(0, 1))
    assert part["x_phy"].shape == (1, 1, 2)
    assert part["xc_nn_norm"].shape == (1, 1, 6)
    assert (part.n_times, part.n_sites) == (1, 1)


def test_fingerprint_depends_on_values_names_sites_and_times(batch):
    same = Batch(
        {k: v.clone() if hasattr(v, "clone") else v for k, v in batch.stored().items()},
        sites=batch.sites,
        times=batch.times,
        names=batch.names,
        units=batch.units,
    )
    assert same.fingerprint() == batch.fingerprint()
    same["x_phy"][0, 0, 0] += 1
    assert same.fingerprint() != batch.fingerprint()
    assert batch.select(sites=["b", "a", "c"]).fingerprint() != batch.fingerprint()
    assert batch.select(times=slice(0, 9)).fingerprint() != batch.fingerprint()


def test_to_and_map_keep_everything_else(batch):
    moved = batch.to("cpu").map_tensors(torch.Tensor.double)
    assert moved["x_phy"].dtype == torch.float64
    assert moved.sites == batch.sites
    assert moved["note"] == "kept"
    assert moved.holdout.tolist() == batch.holdout.tolist()
