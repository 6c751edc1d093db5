"""The plug-in that a tutorial writes: at most forty lines, installed without network, found by name, lawful."""

import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

from dmg.registry import Registry
from dmg.testing import LAWS

NOTEBOOK = Path(__file__).parents[1] / "docs" / "tutorials" / "your_own_domain.ipynb"
MAGIC = "%%writefile output/your_own_domain/soil_carbon/"


def plugin_files():
    """Return what the notebook writes into the folder of the plug-in, name to text."""
    cells = [cell.source for cell in nbformat.read(NOTEBOOK, as_version=4).cells if cell.source.startswith(MAGIC)]
    parts = [cell.removeprefix(MAGIC).split("\n", 1) for cell in cells]
    return {name.strip(): text + "\n" for name, text in parts}


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """A folder into which pip installed the plug-in as the notebook does: offline, built by what is here."""
    source, target = tmp_path_factory.mktemp("soil_carbon"), tmp_path_factory.mktemp("installed")
    for name, text in plugin_files().items():
        (source / name).parent.mkdir(exist_ok=True)
        (source / name).write_text(text, encoding="utf-8")
    options = ["--no-index", "--no-deps", "--no-build-isolation", "--target", str(target)]
    command = [sys.executable, "-m", "pip", "install", "--quiet", *options, str(source)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return target


def test_model_and_packaging_are_forty_lines():
    files = plugin_files()
    written = [line for name in ("soil_carbon.py", "pyproject.toml") for line in files[name].splitlines()]
    assert len([line for line in written if line.strip()]) <= 40
    assert max(map(len, written)) <= 120


def test_entry_point_is_found_and_the_model_obeys(installed, monkeypatch):
    monkeypatch.syspath_prepend(str(installed))
    model = Registry("process_models").get("SoilCarbon")
    assert Path(sys.modules[model.__module__].__file__).parent == installed
    for law in LAWS:
        # The notebook runs them all; here what is quick.
        if law.__name__ in ("budget_closes-fused", "run_is_split_at_will-fused", "engines_agree"):
            law(model)
