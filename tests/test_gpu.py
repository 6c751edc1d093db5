"""The GPU kernels on a GPU: the cases of the interpreter, larger ones, streams and devices."""

import pytest
import torch
from gpu_cases import CASES, Case, draw, errors, function_errors, run

from dmg.engine import fused
from hydrodl2.models.hbv.hbv import Hbv

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
LARGE = Case(Hbv, 16, 100, 365, ("parBETA", "parBETAET"), torch.float32, options={"fluxes": ["streamflow"]})


@pytest.fixture(autouse=True)
def memory_of_case(request, monkeypatch):
    """Give kernels as much memory for kept states as the case says."""
    from dataclasses import replace

    case = request.node.callspec.params.get("case") if hasattr(request.node, "callspec") else None
    if case in CASES:
        backend = replace(fused.backend_for("cuda"), kept_bytes=CASES[case].kept_bytes)
        monkeypatch.setattr(fused, "backend_for", lambda kind: backend)


@pytest.mark.parametrize("case", CASES)
def test_kernel_equals_eager_engine(case):
    found = errors(CASES[case], "cuda")
    tolerance = 1e-5 if case.endswith("float32") else 1e-13
    assert found["values"] < tolerance
    assert found["gradients"] < tolerance


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_functions_are_good_to_a_few_units_in_the_last_place(dtype):
    for name, units in function_errors(dtype, "cuda").items():
        assert units <= 3.0, name


def test_large_case_equals_eager_engine():
    found = errors(LARGE, "cuda")
    assert found["values"] < 1e-4
    assert found["gradients"] < 1e-4


def test_same_bits_every_time():
    inputs = draw(LARGE, "cuda")
    first, second = run(LARGE, inputs, "fused"), run(LARGE, inputs, "fused")
    for a, b in zip([*first[0], *first[1]], [*second[0], *second[1]], strict=True):
        assert torch.equal(a, b)


def test_runs_on_the_current_stream():
    inputs = draw(LARGE, "cuda")
    expected, _ = run(LARGE, inputs, "fused")
    torch.cuda.synchronize()
    streams = [torch.cuda.Stream() for _ in range(2)]
    results = []
    for stream in streams:
        with torch.cuda.stream(stream):
            # Work before the kernels on the same stream, which they must wait for.
            torch.cuda._sleep(10_000_000)
            inputs_here = draw(LARGE, "cuda")
            results.append(run(LARGE, inputs_here, "fused"))
    torch.cuda.synchronize()
    for values, _ in results:
        for a, b in zip(values, expected, strict=True):
            assert torch.equal(a, b)


@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs two GPUs")
def test_runs_on_the_device_of_the_forcing():
    values, gradients = run(LARGE, draw(LARGE, "cuda:1"), "fused")
    expected, _ = run(LARGE, draw(LARGE, "cuda:0"), "fused")
    assert {v.device.index for v in [*values, *gradients]} == {1}
    for a, b in zip(values, expected, strict=True):
        assert torch.equal(a.cpu(), b.cpu())
