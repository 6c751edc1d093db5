"""Leaf photosynthesis reproduces both published models: values and gradients, on both engines."""

from pathlib import Path

import numpy as np
import pytest
import torch

from diffecosys.models import LeafPhotosynthesis
from diffecosys.soil_water import layer_wetness, soil_water_factor
from dmg.engine import RawParameters

SHARED = Path(__file__).parents[2] / "shared" / "golden" / "photosynthesis"
needs_shared = pytest.mark.skipif(not SHARED.is_dir(), reason="published golden vectors are not beside the project")
on_both_engines = pytest.mark.parametrize("engine", ["eager", "fused"])


def run(arrays, parameters, given=(), engine="auto", outputs=None, **options):
    """Run the samples of a vector with parameters in their units, some of them as data; return outputs and inputs."""
    names = [n for n in parameters if n not in given]
    config = {"engine": engine, "given": list(given), "dynamic_params": {"LeafPhotosynthesis": names}, **options}
    model = LeafPhotosynthesis(config)
    columns = {"c3": arrays["is_c3"]} | {k[3:]: arrays[k] for k in arrays.files if k.startswith("in_")}
    columns |= {n: parameters[n] for n in given}
    x = torch.stack([torch.tensor(columns[f.name], dtype=torch.float64) for f in model.forcings], -1)[None]
    bounds = {p.name: (p.low, p.high) for p in model.parameter_table}
    dynamic, slopes = [], {}
    for p in model.layout.dynamic_parameters:
        low, high = bounds[p.name]
        # At a bound the logistic link has no inverse.
        share = np.clip((parameters[p.name] - low) / (high - low), 1e-300, 1.0 - 1e-16)
        dynamic.append(torch.tensor(np.log(share) - np.log1p(-share)))
        slopes[p.name] = torch.tensor((high - low) * share * (1.0 - share))
    dynamic = torch.stack(dynamic, -1)[None].requires_grad_()
    series, _ = model.run(x, RawParameters(dynamic, dynamic.new_zeros(x.shape[1], 0)), outputs=outputs)

    def gradient(name):
        (found,) = torch.autograd.grad(series[name].sum(), dynamic, retain_graph=True)
        columns = zip(model.layout.dynamic_parameters, found[0].unbind(-1), strict=True)
        return {p.name: values / slopes[p.name] for p, values in columns}

    return series, gradient


def close(got, expected, rtol, name, scale=0.0):
    np.testing.assert_allclose(got.detach().numpy(), expected, rtol=rtol, atol=scale, err_msg=name)


@needs_shared
@on_both_engines
@pytest.mark.parametrize("stress", ["btran1", "btranvar"])
def test_published_2023(stress, engine):
    a = np.load(SHARED / f"photosynthesis2023_synthetic_{stress}.npz")
    parameters = {"Vcmax25": a["ref_vcmax25"], "g1": a["in_medslope"], "btran": a["ref_btran"]}
    outputs = ["An", "ci", "vcmax", "electrons", "unconverged"]
    # The derivative at btran = 1, the upper bound, cannot go through the link.
    given = ("g1", "btran") if stress == "btran1" else ("g1",)
    series, gradient = run(a, parameters, given, engine, outputs)
    assert not series["unconverged"].any()
    for ours, theirs in {"An": "anet", "ci": "ci", "vcmax": "vcmax", "electrons": "je"}.items():
        close(series[ours][0], a[f"ref_{theirs}"], 1e-9, ours, 1e-12)
    found = gradient("An")
    close(found["Vcmax25"], a["ref_danet_dvcmax25"], 1e-6, "dAn/dVcmax25", 1e-12)
    if stress == "btranvar":
        close(found["btran"], a["ref_danet_dbtran"], 1e-6, "dAn/dbtran", 1e-10)


@needs_shared
@on_both_engines
@pytest.mark.parametrize(("co2", "where"), [("leafCO2", "leaf"), ("ambientCO2", "air")])
def test_published_2025(co2, where, engine):
    a = np.load(SHARED / f"photosynthesis2025_synthetic_{co2}.npz")
    parameters = {name: a[f"par_{name}"] for name in ("Vcmax25", "btran", "g0", "g1", "vcmaxha")}
    series, gradient = run(a, parameters, (), engine, ["An", "gs", "ci", "unconverged"], variant="2025", co2=where)
    assert not series["unconverged"].any()
    for ours, theirs in {"An": "anet", "gs": "gs_mol_m2_s", "ci": "ci"}.items():
        close(series[ours][0], a[f"ref_{theirs}"], 1e-9, ours, 1e-12)
    for flux, theirs in {"An": "dA", "gs": "dgs"}.items():
        for name, values in gradient(flux).items():
            expected = a[f"ref_{theirs}_d{name}"]
            close(values, expected, 1e-6, f"{theirs}/d{name}", 1e-12 * np.abs(expected).max())


@needs_shared
def test_soil_water_of_five_layers():
    a = np.load(SHARED / "btran_5layer.npz")
    exponent = torch.tensor(a["B"], requires_grad=True)
    psi_open, psi_closed = torch.tensor(a["psi_o"]), torch.tensor(a["psi_c"])
    shares = [layer_wetness(torch.tensor(w), b, psi_open, psi_closed) for w, b in zip(a["smc"], exponent, strict=True)]
    found = soil_water_factor(shares, list(torch.tensor(a["r"])))
    close(found, a["btran"], 1e-12, "btran")
    (gradient,) = torch.autograd.grad(found.sum(), exponent)
    close(gradient, a["dbtran_dB"], 1e-9, "dbtran/dB", 1e-12)
