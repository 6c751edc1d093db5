"""The commands of docs/data.md run as they are printed."""

import pickle
import re
import shlex
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from dmg.core.data.command import main
from dmg.core.data.dataset import open_dataset

PAGE = Path(__file__).parents[1] / "docs" / "data.md"
SHARED = Path(__file__).parents[2] / "shared" / "data"
BLOCKS = re.findall(r"<!-- run -->\n```bash\n(.*?)```", PAGE.read_text(encoding="utf-8"), flags=re.DOTALL)
COMMANDS = [line for block in BLOCKS for line in block.splitlines()]
DAYS = pd.date_range("2000-01-01", "2000-12-31", freq="D")
IDS = ["01013500", "02051500"]


@pytest.fixture
def files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    rain, flow = rng.gamma(0.5, 6.0, (2, len(DAYS), 2))
    names = {"rain": (rain, "mm/day"), "tmin": (rain * 0 + 3, "degC"), "tmax": (rain * 0 + 12, "degC")}
    variables = {n: (("date", "basin"), v, {"units": u}) for n, (v, u) in names.items()}
    xr.Dataset(variables, coords={"date": DAYS, "basin": IDS}).to_netcdf("raw.nc", engine="h5netcdf")
    Path("attributes").mkdir()
    Path("attributes/topo.txt").write_text("gauge_id;gauge_lat;area_gages2\n02051500;36;100\n01013500;47;200\n")
    Path("sites.txt").write_text("02051500\n01013500\n")
    frame = pd.DataFrame({"STAID": np.tile(IDS, len(DAYS)), "Date": np.repeat(DAYS, 2), "Q": flow.ravel()})
    frame.to_csv("series.csv", index=False)
    pd.DataFrame(rain, columns=IDS).assign(date=DAYS).to_csv("wide.csv", index=False)
    arrays = np.stack([rain.T, rain.T], 2), flow.T[:, :, None], np.ones((2, 1))
    Path("published.pkl").write_bytes(pickle.dumps(arrays))
    np.save("gages.npy", np.array([1013500, 2051500]))
    return tmp_path


def test_every_printed_command_runs(files, capsys):
    ran = 0
    for line in COMMANDS:
        program, data, *argv = shlex.split(line)
        assert (program, data) == ("dmg", "data")
        if "CAMELS_US" in argv:
            if not SHARED.exists():
                continue
            places = {"CAMELS_US": "camels_us_raw_sample"}
            places["CAMELS_ATTRIBUTES"] = "camels_us_maurer_ext/camels_attributes_v2.0"
            argv = [str(SHARED / places[word]) if word in places else word for word in argv]
        assert main(argv) == 0, f"{line}\n{capsys.readouterr().err}"
        ran += 1
        if argv[0] != "info":
            open_dataset(argv[1 if argv[0] == "national" else 2], require_units=True).close()
    assert ran >= 6
    assert list(open_dataset("camels.nc")["site"].values) == ["02051500", "01013500"]
