"""The NextGen example: one catchment, five, five in one component; all of it is the run over the period."""

import json

import numpy as np
import pytest
import xarray as xr

import dmg
from dmg.core.data.dataset import open_dataset
from example.nextgen.host import main
from example.nextgen.prepare import CATCHMENTS, HERE, START, daily, prepare

DAYS = 8
RUNOFF = "land_surface_water__runoff_depth"

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    made = prepare(tmp_path_factory.mktemp("nextgen"), days=DAYS)
    for path in made.glob("realization_*.json"):
        realization = json.loads(path.read_text())
        realization["time"]["end_time"] = f"{START + DAYS - 1} 23:00:00"
        path.write_text(json.dumps(realization))
    return made


@pytest.fixture(scope="module")
def results(folder):
    """Runoff of every hour [T, N], by how it was run, from the CF files."""
    found = {}
    for name, words in {
        "one": ["realization_one.json"],
        "five": ["realization_five.json"],
        "together": ["realization_five.json", "--together"],
    }.items():
        main([str(folder / words[0]), *words[1:], "--out", str(folder / name)])
        with xr.open_dataset(folder / name / "catchments.nc", engine="h5netcdf") as ds:
            found[name] = ds[RUNOFF].values.T, list(ds["site_id"].values)
    return found


def test_five_components_are_one_of_five_and_the_one(results):
    assert results["five"][1] == results["together"][1] == CATCHMENTS
    assert results["five"][0].shape == (24 * DAYS, 5)
    np.testing.assert_allclose(results["together"][0], results["five"][0], rtol=1e-5)
    np.testing.assert_array_equal(results["one"][0][:, 0], results["five"][0][:, 0])
    assert np.ptp(results["five"][0], axis=0).min() > 0


def test_the_days_are_those_of_the_model_run_over_the_period(folder, results):
    """PET from one component, the rest by the hour: as the batch run of the days with the same PET."""
    from hydrodl2.data.sample_hourly import generate_hourly_sample

    hours = generate_hourly_sample(sites=5, start="2000-10-01", end=str(START + DAYS - 1), gaps=False)
    days = daily(hours.assign_coords(site=CATCHMENTS))
    run = dmg.load_run(folder / "model" / "hbv_ep5.safetensors", device="cpu")
    for i, catchment in enumerate(CATCHMENTS):
        text = (folder / "bmi" / f"dmg_{catchment}.yaml").read_text()
        known = {line.split(":")[0].strip(): line.split(":")[1].strip() for line in text.splitlines() if ":" in line}
        for name in run.config.model.nn.attributes:
            if i == 0:
                days[name] = "site", np.zeros(5, dtype=np.float32), {"units": hours[name].attrs["units"]}
            days[name][i] = float(known[name])
    expected = run.predict(days)["streamflow"].values
    shown = results["five"][0][23::24] * 1000.0 * 24.0
    np.testing.assert_allclose(shown, expected, rtol=2e-4)  # forcing files have nine digits, CF files float32


def test_tables_are_those_of_nextgen(folder, results):
    lines = (folder / "five" / "cat-3.csv").read_text().splitlines()
    assert lines[0].startswith(f"Time Step,Time,{RUNOFF},channel_exit")
    assert lines[1].startswith("0,2001-10-01 00:00:00,")
    assert len(lines) == 24 * DAYS + 1
    flow = [float(line.split(",")[2]) for line in lines[1:]]
    np.testing.assert_allclose(flow, results["five"][0][:, 2], rtol=1e-5)


def test_what_is_shipped_is_small_and_the_same_everywhere(folder):
    assert sum(p.stat().st_size for p in HERE.rglob("*") if p.is_file() and "__pycache__" not in p.parts) < 80_000
    five = (HERE / "bmi" / "dmg_five.yaml").read_text()
    for catchment in CATCHMENTS:
        text = (HERE / "bmi" / f"dmg_{catchment}.yaml").read_text()
        assert text[text.index("  - id") :] in five
    assert open_dataset(folder / "spin_up.nc").sizes["time"] == 365
