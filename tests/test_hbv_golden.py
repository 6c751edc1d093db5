"""HBV 1.0 reproduces the published model; own vectors ship with the project, published ones live beside it."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from hydrodl2.models.hbv.hbv import Hbv

SHARED = Path(__file__).parents[2] / "shared" / "golden" / "hbv"
OWN = Path(__file__).parent / "golden" / "hbv.npz"
CASES = sorted(SHARED.glob("hbv_n*.npz"))
STATES = [state.name for state in Hbv.states]
needs_shared = pytest.mark.skipif(not CASES, reason="published golden vectors are not beside the project")


def read(path):
    """Return inputs, expectations and options of a vector."""
    arrays = np.load(path)
    meta = json.loads(str(arrays["meta"]))
    inputs = {key[3:]: torch.tensor(arrays[key]) for key in arrays.files if key.startswith("in/")}
    return arrays, meta, inputs


def compare(arrays, prefix, got, *, atol=1e-5):
    """Compare everything stored under a prefix; outputs agree to 1e-5, relative above one and absolute below."""
    names = [key[len(prefix) :] for key in arrays.files if key.startswith(prefix)]
    assert names
    for name in names:
        np.testing.assert_allclose(
            got[name].detach().numpy(), arrays[prefix + name], rtol=1e-5, atol=atol, err_msg=name
        )


@needs_shared
@pytest.mark.parametrize("path", [p for p in CASES if "restart" not in p.stem], ids=lambda p: p.stem)
def test_published_vector(path):
    arrays, meta, inputs = read(path)
    model = Hbv(meta["config"])
    raw = inputs.pop("raw").requires_grad_()
    out = model(inputs, raw)
    compare(arrays, "out/", out)
    compare(arrays, "state/", dict(zip(STATES, model.get_states(), strict=True)))
    compare(arrays, "route/", model.get_routing_state())
    out["streamflow"].sum().backward()
    scale = np.abs(arrays["grad/raw"]).max()
    np.testing.assert_allclose(raw.grad.numpy(), arrays["grad/raw"], atol=1e-4 * scale)


@needs_shared
def test_published_restart_but_for_its_streamflow():
    """States, unrouted series and components follow the published restart; streamflow is exact where it was not."""
    arrays, meta, inputs = read(SHARED / "hbv_n2_restart.npz")
    x, raw = inputs["x_phy"], inputs["raw"]
    model = Hbv(meta["config"])
    start = 0
    pieces = []
    for i, stop in enumerate(meta["segments"]):
        out = model({"x_phy": x[start:stop]}, raw[start:stop])
        pieces.append(out["streamflow"])
        wrong = {f"seg{i}/out/{name}" for name in ("streamflow", "BFI")} if i else set()
        for key in [k for k in arrays.files if k.startswith(f"seg{i}/out/") and k not in wrong]:
            np.testing.assert_allclose(out[key.split("/")[-1]], arrays[key], rtol=1e-5, atol=1e-5, err_msg=key)
        compare(arrays, f"seg{i}/state/", dict(zip(STATES, model.get_states(), strict=True)))
        start = stop
    components = [arrays[f"seg{i}/out/{name}"] for i in range(3) for name in ("srflow", "ssflow", "gwflow")]
    summed = np.concatenate([sum(components[3 * i : 3 * i + 3]) for i in range(3)])
    np.testing.assert_allclose(torch.cat(pieces).numpy(), summed, rtol=1e-5, atol=1e-5)


def test_own_vector():
    arrays, meta, inputs = read(OWN)
    model = Hbv(meta["config"])
    raw = inputs.pop("raw").requires_grad_()
    out = model(inputs, raw)
    # float64 on both sides: only the order of a few sums may differ between builds of torch.
    for name in (key[4:] for key in arrays.files if key.startswith("out/")):
        np.testing.assert_allclose(out[name].detach().numpy(), arrays[f"out/{name}"], rtol=1e-10, atol=1e-12)
    out["streamflow"].sum().backward()
    np.testing.assert_allclose(raw.grad.numpy(), arrays["grad/raw"], rtol=1e-8, atol=1e-10)
