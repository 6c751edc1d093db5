"""Zarr groups in the published layout of units, of both formats."""

import numpy as np
import pytest
import torch
import zarr
from small_units import UNITS, unit_store, units_config

from dmg.core.data.loaders import MsHydroLoader
from dmg.errors import DataError


def write_group(path, zarr_format, days=120):
    store = unit_store(days)
    group = zarr.open_group(path, mode="w", zarr_format=zarr_format)
    for name in ("prcp", "tmean", "pet"):
        group.create_array(name, data=np.ascontiguousarray(store[name].values.T), chunks=(3, 50))
    group.create_array("COMID", data=np.arange(101, 101 + len(UNITS)))
    about = group.create_group("attrs")
    for name in ("area", "upstream", "elevation"):
        about.create_array(name, data=store[name].values)
    return store


def group_config(folder, **changes):
    given = {"observations__data_path": str(folder / "group"), "observations__subbasin_id_name": "COMID"}
    given |= {"observations__start_time": "2001/01/01", "observations__topology_path": None, "mode": "sim"}
    given |= {"observations__gauge_path": None, "pretrained_model_dir": None}
    given |= {"observations__reach_length_name": None, "observations__reach_slope_name": None}
    return units_config(folder, **given | changes)


@pytest.mark.parametrize("zarr_format", [2, 3])
@pytest.mark.parametrize("max_memory", [4.0, 1e-6])
def test_a_group_is_read_as_a_canonical_store_is(tmp_path, zarr_format, max_memory):
    store = write_group(tmp_path / "group", zarr_format)
    loader = MsHydroLoader(group_config(tmp_path, observations__max_memory=max_memory))
    batch = loader.eval_dataset
    assert batch.sites == [str(i) for i in range(101, 101 + len(UNITS))]
    assert isinstance(batch["x_phy"], torch.Tensor) == (max_memory > 1)
    part = batch.select(sites=[5, 1, 2], times=slice(3, 60)).to("cpu")
    first = int(np.searchsorted(store["time"].values, batch.times[3]))
    wanted = store["prcp"].values[first : first + 57][:, [5, 1, 2]]
    np.testing.assert_allclose(part["x_phy"][..., 0], wanted, rtol=1e-6)
    np.testing.assert_allclose(part["elev_all"], store["elevation"].values[[5, 1, 2]])


def test_what_a_group_does_not_say_is_asked_for(tmp_path):
    write_group(tmp_path / "group", 2)
    with pytest.raises(DataError, match="nothing says which array has the ids"):
        MsHydroLoader(group_config(tmp_path, observations__subbasin_id_name=None))
    with pytest.raises(DataError, match="has no array 'COMIDS'"):
        MsHydroLoader(group_config(tmp_path, observations__subbasin_id_name="COMIDS"))
    with pytest.raises(DataError, match="the group has no time axis"):
        MsHydroLoader(group_config(tmp_path, observations__start_time=None))
