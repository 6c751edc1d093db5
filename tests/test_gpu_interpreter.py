"""The GPU kernels equal the eager engine; run on a CPU by Triton's interpreter, in a process of its own."""

import json
import os
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import pytest
from gpu_cases import CASES


def _interpreter() -> bool:
    """Whether Triton is there, and new enough for its interpreter to know today's NumPy and fused multiply-adds."""
    try:
        return tuple(int(part) for part in version("triton").split(".")[:2]) >= (3, 9)
    except PackageNotFoundError:
        return False


pytestmark = pytest.mark.skipif(not _interpreter(), reason="needs triton >= 3.9: pip install -e '.[gpu-test]'")


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """What every case gave: case to largest error of values, gradients or functions."""
    environment = os.environ | {
        "TRITON_INTERPRET": "1",
        "OMP_NUM_THREADS": "1",
        "DMG_CACHE_DIR": str(tmp_path_factory.mktemp("kernels")),
    }
    script = Path(__file__).with_name("gpu_cases.py")
    run = subprocess.run([sys.executable, "-W", "ignore", script], env=environment, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    lines = [json.loads(line) for line in run.stdout.splitlines() if line.startswith("{")]
    return {line.pop("case"): line for line in lines}


@pytest.mark.parametrize("case", CASES)
def test_kernel_equals_eager_engine(found, case):
    # Units in the last place of single precision differ between the engines' elementary functions.
    tolerance = 1e-5 if case.endswith("float32") else 1e-13
    assert found[case]["values"] < tolerance
    assert found[case]["gradients"] < tolerance


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_functions_are_good_to_a_few_units_in_the_last_place(found, dtype):
    for name, units in found[f"functions-{dtype}"].items():
        assert units <= 3.0, name
