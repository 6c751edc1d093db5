"""``dmg models``: the list of the process models, and the page that says what they declare and cost."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from dmg.cli import main
from dmg.engine import Flux, Forcing, Ledger, Parameter, ProcessModel, State
from dmg.engine.document import model_page
from dmg.registry import process_models

ROOT = Path(__file__).parents[1]
PAGE, MEASURED = ROOT / "docs" / "models.md", ROOT / "benchmarks" / "results" / "models.json"
COMMAND = f"dmg models docs --measured {MEASURED.relative_to(ROOT)} --write {PAGE.relative_to(ROOT)}"
CASE = {"steps": 10, "sites": 2, "components": 3, "closure_steps": 4}


class Bucket(ProcessModel):
    """A bucket with a hole.

    Source: ``any`` hardware store.
    """

    forcings = (Forcing("prcp", "mm d-1", "rain | snow"),)
    parameters = (
        Parameter("k", 1.0, 50.0, "d", "size of the hole"),
        Parameter("b", 0.5, 2.0, "-", "bend", default=1.0),
    )
    states = (State("storage", "mm", initial=1.0), State("parts", "mm", size=4))
    fluxes = (Flux("streamflow", "mm d-1", "what drips"),)
    ledger = Ledger(sources=("prcp",), sinks=("streamflow",), stores=("storage", "parts"))


def test_page_is_current():
    """In a process of its own: tests register models too."""
    shown = subprocess.run(
        [sys.executable, "-m", "dmg", "models", "docs", "--measured", str(MEASURED)],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert PAGE.read_text(encoding="utf-8") == shown, f"run: {COMMAND}"


def test_page_names_its_own_command():
    assert COMMAND in PAGE.read_text(encoding="utf-8")


def test_page_shows_what_is_declared_and_what_was_measured():
    measured = {
        "closure": 2.3e-13,
        "engines": {
            "eager": {"forward_ns": 812.4, "adjoint_ns": 1999.6},
            "fused": {"forward_ns": 3.0, "adjoint_ns": 7.25},
        },
        "machine": "abacus",
        "date": "1999-12-31",
    }
    page = model_page({"Bucket": Bucket}, {"case": CASE, "models": {"Bucket": measured}})
    for line in (
        "| [Bucket](#bucket) | explicit, 1 day | 2 | 5 | 2e-13 mm | 3 / 7.25 | 812 / 2000 |",
        "Source: `any` hardware store.",
        "* Budget: `prcp` − `streamflow` = change of `storage`, `parts`; closure 2e-13 mm.",
        "(abacus, 1999-12-31)",
        "| prcp | mm d-1 | rain \\| snow |",
        "| k | 1 to 50 | d | size of the hole |",
        "| b | 0.5 to 2 | - | bend (1 unless it is dynamic) |",
        "| parts [4] | mm | 0.0 |  |",
        "| streamflow | mm d-1 | what drips |",
    ):
        assert line in page
    assert "attribute |" not in page


def test_a_model_that_was_not_measured_is_shown_without_figures():
    page = model_page({"Bucket": Bucket}, {"case": CASE, "models": {}})
    assert "| not measured | not measured | not measured |" in page


def test_list(capsys):
    assert main(["models"]) == 0
    text = capsys.readouterr().out
    assert main(["models", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [row["name"] for row in rows] == process_models.names()
    for row in rows:
        assert row["about"] in text
    gr4j = next(row for row in rows if row["name"] == "Gr4j")
    assert gr4j["forcings"] == ["prcp", "pet"]
    assert gr4j["scheme"] == "explicit, 1 day"


@pytest.mark.parametrize("content", [None, "no json"])
def test_figures_that_cannot_be_read(tmp_path, capsys, content):
    file = tmp_path / "none.json"
    if content:
        file.write_text(content)
    assert main(["models", "docs", "--measured", str(file), "--write", str(tmp_path / "page.md")]) == 2
    assert "no measured figures" in capsys.readouterr().err
    assert not (tmp_path / "page.md").exists()


def test_a_coupling_says_what_it_is():
    class Pair(torch.nn.Module):
        """Two buckets.

        One above the other.

        Parameters
        ----------
        config
            None.
        """

    page = model_page({"Pair": Pair, "Bucket": Bucket}, {"case": CASE, "models": {}})
    assert page.count("## Pair\n\nTwo buckets.\n\nOne above the other.\n\n## Bucket") == 1
    assert "[Pair]" not in page
