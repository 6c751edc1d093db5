"""Every notebook in example/ runs from an empty folder, without download, in a minute."""

import json
import time
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient
from nbformat.v4 import new_code_cell

EXAMPLE = Path(__file__).parents[1] / "example"
NOTEBOOKS = sorted(p for p in EXAMPLE.rglob("*.ipynb") if ".ipynb_checkpoints" not in p.parts)

#: What a notebook must have shown: an expression of its variables, printed as JSON.
LOSSES = {
    "example_lstm": "{'by hand': losses, 'by the trainer': list(trainer.training.losses.values())}",
    "example_dhbv_1_1p": "{'by the trainer': list(losses.values())}",
    "example_dhbv_2": "{'at gauges': losses}",
    "example_dhbv": "{'by hand': losses, 'by the trainer': list(trainer.training.losses.values())}",
}


def test_there_are_notebooks():
    assert {path.stem for path in NOTEBOOKS} == set(LOSSES)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_is_committed_light(path):
    assert path.stat().st_size < 300_000
    for cell in nbformat.read(path, as_version=4).cells:
        assert not cell.get("outputs")


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_runs_and_learns(path, tmp_path, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    notebook = nbformat.read(path, as_version=4)
    notebook.cells.append(new_code_cell(f"import json; print(json.dumps({LOSSES[path.stem]}))"))
    began = time.perf_counter()
    NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(tmp_path)}}).execute()
    assert time.perf_counter() - began < 120, "a tutorial is to run in a minute; this is twice that"
    for losses in json.loads(notebook.cells[-1].outputs[0].text).values():
        third = max(len(losses) // 3, 1)
        assert sum(losses[-third:]) < 0.9 * sum(losses[:third])
    pictures = [out for cell in notebook.cells for out in cell.get("outputs", ()) if "image/png" in out.get("data", {})]
    assert len(pictures) >= 4
