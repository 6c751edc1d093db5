"""GR4J and HYMOD: scalar loops written from the papers, golden vectors, and a real catchment."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dmg.engine import RawParameters
from dmg.errors import StepError
from hydrodl2.models import Gr4j, Hymod
from hydrodl2.models.gr4j import DAYS, unit_hydrographs

GOLDEN = Path(__file__).parent / "golden"
CATCHMENT = Path(__file__).parents[2] / "shared" / "data" / "airgr_examples" / "L0123001_BasinObs.csv.gz"


def gr4j_loop(prcp, pet, x1, x2, x3, x4):
    """Streamflow of GR4J after Perrin et al. (2003), day by day; the river is a list of what leaves on which day."""

    def sh1(t):
        return 0.0 if t <= 0 else (t / x4) ** 2.5 if t < x4 else 1.0

    def sh2(t):
        if t <= 0:
            return 0.0
        if t <= x4:
            return 0.5 * (t / x4) ** 2.5
        return 1.0 - 0.5 * (2.0 - t / x4) ** 2.5 if t < 2 * x4 else 1.0

    production = routing = 0.0
    steps = len(prcp)
    q9, q1, flow = [0.0] * (steps + 100), [0.0] * (steps + 100), []
    for day in range(steps):
        ps = es = pn = 0.0
        if prcp[day] >= pet[day]:
            pn = prcp[day] - pet[day]
            t = math.tanh(pn / x1)
            ps = x1 * (1 - (production / x1) ** 2) * t / (1 + production / x1 * t)
        else:
            t = math.tanh((pet[day] - prcp[day]) / x1)
            es = production * (2 - production / x1) * t / (1 + (1 - production / x1) * t)
        production += ps - es
        perc = production * (1 - (1 + (4 * production / (9 * x1)) ** 4) ** -0.25)
        production -= perc
        pr = perc + pn - ps
        for k in range(math.ceil(2 * x4)):
            q9[day + k] += 0.9 * pr * (sh1(k + 1) - sh1(k))
            q1[day + k] += 0.1 * pr * (sh2(k + 1) - sh2(k))
        f = x2 * (routing / x3) ** 3.5
        routing = max(0.0, routing + q9[day] + f)
        qr = routing * (1 - (1 + (routing / x3) ** 4) ** -0.25)
        routing -= qr
        flow.append(qr + max(0.0, q1[day] + f))
    return flow


def hymod_loop(prcp, pet, cmax, b, alpha, ks, kq):
    """Streamflow of HYMOD, day by day; the soil is followed by its critical capacity."""
    smax = cmax / (1 + b)
    soil = slow = 0.0
    quick, flow = [0.0] * 3, []
    for day in range(len(prcp)):
        critical = cmax * (1 - (1 - soil / smax) ** (1 / (1 + b)))
        overflow = max(critical + prcp[day] - cmax, 0.0)
        raised = min(critical + prcp[day], cmax)
        filled = smax * (1 - (1 - raised / cmax) ** (1 + b))
        excess = prcp[day] - overflow - (filled - soil)
        soil = filled - min(filled, pet[day])
        slow += (1 - alpha) * excess
        out = ks * slow
        slow -= out
        passed = overflow + alpha * excess
        for i in range(3):
            quick[i] += passed
            passed = kq * quick[i]
            quick[i] -= passed
        flow.append(out + passed)
    return flow


def static(model, values, sites=1):
    """Raw parameters that mean these values, float64, for a model without dynamic ones."""
    share = [(values[p.name] - p.low) / (p.high - p.low) for p in model.parameter_table]
    raw = torch.logit(torch.tensor(share, dtype=torch.float64))
    return raw.expand(sites, -1)


def flow(model, forcing, values):
    """Streamflow [T] of one site from a cold start."""
    forcing = torch.as_tensor(forcing, dtype=torch.float64)[:, None]
    raw = RawParameters(forcing.new_zeros(len(forcing), 1, 0), static(model, values))
    return model.run(forcing, raw)[0]["streamflow"][:, 0].numpy()


@pytest.mark.parametrize("engine", ["eager", "fused"])
@pytest.mark.parametrize(
    ("model_class", "loop", "values"),
    [
        (Gr4j, gr4j_loop, {"X1": 257.238, "X2": 1.012, "X3": 88.235, "X4": 2.208}),
        (Gr4j, gr4j_loop, {"X1": 40.0, "X2": -8.0, "X3": 12.0, "X4": 0.6}),
        (Gr4j, gr4j_loop, {"X1": 900.0, "X2": -1.0, "X3": 300.0, "X4": 19.7}),
        (Hymod, hymod_loop, {"Cmax": 200.0, "bexp": 0.5, "alpha": 0.7, "Ks": 0.02, "Kq": 0.5}),
        (Hymod, hymod_loop, {"Cmax": 8.0, "bexp": 1.9, "alpha": 0.2, "Ks": 0.09, "Kq": 0.95}),
    ],
    ids=["gr4j", "gr4j-losing", "gr4j-slow", "hymod", "hymod-shallow"],
)
def test_model_is_the_loop_of_its_paper(model_class, loop, values, engine):
    rng = np.random.default_rng(3)
    forcing = np.stack([np.maximum(rng.normal(0, 9, 400), 0), 2 + 2 * np.sin(np.arange(400) / 58)], axis=-1)
    expected = np.array(loop(*forcing.T, *values.values()))
    # Float64; the logit and back costs a few digits of the parameters.
    np.testing.assert_allclose(flow(model_class({"engine": engine}), forcing, values), expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("engine", ["eager", "fused"])
@pytest.mark.parametrize("model_class", [Gr4j, Hymod])
def test_own_vector(model_class, engine):
    arrays = np.load(GOLDEN / f"{model_class.__name__.lower()}.npz")
    model = model_class(json.loads(str(arrays["meta"]))["config"] | {"engine": engine})
    raw = torch.tensor(arrays["in/raw"]).requires_grad_()
    out = model({"x_phy": torch.tensor(arrays["in/x_phy"])}, raw)
    # float64 on both sides: only the order of a few sums may differ between engines and builds of torch.
    for name in (key[4:] for key in arrays.files if key.startswith("out/")):
        np.testing.assert_allclose(out[name].detach().numpy(), arrays[f"out/{name}"], rtol=1e-10, atol=1e-12)
    out["streamflow"].sum().backward()
    np.testing.assert_allclose(raw.grad.numpy(), arrays["grad/raw"], rtol=1e-8, atol=1e-10)


@given(st.floats(0.5, DAYS))
@settings(deadline=None)
def test_unit_hydrographs_keep_all_water(time_base):
    for ordinates, length in zip(unit_hydrographs(torch.tensor(time_base, dtype=torch.float64)), (1, 2), strict=True):
        assert ordinates.min() >= 0.0
        assert float(ordinates.sum()) == pytest.approx(1.0, abs=1e-12)
        assert not ordinates[math.ceil(length * time_base) :].any()


def test_gr4j_is_daily():
    class Hourly(Gr4j):
        dt = 1 / 24

    with pytest.raises(StepError, match=r"integrals over one day, dt is 0\.0416667 days"):
        flow(Hourly(), np.ones((3, 2)), {"X1": 300.0, "X2": 0.0, "X3": 90.0, "X4": 2.0})


def test_hymod_depends_little_on_the_length_of_the_step():
    """Half a day twice is about a day: the equations are those of a rate, explicit in time."""

    class HalfDaily(Hymod):
        dt = 0.5

    values = {"Cmax": 200.0, "bexp": 0.5, "alpha": 0.6, "Ks": 0.02, "Kq": 0.1}
    forcing = np.stack([4 + 4 * np.sin(np.arange(300) / 20), np.full(300, 2.0)], axis=-1)
    halves = flow(HalfDaily(), np.repeat(forcing, 2, axis=0), values).reshape(-1, 2).mean(axis=1)
    np.testing.assert_allclose(halves[100:], flow(Hymod(), forcing, values)[100:], rtol=0.1)


@pytest.mark.skipif(not CATCHMENT.exists(), reason="the example catchments are not beside the project")
def test_published_parameters_of_gr4j_fit_their_catchment():
    """The parameters that the documentation of airGR gives for L0123001, calibrated on the NSE of 1990 to 1999."""
    import pandas as pd

    table = pd.read_csv(CATCHMENT, index_col=0, parse_dates=True)["1989":"1999"]
    values = {"X1": 257.238, "X2": 1.012, "X3": 88.235, "X4": 2.208}
    simulated = flow(Gr4j(), table[["P", "E"]].to_numpy(), values)[365:]
    observed = table["Qmm"].to_numpy()[365:]
    seen = np.isfinite(observed)
    assert 1 - np.mean((simulated - observed)[seen] ** 2) / observed[seen].var() > 0.79
