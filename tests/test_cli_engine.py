"""``dmg engine``: what it tells of a model, and what it says when there is nothing to tell."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from dmg.cli import main
from dmg.engine import Flux, Forcing, Parameter, ProcessModel, State
from dmg.engine.describe import describe
from dmg.engine.graph import OPS
from dmg.registry import process_models
from hydrodl2.models.hbv.hbv import Hbv

HBV = ["engine", "Hbv", "--nmul", "16", "--dynamic", "parBETA,parBETAET", "--fluxes", "streamflow"]


class Store(ProcessModel):
    """out = S / k."""

    forcings = (Forcing("prcp", "mm d-1"),)
    parameters = (Parameter("k", 1.0, 200.0, "d"), Parameter("loss", 0.0, 1.0))
    states = (State("storage", "mm"),)
    fluxes = (Flux("out", "mm d-1"), Flux("lost", "mm d-1"))

    def step(self, s, x, p, dt):
        full = s.storage + x.prcp
        out = full / (1.0 + p.k)
        return {"storage": full - out}, {"out": out, "lost": p.loss * out}


class Gamma(Store):
    """A step with a function that no kernel knows."""

    def step(self, s, x, p, dt):
        full = s.storage + x.prcp
        out = full * torch.lgamma(p.k)
        return {"storage": full - out}, {"out": out, "lost": out}


@pytest.fixture
def registered(monkeypatch):
    process_models.names()
    monkeypatch.setattr(process_models, "_found", {**process_models._found, "Store": Store, "Gamma": Gamma})


def test_operations_are_those_of_the_graphs(registered, capsys):
    assert main(["engine", "Store", "--fluxes", "out", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    # full, 1 + k, full / (1 + k), full - out; `lost` is not asked for and costs nothing
    assert found["forward"]["operations"] == {"add": 2, "div": 1, "sub": 1}
    assert found["forward"]["invariant"] == 1
    assert found["forward"]["flops"] == 3 + OPS["div"].flops
    assert main(["engine", "Store", "--json"]) == 0
    both = json.loads(capsys.readouterr().out)
    assert both["forward"]["operations"] == {"add": 2, "div": 1, "mul": 1, "sub": 1}
    assert sum(both["adjoint"]["operations"].values()) > sum(found["adjoint"]["operations"].values())


def test_bytes_are_what_a_step_reads_and_writes():
    model = Store({"nmul": 4, "dynamic_params": {"Store": ["k"]}})
    found = describe(model, ["out"])
    # forcing and flux are shared by 4 components; the dynamic parameter and the state are not
    assert found.forward.bytes == 4 * (1 / 4 + 1 / 4 + 1 + 1)
    assert found.adjoint.bytes == found.forward.bytes + 4  # and the gradient of the dynamic parameter
    assert describe(model, ["out"], torch.float64).forward.bytes == 2 * found.forward.bytes


def test_table_shows_the_figures(capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("DMG_CACHE_DIR", str(tmp_path / "cache"))
    assert main(HBV) == 0
    text = capsys.readouterr().out
    found = describe(Hbv({"nmul": 16, "dynamic_params": {"Hbv": ["parBETA", "parBETAET"]}}), ["streamflow"])
    row = re.search(r"^operations +(\d+) +(\d+) +(\d+)$", text, flags=re.MULTILINE)
    assert [int(n) for n in row.groups()] == [found.forward.count, found.adjoint.count, found.recomputed.count]
    assert "dynamic: parBETA, parBETAET" in text
    assert f"cache: {tmp_path / 'cache'}" in text
    assert not (tmp_path / "cache").exists()  # time is taken with a cache of its own


def test_time_to_compile_is_that_of_an_empty_cache_and_of_a_full_one():
    model = Hbv({"nmul": 16})
    # What the process has loaded already does not count. Three times, for the machine may be busy with other work.
    several = [describe(model, ["streamflow"]) for _ in range(3)]
    for found in several:
        assert set(found.compile_s) == {"trace", "forward", "forward that keeps states", "adjoint"}
        assert found.compile_s["adjoint"] > 0.02
    compiled = min(sum(found.compile_s.values()) for found in several)
    assert 0 < min(found.cached_s for found in several) < compiled


def test_describing_changes_no_result():
    model = Store({"nmul": 2})
    forcing, raw = torch.rand(5, 3, 1), torch.randn(5, 3, model.learnable_param_count)
    before = model({"x_phy": forcing}, raw)["out"]
    describe(model)
    assert torch.equal(model({"x_phy": forcing}, raw)["out"], before)


@pytest.mark.parametrize(
    ("form", "mark"), [("llvm", "define void @adjoint("), ("assembly", "forward:"), ("triton", "def kernel(")]
)
def test_source_of_both_kernels(registered, capsys, form, mark):
    assert main(["engine", "Store", "--source", form]) == 0
    text = capsys.readouterr().out
    assert mark in text
    assert main(["engine", "Store", "--source", form, "--json"]) == 0
    assert set(json.loads(capsys.readouterr().out)) == {"forward", "adjoint"}


def test_double_precision_has_its_own_source(registered, capsys):
    assert main(["engine", "Store", "--source", "llvm", "--dtype", "float64"]) == 0
    assert "x double>" in capsys.readouterr().out


def test_a_model_that_cannot_be_fused_says_why(registered, capsys):
    assert main(["engine", "Gamma"]) == 1
    said = capsys.readouterr().err
    assert "'lgamma'" in said
    assert "torch.lgamma(p.k)" in said
    assert f"{Path(__file__).name}:" in said
    assert "eager" in said


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["Hvb"], 2, "did you mean 'Hbv'?"),
        (["Hbv", "--dynamic", "parBET"], 1, "did you mean 'parBETA'?"),
        (["Hbv", "--fluxes", "streamflw"], 1, "did you mean 'streamflow'?"),
        (["Hbv", "--source", "asembly"], 2, "did you mean 'assembly'?"),
    ],
)
def test_unknown_names(capsys, words, code, said):
    assert main(["engine", *words]) == code
    assert said in capsys.readouterr().err


def test_a_reader_that_stops_is_no_error():
    command = f"{sys.executable} -m dmg engine Hbv --source assembly | head -n 1"
    done = subprocess.run(command, shell=True, capture_output=True, text=True, check=False)
    assert done.stdout == "# forward\n"
    assert done.stderr == ""


def test_readme_shows_what_it_prints(capsys):
    readme = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
    (words,) = re.findall(r"\ndmg (engine .*)\n", readme)
    (shown,) = re.findall(r"```text\n(.*?)```", readme, flags=re.DOTALL)
    assert main(words.split()) == 0
    assert shown in capsys.readouterr().out


def test_a_coupled_model_names_the_models_to_ask_for(capsys):
    assert main(["engine", "Hbv_2_mts"]) != 0
    assert "ask for Hbv_2, Hbv_2_hourly" in capsys.readouterr().err


def test_implicit_model_shows_a_turn_of_newtons_method():
    from hydrodl2.models.hbv import HbvAdj

    found = describe(HbvAdj(), ["streamflow"])
    assert found.turn.count > found.forward.count
    assert "turn**" in str(found)
    assert describe(Hbv(), ["streamflow"]).turn is None
