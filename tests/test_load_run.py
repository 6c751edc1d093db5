"""A finished run is all that is needed to use its model."""

import shutil

import numpy as np
import pytest
import torch
import xarray as xr
from small_run import small_config, small_store

import dmg
from dmg.core.data.dataset import write_dataset
from dmg.errors import DataError, RunError
from dmg.trainers import Trainer


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """Return the folder of a run that was trained and evaluated, moved afterwards."""
    folder = tmp_path_factory.mktemp("run")
    trainer = Trainer(small_config(folder, train__epochs=2, model__use_log_norm=["prcp"]))
    trainer.train()
    trainer.evaluate()
    moved = folder / "elsewhere"
    shutil.move(folder / "out", moved)
    # The data of the training are not needed either.
    (folder / "store.nc").rename(folder / "archived.nc")
    return moved


def test_run_knows_its_configuration_scores_and_model(finished):
    run = dmg.load_run(finished)
    assert run.config.model.nn.hidden_size == 8
    assert run.epoch == 2
    assert run.metrics["held"]["streamflow"]["all"]["nse"]["n"] == 5
    assert len(run.site_metrics["last"]["streamflow"]["kge"]) == 5
    assert run.record["training"]["epochs"] == 2
    assert not run.model.training
    assert "epoch 2" in repr(run)


def test_prediction_equals_the_simulation_of_the_run(finished):
    run = dmg.load_run(finished)
    store = small_store().sel(time=slice("2000-10-22", "2001-02-03"))
    predicted = run.predict(store, outputs=["streamflow"])
    xr.testing.assert_allclose(
        predicted.streamflow, run.simulation.streamflow.astype(object).astype("f4"), rtol=1e-5, atol=1e-6
    )
    assert predicted.streamflow.attrs["units"] == "mm d-1"
    last = run.predict(store, outputs=["streamflow"], static="last")
    assert not np.allclose(last.streamflow, predicted.streamflow, rtol=1e-6)


def test_prediction_of_other_sites_matches_variables_by_name_and_unit(finished, tmp_path):
    run = dmg.load_run(finished)
    store = small_store().drop_vars(["streamflow", "AET_hydro", "true_parBETA"])
    expected = run.predict(store)
    other = store[list(reversed(list(store.data_vars)))].isel(site=[3, 1])
    other = other.assign_coords(site=["new_a", "new_b"])
    other["prcp"] = other["prcp"] / 1000
    other["prcp"].attrs["units"] = "m d-1"
    path = write_dataset(other, tmp_path / "other.zarr")
    for source in (other, path, str(path)):
        found = run.predict(source, batch_size=1)
        assert found.site.values.tolist() == ["new_a", "new_b"]
        np.testing.assert_allclose(found.streamflow.values, expected.streamflow.values[:, [3, 1]], rtol=1e-4, atol=1e-5)
    assert len(found.time) == 390
    assert "SWE" in found


def test_hourly_record_that_ends_at_midnight_is_predicted_to_its_end(finished):
    hours = np.datetime64("2000-01-01", "ns") + np.arange(49).astype("timedelta64[h]")
    predicted = dmg.load_run(finished).predict(small_store(days=49).assign_coords(time=hours), outputs=["streamflow"])
    assert predicted.time.values[[0, -1]].tolist() == hours[[10, 48]].tolist()


def test_missing_variable_is_named(finished):
    run = dmg.load_run(finished)
    with pytest.raises(DataError, match="no series 'pet'"):
        run.predict(small_store().drop_vars("pet"))
    with pytest.raises(DataError, match="'slope'"):
        run.predict(small_store().drop_vars("slope"))


def test_record_not_longer_than_the_warmup_is_refused(finished):
    with pytest.raises(DataError, match="the warm-up alone takes 10"):
        dmg.load_run(finished).predict(small_store().isel(time=slice(0, 10)))


def test_epoch_can_be_chosen(finished):
    first, last = dmg.load_run(finished, epoch=1), dmg.load_run(finished)
    pairs = zip(first.model.parameters(), last.model.parameters(), strict=True)
    assert first.epoch == 1
    assert any(not torch.equal(a, b) for a, b in pairs)
    with pytest.raises(RunError, match="no weights of epoch 7"):
        _ = dmg.load_run(finished, epoch=7).model


def test_no_run_and_unfinished_run_say_what_is_missing(tmp_path):
    with pytest.raises(RunError, match="no run in this directory"):
        dmg.load_run(tmp_path)
    config = small_config(tmp_path, train__epochs=1)
    Trainer(config).train()
    run = dmg.load_run(tmp_path / "out")
    with pytest.raises(RunError, match="not evaluated"):
        _ = run.metrics
    with pytest.raises(RunError, match="no simulation"):
        _ = run.simulation
    Trainer(config | {"mode": "sim"}).inference()
    assert run.simulation.sizes["time"] == 62
