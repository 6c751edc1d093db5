"""What the pages say can be done: commands name existing keys, code runs, the own-data example works."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import xarray as xr
from small_run import no_plots, small_config, small_store  # noqa: F401

from dmg.cli import SUBCOMMANDS, main
from dmg.conf.compose import check_key, compose
from dmg.conf.experiment import Experiment, read_experiment
from dmg.core.data.dataset import write_dataset
from dmg.trainers import Trainer
from hydrodl2.data.sample import generate_sample

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
SMALL = ["model.rho=30", "model.warmup=30", "model.nn.hidden_size=4", "model.phy.nmul=1"]
SMALL += ["train.epochs=1", "train.iterations=1", "train.batch_size=4", "device=cpu"]


def blocks(page, language):
    return re.findall(rf"```{language}\n(.*?)```", page.read_text(encoding="utf-8"), flags=re.DOTALL)


def commands():
    """Words of every run of ``dmg`` on a page, sub-commands apart."""
    for page in PAGES:
        for block in blocks(page, "bash"):
            for line in block.replace("\\\n", " ").splitlines():
                words = shlex.split(line, comments=True)
                if words[:1] == ["dmg"] and not SUBCOMMANDS.keys() & set(words[1:2]):
                    yield pytest.param(words[1:], id=f"{page.stem}: {' '.join(words)[:60]}")


@pytest.mark.parametrize("words", list(commands()))
def test_commands_use_keys_and_files_that_exist(words):
    overrides = [word for word in words if "=" in word]
    for override in overrides:
        key, _, value = override.partition("=")
        if key == "experiment":
            read_experiment(value)
        elif key.startswith("experiment."):
            check_key(key.removeprefix("experiment."), Experiment)
        else:
            check_key(key)
    rest = [word for word in words if "=" not in word]
    assert rest[:1] in ([], ["--config-name"], ["--version"])
    if rest[:1] == ["--config-name"] and not rest[1].endswith(".yaml"):
        compose(rest[1], None, overrides)


def test_processes_that_shall_be_offline_are(tmp_path, offline, monkeypatch):
    monkeypatch.setenv("DMG_TEST_FORBIDDEN", str(tmp_path))
    (tmp_path / "data.txt").write_text("1")
    asks = {
        f"open({str(tmp_path / 'data.txt')!r})": "this must run without",
        "import socket; socket.create_connection(('192.0.2.1', 80), 1)": "this must run without network",
        "import urllib.request as u; u.urlopen('http://example.org')": "this must run without network",
    }
    for code, text in asks.items():
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
        assert done.returncode == 1
        assert text in done.stderr


CODE = [
    ("architecture", "from dmg.registry import losses; networks.get('TwoLayers'), losses.get('HuberLoss')"),
    (
        "adding_a_process_model",
        "from dmg.testing import LAWS\n"
        "for law in LAWS: law(TwoStores)\n"
        "assert flow.shape == (100, 5, 1) and 'streamflow' in summary['held']",
    ),
    (
        "routing",
        "assert discharge.shape == (30, 4) and share.grad.abs().min() > 0 and inflow.grad.isfinite().all()",
    ),
    ("couplings", "assert 'streamflow' in summary['held']"),
    ("your_own_equations", "assert abs(float(diffusivity) / 0.0398631 - 1.0) < 1e-3"),
    ("how_to_run", "from pathlib import Path; assert Path('output/in_python/metrics.json').exists()"),
    (
        "uncertainty",
        "assert ensemble.sizes['realization'] == together.sizes['realization'] == 10\n"
        "assert 0 < scores['crps']['median'] < scores['mae']['median']\n"
        "assert abs(float(coverage(low, high, observed[past:]).mean()) - 0.9) < 0.1",
    ),
]
"""Pages whose code runs by itself, and what must be true after it."""
OF_A_RUN = ("state", "assimilation", "data")
"""Pages whose code uses a trained run and what the pages before it left."""
ELSEWHERE = {"README": "test_readme.py", "forecasts": "test_forecast.py"}


def test_no_page_has_code_that_is_never_run():
    with_code = {page.stem for page in PAGES if blocks(page, "python")}
    assert with_code == {*(page for page, _ in CODE), *OF_A_RUN, *ELSEWHERE}


@pytest.mark.slow
@pytest.mark.parametrize(("page", "check"), CODE)
def test_code_runs(page, check, tmp_path, offline):
    """In a process of its own, because the examples register plug-ins."""
    code = blocks(ROOT / "docs" / f"{page}.md", "python")
    if page == "how_to_run":  # what it says of a trained run is another test's
        code = [block for block in code if "load_run(" not in block]
    (tmp_path / "page.py").write_text("\n".join([*code, check]), encoding="utf-8")
    done = subprocess.run([sys.executable, "page.py"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_code_about_a_trained_run_runs(tmp_path, offline):
    """One page after the other, in a folder with a run and a record that goes on after today."""
    store = small_store()
    Trainer(small_config(tmp_path, train__epochs=1, output_dir=str(tmp_path / "output/mine"))).train()
    write_dataset(store, tmp_path / "camels.nc")
    write_dataset(store.isel(time=slice(None, 380)), tmp_path / "until_today.nc")
    write_dataset(store.isel(time=slice(380, None)), tmp_path / "forecast.nc")
    code = "\n".join(block for page in OF_A_RUN for block in blocks(ROOT / "docs" / f"{page}.md", "python"))
    code = code.replace("2009-01-01", str(store["time"].values[379])[:10])
    (tmp_path / "pages.py").write_text(code + OF_A_RUN_CHECK, encoding="utf-8")
    done = subprocess.run([sys.executable, "pages.py"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


OF_A_RUN_CHECK = """
assert (analysis.cost < analysis.cost_before).all()
assert found.nse(found.forecast).shape == (10, 5)
assert forecast.sizes["time"] == 20
import xarray
xarray.open_dataset("forecast_cf.nc"), xarray.open_zarr("two.zarr")
"""


def test_own_data_and_the_trained_model_later(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    sample = generate_sample(sites=6, start="1996-01-01", end="2004-12-31")
    static = [name for name in sample if sample[name].dims == ("site",) and not name.startswith("true_")]
    store = sample[["prcp", "tmean", "pet", "streamflow", *static]]
    store.to_netcdf("my_basins.nc", engine="h5netcdf")
    store.drop_vars("streamflow").isel(site=[2, 0]).to_netcdf("new_basins.nc", engine="h5netcdf")
    page = ROOT / "docs" / "how_to_run.md"
    (text,) = blocks(page, "yaml")
    Path("my_run.yaml").write_text(text, encoding="utf-8")

    assert main(["--config-name", "my_run.yaml", *SMALL, "output_dir=output/mine"]) == 0
    (code,) = (block for block in blocks(page, "python") if "load_run(" in block)
    names = {}
    exec(compile(code, page.name, "exec"), names)
    assert names["flow"].dims == ("time", "site")
    assert names["flow"].attrs["units"] == "mm d-1"
    assert names["flow"].site.values.tolist() == store.site.values[[2, 0]].tolist()

    period = ["sim.start_time=1999/10/01", "sim.end_time=2000/09/30"]
    assert main(["mode=sim", "output_dir=output/mine", *period]) == 0
    with xr.open_dataset("output/mine/sim/simulation.nc") as simulated:
        assert simulated.sizes["time"] == 366
    capsys.readouterr()
