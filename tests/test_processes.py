"""Several processes give what one gives: training, validation, evaluation, resuming."""

import csv
import os
import subprocess
import sys

import numpy as np
import pytest
import torch
import xarray as xr
import yaml
from safetensors.torch import load_file
from small_run import small_config

from dmg.cli import main
from dmg.core.utils import processes
from dmg.engine.site_share import SiteShare, dropout_by_site, rand_by_site, sharing_sites
from dmg.errors import ConfigError

# Everything that draws or has a state: dropped weights, dropped dynamics, clipping, a validation, an odd batch.
CHANGES = {
    "train__epochs": 2,
    "train__batch_size": 5,
    "train__accumulate": 2,
    "train__grad_clip": 0.5,
    "train__iterations": 3,
    "train__loss_function": {"name": "RmseCombLoss"},
    "model__phy__dy_drop": 0.5,
    "model__nn__dropout": 0.4,
    "valid": {"start_time": "2000/09/01", "end_time": "2000/10/31"},
}


def torchrun(*words, n=2):
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={n}", "-m", "dmg"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    return subprocess.run([*command, *words], capture_output=True, text=True, check=False, env=environment)


def file_of(folder, config):
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump(config), encoding="utf-8")
    return str(path)


@pytest.mark.slow
def test_two_processes_give_what_one_gives(tmp_path, monkeypatch):
    monkeypatch.setattr("dmg.trainers.trainer.draw_evaluation", lambda *_: None)
    monkeypatch.setattr("dmg.trainers.trainer.draw_loss", lambda *_: None)
    path = file_of(tmp_path, small_config(tmp_path, **CHANGES))
    assert main(["--config-name", path, f"output_dir={tmp_path}/one"]) == 0
    done = torchrun("--config-name", path, f"output_dir={tmp_path}/two")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("results:") == 1

    for epoch in (1, 2):
        one, two = (load_file(tmp_path / name / f"model/hbv_ep{epoch}.safetensors") for name in ("one", "two"))
        for name, value in one.items():
            torch.testing.assert_close(two[name], value, rtol=0, atol=1e-5, msg=lambda m, n=name: f"{n}: {m}")
    rows = [list(csv.DictReader((tmp_path / name / "training_log.csv").open())) for name in ("one", "two")]
    assert len(rows[0]) == len(rows[1]) == 6
    for a, b in zip(*rows, strict=True):
        assert float(b["loss"]) == pytest.approx(float(a["loss"]), rel=1e-5)
    with xr.open_dataset(tmp_path / "one/simulation.nc") as one, xr.open_dataset(tmp_path / "two/simulation.nc") as two:
        assert list(one.site.values) == list(two.site.values)
        np.testing.assert_allclose(two["streamflow"], one["streamflow"], atol=1e-4)


@pytest.mark.slow
def test_an_error_is_said_once_and_ends_every_process(tmp_path):
    done = torchrun("--config-name", file_of(tmp_path, small_config(tmp_path)), "seed=null")
    assert done.returncode != 0
    assert "several processes have to draw the same numbers" in done.stderr


def test_shares_are_runs_that_cover_the_batch(monkeypatch):
    for n, total in [(1, 1), (3, 7), (4, 4), (5, 64)]:
        monkeypatch.setattr(processes, "world", lambda n=n: n)
        found = []
        for me in range(n):
            monkeypatch.setattr(processes, "rank", lambda me=me: me)
            found += list(range(total))[processes.own_share(total).sites]
        assert found == list(range(total))
    monkeypatch.setattr(processes, "world", lambda: 3)
    with pytest.raises(ConfigError, match="3 processes cannot share a minibatch of 2 sites"):
        processes.own_share(2)


@pytest.mark.parametrize("dim", [1, -2])
def test_draws_by_site_do_not_depend_on_the_share(dim):
    def draw():
        torch.manual_seed(0)
        drawn = rand_by_site((4, 6), dim=1)
        return drawn, dropout_by_site(torch.ones(3, 6, 2), 0.5, True, dim=dim), torch.rand(1)

    whole = draw()
    for share in (SiteShare(0, 2, 6), SiteShare(2, 6, 6)):
        with sharing_sites(share):
            torch.manual_seed(0)
            width = share.stop - share.start
            part = rand_by_site((4, width), dim=1)
            kept = dropout_by_site(torch.ones(3, width, 2), 0.5, True, dim=dim)
            after = torch.rand(1)
        assert torch.equal(part, whole[0][:, share.sites])
        assert torch.equal(kept, whole[1][:, share.sites])
        assert torch.equal(after, whole[2])


def test_what_is_not_of_the_batch_is_drawn_by_each_process_and_keeps_them_in_step():
    found = []
    for share, units in ((SiteShare(0, 2, 5), 7), (SiteShare(2, 5, 5), 4)):
        with sharing_sites(share):
            torch.manual_seed(0)
            drawn = rand_by_site((3, units), dim=1)
            kept = dropout_by_site(torch.ones(50, units), 0.5, True, dim=1)
            found.append((drawn, torch.rand(1)))
        assert drawn.shape == (3, units)
        assert set(kept.unique().tolist()) == {0.0, 2.0}
    assert not torch.equal(found[0][0][:, :4], found[1][0])
    assert torch.equal(found[0][1], found[1][1])


def test_a_gpu_for_every_process_or_an_error(monkeypatch):
    assert processes.own_device("cuda:0") == "cuda:0"
    monkeypatch.setattr(processes, "world", lambda: 2)
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert processes.own_device("cpu") == "cpu"
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert processes.own_device("cuda:0") == "cuda:1"
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(ConfigError, match="process 1 of this machine has no GPU: there are 1"):
        processes.own_device("cuda:0")
