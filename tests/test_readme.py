"""The code of the README runs as it stands, from any folder."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)


@pytest.fixture(scope="module")
def executed(tmp_path_factory):
    """What the blocks define, run one after the other in a folder that knows nothing of the repository."""
    program = "\n".join(BLOCKS) + "\nimport torch; torch.save(END, 'end.pt')\n"
    program = program.replace(
        "END", "{'shape': tuple(output['streamflow'].shape), 'flow': output['streamflow'].detach()}"
    )
    folder = tmp_path_factory.mktemp("elsewhere")
    # A file, because the engine reads the source of a step for its messages.
    (folder / "readme.py").write_text(program, encoding="utf-8")
    done = subprocess.run([sys.executable, "readme.py"], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return folder, done.stdout


def test_quick_start_gives_streamflow(executed):
    folder, printed = executed
    end = torch.load(folder / "end.pt", weights_only=True)
    assert end["shape"] == (365, 100, 1)
    assert "torch.Size([365, 100, 1])" in printed
    assert torch.isfinite(end["flow"]).all()
    assert (end["flow"] >= 0).all()
    assert end["flow"].std(dim=0).min() > 0


def test_own_model_is_trained(executed):
    folder, _ = executed
    assert list((folder / "output" / "linear_store" / "model").glob("linearstore_ep1.safetensors"))


def test_own_model_is_short():
    block = next(block for block in BLOCKS if "class LinearStore" in block)
    body = block[block.index("class LinearStore") :].strip().splitlines()
    assert len([line for line in body if line.strip()]) <= 15


def test_readme_has_the_two_commands():
    for command in (
        "pip install -c constraints.txt -e . && python -m dmg",
        'pip install -c constraints.txt -e ".[dev]" && pytest -n auto --dist worksteal',
    ):
        assert f"\n{command}\n" in README
    assert f"\n{command.partition('&& ')[2]}\n" in (ROOT / ".ci" / "run").read_text(encoding="utf-8")


def test_links_lead_somewhere():
    pages = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
    for page in pages:
        text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
        for link in re.findall(r"\]\(([^)#]+)[^)]*\)", text):
            if not link.startswith(("http:", "https:", "mailto:")):
                assert (page.parent / link).exists(), f"{page.name}: {link}"


def test_table_names_what_is_registered():
    from dmg.registry import delta_models, losses, networks, process_models

    table = README[README.index("## What there is") :]
    named = set(re.findall(r"`(\w+)`", table[: table.index("## Documentation")]))
    here = {name for kind in (losses, networks) for name in kind if kind.get(name).__module__.startswith("dmg.")}
    assert here | {"Hbv"} <= named
    for name in {n for n in named if n.endswith(("Loss", "Model"))} - {"NnModel"}:
        assert any(name in kind for kind in (losses, networks, process_models, delta_models)), name
