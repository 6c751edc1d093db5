"""A trained model as a BMI component: it goes on by one step at a time as a run over all of them does."""

import numpy as np
import pytest
from bmi_case import WARMUP, component, read, supply, trained, write_case
from small_run import small_store

import dmg

SITES = ["s3", "s1"]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return trained(tmp_path_factory.mktemp("bmi"))


@pytest.mark.parametrize("sites", [["s2"], SITES])
def test_streaming_equals_the_run_over_the_period(run, tmp_path, sites):
    store = small_store().sel(site=sites).isel(time=slice(0, 60))
    expected = dmg.load_run(run).predict(store, outputs=["streamflow", "SM"])
    bmi = component(write_case(tmp_path, run, sites, spin_up=WARMUP + 10))
    flow, soil = [], []
    for step in range(WARMUP + 10, 60):
        supply(bmi, store, step)
        bmi.update()
        flow.append(read(bmi, "land_surface_water__runoff_depth") * 1000)
        soil.append(read(bmi, "soil_water__depth") * 1000)
    np.testing.assert_allclose(flow, expected["streamflow"].values[10:], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(soil, expected["SM"].values[10:], rtol=1e-5, atol=1e-6)
    assert bmi.get_current_time() == 40 * 86400.0
