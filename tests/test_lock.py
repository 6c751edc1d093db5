"""Two processes do not work in one folder at the same time."""

import subprocess
import sys

import pytest
from small_run import no_plots, small_config  # noqa: F401 (fixtures)

from dmg.cli_run import execute
from dmg.conf.config import as_config
from dmg.core.utils.lock import alone_in
from dmg.errors import RunError

HOLD = """
import sys
from dmg.core.utils.lock import alone_in
with alone_in(sys.argv[1]):
    print(flush=True)
    input()
"""


@pytest.fixture
def other(tmp_path):
    """Another process in a folder."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path / "out")], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        process.stdout.readline()
        yield process
        process.kill()


def test_a_run_waits_for_nobody_and_says_who_is_in_its_way(tmp_path, other):
    config = as_config(small_config(tmp_path))
    with pytest.raises(
        RunError, match=r"(?s)another process is at work in this folder.*out.*choose another output_dir"
    ):
        execute(config)
    assert [path.name for path in (tmp_path / "out").iterdir()] == [".lock"]
    other.kill()
    other.wait()
    execute(config)
    assert (tmp_path / "out/metrics.json").is_file()
    assert not (tmp_path / "out/.lock").exists()


def test_a_folder_that_was_made_for_nothing_goes_again(tmp_path):
    with pytest.raises(ZeroDivisionError), alone_in(tmp_path / "a/b"):
        _ = 1 / 0
    assert list(tmp_path.iterdir()) == []
    with alone_in(tmp_path / "a/b"):
        (tmp_path / "a/result").touch()
    assert [path.name for path in tmp_path.rglob("*")] == ["a", "result"]
