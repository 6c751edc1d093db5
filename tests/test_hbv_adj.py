"""The implicit HBV reproduces converged solutions of the published equations, values and gradients, on both engines."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from dmg.engine import ModelState, RawParameters
from dmg.errors import StepError
from hydrodl2.models.hbv.hbv_adj import HbvAdj

GOLDEN = Path(__file__).parents[2] / "shared" / "golden"
PUBLISHED = sorted((GOLDEN / "hbv").glob("adj_converged*.npz"))
INDEPENDENT = sorted((GOLDEN / "implicit").glob("*.npz"))
FLOWS = {"q0": "srflow_no_rout", "q1": "ssflow_no_rout", "q2": "gwflow_no_rout", "et": "AET_hydro"}
needs_shared = pytest.mark.skipif(not (PUBLISHED and INDEPENDENT), reason="golden vectors are not beside the project")
on_both_engines = pytest.mark.parametrize("engine", ["eager", "fused"])


def published_model(meta, engine):
    """Return the model of a published vector."""
    options = {"nmul": meta["nmul"], "warmup": meta["warmup"], "engine": engine}
    options["capillary"] = meta["module"].endswith("add_cr")
    names = [p.name for p in HbvAdj.parameter_table]
    return HbvAdj(options | {"dynamic_params": {"HbvAdj": [names[i] for i in meta["dynamic_indices"]]}})


@needs_shared
@on_both_engines
@pytest.mark.parametrize("path", PUBLISHED, ids=lambda p: p.stem)
def test_converged_vector(path, engine):
    arrays = np.load(path)
    meta = json.loads(str(arrays["meta"]))
    model = published_model(meta, engine)
    x, raw = torch.tensor(arrays["in/x_phy"]), torch.tensor(arrays["in/raw"]).requires_grad_()
    out = model({"x_phy": x}, raw)
    # The vectors were solved to a residual of 1e-9, ours to the last digits.
    np.testing.assert_allclose(out["streamflow"].detach().numpy(), arrays["out/streamflow"], rtol=1e-8, atol=1e-8)
    for key, name in FLOWS.items():
        expected = arrays[f"out/{key}"].reshape(-1, meta["nmul"], x.shape[1]).mean(1)
        np.testing.assert_allclose(out[name].detach().numpy()[..., 0], expected, rtol=1e-8, atol=1e-8, err_msg=name)
    final = torch.stack(model.get_states(), dim=-1).transpose(0, 1).reshape(-1, 5)
    np.testing.assert_allclose(final.numpy(), arrays["state_series/Y"][-1], rtol=1e-8, atol=1e-8)
    out["streamflow"].sum().backward()
    # The vector's warm-up is part of its gradient, that of a direct call is not.
    found, expected = raw.grad.numpy()[meta["warmup"] :], arrays["grad/raw"][meta["warmup"] :]
    np.testing.assert_allclose(found, expected, atol=1e-8 * np.abs(expected).max())


@needs_shared
@on_both_engines
def test_gradient_through_the_warm_up(engine):
    """Runs that hand on a state with its history give the gradient of the parameters of the warm-up as well."""
    arrays = np.load(GOLDEN / "hbv" / "adj_converged_n4_dyn_wu20_f64.npz")
    meta = json.loads(str(arrays["meta"]))
    model, start = published_model(meta, engine), meta["warmup"]
    x, raw = torch.tensor(arrays["in/x_phy"]), torch.tensor(arrays["in/raw"]).requires_grad_()
    layout, frozen = model.layout.frozen(model.layout.split(raw[:start], -1), -1)
    _, warm = model.run(x[:start], frozen, layout=layout)
    empty = model.cold_state(x.shape[1], dtype=x.dtype).routing
    series, _ = model.run(x[start:], model.layout.split(raw[start:], -1), ModelState(warm.stores, empty))
    series["streamflow"].sum().backward()
    np.testing.assert_allclose(raw.grad.numpy(), arrays["grad/raw"], atol=1e-8 * np.abs(arrays["grad/raw"]).max())


@needs_shared
@on_both_engines
@pytest.mark.parametrize("path", INDEPENDENT, ids=lambda p: p.stem)
def test_independent_solution(path, engine):
    """States, flow and gradients of parameters and initial states equal those of another solver at 1e-11."""
    arrays = np.load(path)
    model = HbvAdj({"engine": engine, "routing": False, "capillary": "capillary" in path.stem})
    assert ["par" + name for name in arrays["param_order"]] == [p.name for p in model.layout.parameters]
    # What the vector gives is in [0, 1]; the model takes what its link maps there.
    unit = torch.tensor(arrays["theta01"]).requires_grad_()
    stores = torch.tensor(arrays["x0"]).requires_grad_()
    names = [s.name for s in model.states]
    forcing = torch.tensor(arrays["forcing"])
    raw = RawParameters(forcing[..., :0], torch.logit(unit))
    state = ModelState({n: stores[:, i : i + 1] for i, n in enumerate(names)})
    series, _ = model.run(forcing, raw, state, outputs=["streamflow", *names])
    np.testing.assert_allclose(series["streamflow"].detach().numpy(), arrays["q_mm_d"], rtol=1e-9, atol=1e-9)
    found = torch.stack([series[n] for n in names], dim=-1).detach().numpy()
    np.testing.assert_allclose(found, arrays["states"], rtol=1e-9, atol=1e-9)
    loss = (torch.tensor(arrays["w"]) * series["streamflow"]).sum()
    np.testing.assert_allclose(loss.item(), arrays["loss"], rtol=1e-10)
    for gradient, key in zip(torch.autograd.grad(loss, (unit, stores)), ("dL_dtheta01", "dL_dx0"), strict=True):
        np.testing.assert_allclose(gradient.numpy(), arrays[key], atol=1e-8 * np.abs(arrays[key]).max(), err_msg=key)


def draw(model, steps=60, sites=6):
    """Draw forcings of a cold and a warm season, and parameters away from their bounds."""
    generator = torch.Generator().manual_seed(3)
    day = torch.arange(steps, dtype=torch.float64)[:, None].expand(steps, sites)
    noise = torch.randn(3, steps, sites, generator=generator, dtype=torch.float64)
    rain = torch.relu(6.0 * noise[0] - 1.0)
    warmth = 8.0 - 12.0 * torch.cos(day / 9.0) + noise[1]
    forcing = torch.stack([rain, warmth, 2.0 + noise[2].abs()], dim=-1)
    layout = model.layout
    shapes = (steps, sites, len(layout.dynamic_channels)), (sites, len(layout.static_channels))
    return forcing, RawParameters(*(torch.randn(s, generator=generator, dtype=torch.float64) for s in shapes))


@pytest.mark.parametrize("options", [{}, {"capillary": True}, {"smoothing": "logistic", "capillary": True}], ids=str)
def test_gradient_equals_central_differences(options):
    """On the fused engine; that the eager one has the same gradients is a law."""
    model = HbvAdj({"engine": "fused", **options})
    forcing, raw = draw(model, steps=25)
    static = raw.static.clone().requires_grad_()

    def flow(value):
        series, _ = model.run(forcing, RawParameters(raw.dynamic, value), outputs=["streamflow"])
        return series["streamflow"].sum(0)

    (gradient,) = torch.autograd.grad(flow(static).sum(), static)
    width = 1e-5
    with torch.no_grad():
        for channel in range(static.shape[1]):
            moved = torch.zeros_like(static)
            moved[:, channel] = width
            rise, fall = flow(static + moved), flow(static - moved)
            central = (rise - fall) / (2.0 * width)
            # One-sided differences that are unlike each other show a kink between.
            here = flow(static)
            smooth = ((rise - here) - (here - fall)).abs() < 1e-3 * (rise - fall).abs() + 1e-9
            error = (gradient[:, channel] - central).abs() / (central.abs() + 1e-3)
            assert smooth.sum() >= 4
            assert float(error[smooth].max()) < 1e-5, model.layout.parameters[channel].name


def test_capillary_rise_adds_two_parameters():
    plain, rising = HbvAdj({"nmul": 4}), HbvAdj({"nmul": 4, "capillary": True})
    assert rising.learnable_param_count - plain.learnable_param_count == 8
    assert plain.learnable_param_count == 13 * 4 + 2
    assert "capillary" not in [f.name for f in plain.fluxes]


def test_without_rise_both_variants_agree():
    plain, rising = HbvAdj({"routing": False}), HbvAdj({"routing": False, "capillary": True})
    forcing, raw = draw(plain)
    # A logistic of -800 is next to nothing.
    none = torch.cat([raw.static, torch.full((6, 1), -800.0), torch.zeros(6, 1)], dim=1).double()
    expected, _ = plain.run(forcing, raw)
    found, _ = rising.run(forcing, RawParameters(raw.dynamic, none))
    assert float(found["capillary"].abs().max()) < 1e-200
    torch.testing.assert_close(found["streamflow"], expected["streamflow"], rtol=1e-12, atol=1e-12)


def test_smoothing_changes_little_and_stores_stay_positive():
    sharp, smooth = HbvAdj({"routing": False}), HbvAdj({"routing": False, "smoothing": "logistic"})
    forcing, raw = draw(sharp, steps=400)
    expected, _ = sharp.run(forcing, raw)
    found, _ = smooth.run(forcing, raw, outputs=["streamflow", "unconverged", *(s.name for s in smooth.states)])
    assert not found["unconverged"].any()
    assert min(float(found[s.name].min()) for s in smooth.states) > -1e-9
    difference = (found["streamflow"] - expected["streamflow"]).abs().mean() / expected["streamflow"].mean()
    assert 1e-5 < float(difference) < 0.05


def test_unknown_smoothing():
    with pytest.raises(StepError, match="unknown smoothing 'logistics'") as error:
        HbvAdj({"smoothing": "logistics"})
    assert "logistic" in str(error.value)
