"""The command line: what it runs, what it says when it cannot, and its exit codes."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr
import yaml
from safetensors.torch import load_file

from dmg import __version__, cli
from dmg.errors import DataError
from dmg.registry import trainers

FAKE = ["trainer=FakeTrainer"]


class Calls(list):
    """What the fake trainer was asked for, and what it shall raise."""

    error: BaseException | None = None


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Calls:
    """A trainer that only notes what is asked of it, in an empty folder."""
    trainers.names()
    monkeypatch.setattr(trainers, "_found", dict(trainers._found))
    monkeypatch.chdir(tmp_path)
    noted = Calls()

    @trainers.register("FakeTrainer")
    class FakeTrainer:
        def __init__(self, config: Any, verbose: bool = False) -> None:
            self.config = config

        def train(self) -> None:
            noted.append("train")
            model = Path(self.config.model_dir)
            model.mkdir(parents=True, exist_ok=True)
            (model / "hbv_ep1.safetensors").write_bytes(b"")
            if noted.error is not None:
                raise noted.error

        def evaluate(self) -> None:
            noted.append("evaluate")
            Path(self.config.output_dir).mkdir(parents=True, exist_ok=True)
            (Path(self.config.output_dir) / "metrics.json").write_text("{}")

        def inference(self) -> None:
            noted.append("inference")

    return noted


def run(*words: str) -> int:
    return cli.main([*words])


def process(*words: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "dmg", *words]
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=120)


def test_train_test_runs_both_in_a_dated_folder(calls: Calls, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert run(*FAKE) == 0
    assert calls == ["train", "evaluate"]
    folder = next((tmp_path / "output/LstmModel-Hbv/runs").iterdir())
    assert folder.name.startswith("run-2")
    assert f"results: output/LstmModel-Hbv/runs/{folder.name}" in capsys.readouterr().out
    assert Path.cwd() == tmp_path


def test_a_run_leaves_the_arithmetic_of_its_process_as_it_was(calls: Calls):
    import torch

    denormal = torch.tensor(1e-310, dtype=torch.float64)
    assert run(*FAKE) == 0
    assert float(denormal * 0.5) > 0


def test_two_unnamed_runs_have_two_folders(calls: Calls, tmp_path: Path):
    assert [run(*FAKE, "mode=train") for _ in range(2)] == [0, 0]
    assert len(list((tmp_path / "output/LstmModel-Hbv/runs").iterdir())) == 2


def test_modes(calls: Calls):
    assert run(*FAKE, "mode=train", "exp_name=one") == 0
    assert run(*FAKE, "mode=test", "exp_name=one") == 0
    assert run(*FAKE, "mode=sim", "pretrained_model_dir=output/LstmModel-Hbv/experiments/one/model") == 0
    assert calls == ["train", "evaluate", "inference"]


def test_named_results_are_not_overwritten_unasked(calls: Calls, capsys: pytest.CaptureFixture[str]):
    assert run(*FAKE, "mode=train", "exp_name=one") == 0
    asked = len(calls)
    assert run(*FAKE, "mode=train", "exp_name=one") == 1
    message = capsys.readouterr().err
    assert "has results already: model" in message
    assert "overwrite=true" in message
    assert len(calls) == asked
    assert run(*FAKE, "mode=test", "exp_name=one") == 0
    assert run(*FAKE, "mode=test", "exp_name=one") == 1
    assert run(*FAKE, "mode=test", "exp_name=one", "overwrite=true") == 0


@pytest.mark.parametrize("allowed", ["overwrite=true", "train.resume=true", "train.start_epoch=1"])
def test_named_results_may_be_overwritten_or_continued(calls: Calls, allowed: str):
    Path("out").mkdir()
    Path("out/metrics.json").write_text("{}")
    assert run(*FAKE, "mode=train", "output_dir=out") == 1
    assert run(*FAKE, "mode=train", "output_dir=out", allowed) == 0


def test_overwriting_leaves_no_weights_of_the_earlier_training(calls: Calls, capsys: pytest.CaptureFixture[str]):
    assert run(*FAKE, "output_dir=out") == 0
    Path("out/model/hbv_ep9.safetensors").write_bytes(b"")
    Path("out/notes.txt").write_text("mine")
    own = "pretrained_model_dir=out/model"
    assert run(*FAKE, "output_dir=out", "mode=train", "overwrite=true", own) == 2
    assert "would remove the weights" in capsys.readouterr().err
    assert run(*FAKE, "output_dir=out", "mode=train", "overwrite=true") == 0
    assert sorted(p.name for p in Path("out").rglob("*") if p.is_file()) == ["hbv_ep1.safetensors", "notes.txt"]


def test_a_trained_run_is_tested_and_simulated_with_its_own_settings(
    calls: Calls, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    """One command, from wherever the run lies now; what is given on the command line comes last."""
    assert run("config", "show", *FAKE, "model.nn.hidden_size=7", "output_dir=old", "overwrite=true") == 0
    (tmp_path / "moved/model").mkdir(parents=True)
    (tmp_path / "moved/model/hbv_ep1.safetensors").write_bytes(b"")
    (tmp_path / "moved/config.yaml").write_text(capsys.readouterr().out)
    assert run("mode=sim", "output_dir=moved", "sim.start_time=2001/01/01", "sim.end_time=2001/12/31") == 0
    said = capsys.readouterr()
    assert said.err == "settings of moved/config.yaml\n"
    assert "hidden size 7" in said.out
    assert "simulation     2001/01/01 to 2001/12/31" in said.out
    assert "results: moved/sim\n" in said.out
    assert run("mode=test", "pretrained_model_dir=moved/model", "exp_name=again") == 0
    assert "results: output/LstmModel-Hbv/experiments/again\n" in capsys.readouterr().out
    assert calls == ["inference", "evaluate"]
    (tmp_path / "moved/sim").mkdir()
    (tmp_path / "moved/sim/simulation.nc").write_bytes(b"")
    assert run("mode=sim", "output_dir=moved") == 1
    message = capsys.readouterr().err
    assert "moved has results already: sim/simulation.nc" in message
    assert "choose another sim_dir, or set overwrite=true" in message
    assert run("mode=sim", "output_dir=moved", "sim_dir=moved/dry") == 0
    # A configuration that is named is the one that counts.
    assert run(*FAKE, "--config-name", "default", "mode=test", "output_dir=moved") == 0
    assert "hidden size 64" in capsys.readouterr().out


def test_a_test_without_weights_says_where_to_get_them(calls: Calls, capsys: pytest.CaptureFixture[str]):
    assert run(*FAKE, "mode=test") == 2
    message = capsys.readouterr().err
    assert "needs trained weights" in message
    assert "pretrained_model_dir=" in message
    assert run(*FAKE, "mode=test", "pretrained_model_dir=nowhere") == 2
    assert "there is no folder nowhere" in capsys.readouterr().err
    assert not calls
    assert not list(Path().iterdir())


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["train.batchsize=3"], ["unknown key 'train.batchsize'", "did you mean 'train.batch_size'"]),
        (["trian.lr=3"], ["unknown key 'trian.lr'", "did you mean 'train.lr'"]),
        (["train.lr.value=3"], ["'train.lr' is a value"]),
        (["model.nn.name=Lstm"], ["unknown name 'Lstm'", "LstmModel"]),
        (["observations=camel_531"], ["'camel_531'", "did you mean 'camels_531'"]),
        (["train.lr=1,2"], ["several runs"]),
        (["train.lr=fast"], ["train.lr", "'fast'"]),
        (["train.lr=${nowhere}"], ["nowhere"]),
        (["train.lr=["], ["cannot be read"]),
        (["hydra.run.dir=x"], ["output_dir="]),
        (["--multirun", "train.lr=1"], ["one call is one run"]),
        (["--config-name", "defualt"], ["no configuration 'defualt'", "did you mean 'default'"]),
        (["--config-name", "conf/mine.yaml"], ["there is no file conf/mine.yaml"]),
        (["--config-path", "nowhere"], ["there is no folder"]),
        (["confg", "show"], ["neither a sub-command nor an override", "did you mean 'config'"]),
        (["test.start_time=1970/01/01"], ["test.start_time 1970/01/01", "1988/10/01"]),
        (["model.rho=9000"], ["model.rho 9000", "does not fit"]),
    ],
)
def test_usage_errors_are_one_clear_message(
    words: list[str], expected: list[str], capsys: pytest.CaptureFixture[str], tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    assert run(*words) == 2
    message = capsys.readouterr().err
    assert message.startswith("error: ")
    assert "Traceback" not in message
    assert all(word in message for word in expected), message
    assert not list(tmp_path.iterdir())


def test_data_errors_end_the_run_with_1(calls: Calls, capsys: pytest.CaptureFixture[str]):
    calls.error = DataError("NaN in 'prcp'", where="store.nc", hint="fill it")
    assert run(*FAKE) == 1
    assert capsys.readouterr().err == "error: NaN in 'prcp'\n  where: store.nc\n  hint: fill it\n"


def test_interrupted_run_says_how_to_go_on(calls: Calls, capsys: pytest.CaptureFixture[str]):
    calls.error = KeyboardInterrupt()
    assert run(*FAKE, "train.lr=0.1", "output_dir=out") == 130
    message = capsys.readouterr().err
    assert f"resume with: dmg {' '.join(FAKE)} train.lr=0.1 output_dir=out train.resume=true" in message
    calls.error = None
    words = message.split("resume with: dmg ")[1].split()
    Path("out/model/hbv_ep1.safetensors").unlink()
    Path("out/model").rmdir()
    assert run(*words) == 0


def test_a_folder_that_cannot_be_written_is_refused_before_any_work(
    calls: Calls, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    Path("notes.txt").write_text("mine")
    for folder in ("notes.txt", "notes.txt/out"):
        assert run(*FAKE, f"output_dir={folder}") == 1
        message = capsys.readouterr().err
        assert (
            message == f"error: notes.txt is a file\n  where: output_dir: {folder}\n  hint: choose another output_dir\n"
        )
    Path("locked").mkdir()
    monkeypatch.setattr("os.access", lambda path, mode: Path(path).name != "locked")
    assert run(*FAKE, "output_dir=locked/out") == 1
    assert "error: locked may not be written\n" in capsys.readouterr().err
    assert not calls


def test_what_the_system_refuses_is_one_line_with_the_path(calls: Calls, capsys: pytest.CaptureFixture[str]):
    calls.error = PermissionError(errno.EACCES, "Permission denied", "out/model")
    assert run(*FAKE) == 1
    message = capsys.readouterr().err
    assert message == "error: Permission denied: out/model\n  hint: correct the path, or choose another\n"


def test_full_disk_names_the_file(calls: Calls, capsys: pytest.CaptureFixture[str]):
    calls.error = OSError(errno.ENOSPC, "No space left on device", "out/model/hbv_ep1.safetensors")
    assert run(*FAKE) == 1
    message = capsys.readouterr().err
    assert "the disk is full: out/model/hbv_ep1.safetensors" in message
    assert "Traceback" not in message


def test_full_disk_that_a_library_reports_in_words(calls: Calls, capsys: pytest.CaptureFixture[str]):
    calls.error = RuntimeError("I/O error: No space left on device (os error 28)")
    assert run(*FAKE) == 1
    assert "the disk is full" in capsys.readouterr().err


def test_a_defect_keeps_its_traceback(calls: Calls, capsys: pytest.CaptureFixture[str]):
    calls.error = ZeroDivisionError("a defect")
    assert run(*FAKE) == 1
    message = capsys.readouterr().err
    assert "Traceback" in message
    assert "ZeroDivisionError: a defect" in message


def test_overrides_reach_keys_that_no_file_has(capsys: pytest.CaptureFixture[str]):
    words = ["valid.start_time=1998/10/01", "valid.end_time=1999/09/30", "train.optimizer.weight_decay=1e-4"]
    assert run("config", "show", *words, "train.loss_function.eps=0.2", "model.warm_up=30", "~sim") == 0
    shown = yaml.safe_load(capsys.readouterr().out)
    assert shown["valid"]["every"] == 1
    assert shown["train"]["optimizer"] == {"name": "Adam", "weight_decay": 1e-4}
    assert shown["train"]["loss_function"]["eps"] == 0.2
    assert shown["model"]["warmup"] == 30
    assert shown["sim"] is None


def test_what_is_shown_is_what_a_user_would_write(capsys: pytest.CaptureFixture[str]):
    derived = {"output_dir", "model_dir", "plot_dir", "sim_dir", "log_dir", "train_time", "all_time"}
    assert run("config", "show") == 0
    text = capsys.readouterr().out
    assert text.startswith("# Saved in a file, `dmg --config-name FILE.yaml` runs it.\n")
    shown = yaml.safe_load(text)
    assert not derived & set(shown)
    assert shown["device"] == "auto"
    assert "warmup" not in shown["model"]["phy"]
    assert run("config", "show", "output_dir=mine", "plot_dir=figures", "device=cpu") == 0
    shown = yaml.safe_load(capsys.readouterr().out)
    assert (shown["output_dir"], shown["plot_dir"], shown["device"]) == ("mine", "figures", "cpu")
    assert "model_dir" not in shown


def test_a_users_own_folder_with_packaged_groups(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    (tmp_path / "observations").mkdir()
    packaged = Path(cli.__file__).parent / "conf"
    (tmp_path / "mine.yaml").write_text((packaged / "default.yaml").read_text().replace("epochs: ", "epochs: 4"))
    (tmp_path / "observations/own.yaml").write_text("name: own\nstart_time: 1980/01/01\nend_time: 2020/12/31\n")
    assert run("config", "show", "--config-path", str(tmp_path), "--config-name", "mine", "observations=own") == 0
    assert yaml.safe_load(capsys.readouterr().out)["observations"]["name"] == "own"
    assert run("config", "show", "-cn", str(tmp_path / "mine.yaml"), "observations=camels_671") == 0
    assert yaml.safe_load(capsys.readouterr().out)["observations"]["name"] == "camels_671"


def test_what_is_shown_can_be_run_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert run("config", "show", "train.epochs=3") == 0
    first = capsys.readouterr().out
    (tmp_path / "again.yaml").write_text(first)
    assert run("config", "show", "-cn", str(tmp_path / "again.yaml")) == 0
    assert capsys.readouterr().out == first


def test_broken_yaml_names_the_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    (tmp_path / "broken.yaml").write_text("train: {lr: 1\nmodel: [")
    assert run("-cn", str(tmp_path / "broken.yaml")) == 2
    assert "broken.yaml" in capsys.readouterr().err


def test_help_and_version_import_no_torch(tmp_path: Path):
    code = (
        "import sys\nfrom dmg.cli import main\ntry:\n    main(['--help'])\nexcept SystemExit as done:\n"
        "    print(done.code, [m for m in ('torch', 'hydra', 'pydantic') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout.splitlines()[-1] == "0 []"
    assert "--config-name" in done.stdout
    assert process("--version", cwd=tmp_path).stdout.strip() == f"dmg {__version__}"


def test_the_process_ends_with_the_exit_code(tmp_path: Path):
    done = process("train.batchsize=3", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr == "error: unknown key 'train.batchsize'\n  hint: did you mean 'train.batch_size'?\n"
    assert not list(tmp_path.iterdir())


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of four sites and three years, and the configuration of a small run on it."""
    folder = tmp_path_factory.mktemp("store")
    draw = np.random.default_rng(0)
    times = pd.date_range("1990-10-01", "1993-09-30")
    units = {"prcp": "mm/d", "tmean": "degC", "pet": "mm/d", "streamflow": "mm/d"}
    series = {
        k: (("time", "site"), draw.random((len(times), 4), "float32") * 5, {"units": u}) for k, u in units.items()
    }
    static = {"p_mean": ("site", np.arange(4, dtype="float32"), {"units": "mm/d"})}
    coords = {"time": times, "site": list("abcd")}
    xr.Dataset({**series, **static}, coords).to_netcdf(folder / "store.nc", engine="h5netcdf")
    forcings = ["prcp", "tmean", "pet"]
    tree = {
        "name": "small",
        "train": {"start_time": "1991/10/01", "end_time": "1993/09/30", "target": "streamflow", "lr": 0.01}
        | {"loss_function": "RmseLoss", "batch_size": 2, "epochs": 500, "iterations": 1},
        "test": {"start_time": "1990/10/01", "end_time": "1991/09/30", "batch_size": 4},
        "model": {
            "rho": 10,
            "warmup": 5,
            "phy": {"name": "Hbv", "forcings": forcings},
            "nn": {"name": "LstmModel", "hidden_size": 4, "forcings": forcings, "attributes": ["p_mean"]},
        },
        "observations": {"name": "own", "data_path": str(folder / "store.nc")},
    }
    (folder / "small.yaml").write_text(yaml.safe_dump(tree))
    return folder / "small.yaml"


def test_interrupted_process_leaves_whole_files_and_can_be_resumed(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    words = [sys.executable, "-m", "dmg", "-cn", str(store), "mode=train", "output_dir=out"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    started = subprocess.Popen(words, cwd=tmp_path, env=environment, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 60
    while not list(tmp_path.glob("out/model/hbv_ep3.*")) and time.monotonic() < deadline:
        time.sleep(0.05)
    started.send_signal(signal.SIGINT)
    _, message = started.communicate(timeout=60)
    assert started.returncode == 130, message
    assert "interrupted; resume with: dmg " in message
    assert "Traceback" not in message
    saved = sorted(tmp_path.glob("out/model/*_ep*"))
    for path in saved:
        assert load_file(path), path
    assert {path.suffix for path in tmp_path.glob("out/model/*")} == {".safetensors", ".json"}
    epoch = max(int(path.stem.rpartition("_ep")[2]) for path in saved)
    again = message.split("resume with: dmg ")[1].split()
    monkeypatch.chdir(tmp_path)
    assert run(*again, f"train.epochs={epoch + 2}") == 0
    assert f"epoch {epoch + 2}/{epoch + 2}" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "code", "expected"),
    [
        (["observations.data_path=nowhere.nc"], 1, ["nowhere.nc", "dmg data"]),
        (["train.target=flow"], 1, ["'flow'", "streamflow"]),
        (["train.start_time=1980/01/01"], 1, ["1980-01-01", "1990-10-01"]),
        (["device=cuda:99"], 2, ["cuda:99", "device=auto"]),
    ],
)
def test_what_only_the_data_or_the_machine_show(
    store: Path, words: list[str], code: int, expected: list[str], tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    assert run("-cn", str(store), "mode=train", *words) == code
    message = capsys.readouterr().err
    assert message.startswith("error: ")
    assert all(word in message for word in expected), message
    assert not list(tmp_path.iterdir())


def test_data_of_the_test_are_read_before_the_training(store: Path, tmp_path, monkeypatch, capsys):
    """Hours of training are not lost to a gap in the years of the test, and nothing is written."""
    monkeypatch.chdir(tmp_path)
    with xr.open_dataset(store.parent / "store.nc", engine="h5netcdf") as data:
        data["pet"][50:60, 1] = np.nan
        data.to_netcdf(tmp_path / "gap.nc", engine="h5netcdf")
    assert run("-cn", str(store), "observations.data_path=gap.nc", "output_dir=out") == 1
    message = capsys.readouterr().err
    assert "forcing 'pet' is missing at b (1990-11-20..1990-11-29)" in message
    assert "where: gap.nc; observations.max_gap: 3" in message
    assert not Path("out").exists()


def test_missing_store_is_explained_by_the_process(tmp_path: Path):
    done = process("--config-name", "camels_531", cwd=tmp_path)
    assert done.returncode == 1
    assert done.stderr.startswith("error: ")
    assert "observations.data_path=" in done.stderr
    assert "dmg data" in done.stderr
    assert not list(tmp_path.iterdir())
