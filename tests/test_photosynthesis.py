"""Leaf photosynthesis beyond the published vectors: stomata of Ball and Berry, consistency of the models, options."""

import pytest
import torch

from diffecosys.conductance import ball_berry, saturation_pressure
from diffecosys.constants import FIRST_GUESS_C3
from diffecosys.models import LeafBiochemistry, LeafPhotosynthesis
from diffecosys.quadratic import larger_root, roots, smooth_minimum
from dmg.engine import RawParameters
from dmg.errors import StepError

SAMPLES = {
    "c3": [1.0, 1.0, 0.0, 1.0, 1.0],
    "CO2S": [400.0, 250.0, 400.0, 700.0, 400.0],
    "PARin": [1500.0, 800.0, 1500.0, 300.0, 0.0],
    "Tleaf": [25.0, 32.0, 30.0, 12.0, 20.0],
    "Tair": [24.0, 31.0, 30.0, 12.0, 20.0],
    "Patm": [101.3, 90.0, 101.3, 95.0, 101.3],
    "VPD": [1.0, 2.5, 1.5, 0.3, 1.0],
    "BLCond": [2.0, 1.0, 3.0, 2.0, 2.0],
    "LAI": [1.0, 2.0, 3.0, 1.0, 1.0],
    "Vcmax25": [60.0, 90.0, 40.0, 120.0, 60.0],
    "g1": [4.0, 2.5, 1.6, 5.0, 4.0],
}


def run(model_class=LeafPhotosynthesis, samples=SAMPLES, **options):
    """Return outputs of the samples, with every parameter from the data, by name."""
    given = [name for name in ("Vcmax25", "g1") if name in [p.name for p in model_class.parameter_table]]
    model = model_class({"given": given, **options})
    x = torch.tensor([samples[f.name] for f in model.forcings], dtype=torch.float64).T[None]
    raw = RawParameters(x[..., :0], x.new_zeros(x.shape[1], 0))
    series, _ = model.run(x, raw, outputs=[f.name for f in model.fluxes])
    return {name: values[0] for name, values in series.items()}


def column(name):
    return torch.tensor(SAMPLES[name], dtype=torch.float64)


@pytest.mark.parametrize("co2", ["leaf", "air"])
def test_ball_berry_holds_at_the_leaf_surface(co2):
    """gs = g0 + g1 An hs / Cs, with the humidity at the surface between that of the air and saturation."""
    found = run(conductance="ball_berry", co2=co2, samples={**SAMPLES, "g1": [9.0] * 5})
    assert not found["unconverged"].any()
    boundary, pressure = column("BLCond"), 1000.0 * column("Patm")
    gs, net = found["gs"], torch.clamp(found["An"], min=0.0)
    air = 1.0 - column("VPD") / saturation_pressure(column("Tleaf"))
    surface = (boundary * air + gs) / (boundary + gs)
    outside = column("CO2S") * 1e-6 * pressure
    lost = 1.4 * found["An"] * 1e-6 * pressure / boundary
    cs = outside if co2 == "leaf" else outside - lost
    least = 0.04 - 0.03 * column("c3")
    expected = least + 9.0 * net * 1e-6 * surface * pressure / cs
    torch.testing.assert_close(gs, expected, rtol=1e-8, atol=1e-10)


def test_conductance_grows_with_assimilation_and_humidity():
    one = torch.ones(3, dtype=torch.float64)
    net = torch.tensor([-1.0, 5.0, 20.0], dtype=torch.float64)
    gs = [ball_berry(net, 40.0 * one, 1e4 * one, 9.0 * one, 2e6 * one, h * one, 1e5 * one) for h in (0.4, 0.9)]
    assert gs[0][0] == pytest.approx(1e4)
    assert (gs[0].diff() > 0).all()
    assert (gs[1][1:] > gs[0][1:]).all()


@pytest.mark.parametrize("variant", ["2023", "2025"])
def test_assimilation_is_that_of_the_biochemistry_at_its_own_co2(variant):
    found = run(variant=variant)
    absorbed = {"2023": 1.0, "2025": 0.85}[variant]
    same = {
        **SAMPLES,
        "Ci": (found["ci"] / column("Patm") * 1e3).tolist(),
        "PARin": (absorbed * column("PARin")).tolist(),
    }
    alone = run(LeafBiochemistry, same)
    torch.testing.assert_close(alone["An"], found["An"], rtol=1e-10, atol=1e-10)


def test_leaf_in_the_dark_respires_and_the_variants_differ_there():
    first, second = run(variant="2023"), run(variant="2025")
    for found in (first, second):
        assert found["An"][4] == -found["respiration"][4] < 0.0
    outside = 400e-6 * 101300.0
    assert second["ci"][4] == pytest.approx(FIRST_GUESS_C3 * outside)
    assert first["ci"][4] > outside


def test_dry_soil_closes_stomata():
    soil = {"psi_open": [-7e4] * 5, "psi_closed": [-3e5] * 5, "root_1": [0.7] * 5, "root_2": [0.3] * 5}
    soil |= {"B_1": [0.4] * 5, "B_2": [0.6] * 5, "wetness_2": [0.5] * 5}
    options = {"layers": 2, "given": ["Vcmax25", "g1", "B_1", "B_2"]}
    dry, wet = ({**SAMPLES, **soil, "wetness_1": [w] * 5} for w in (0.05, 0.9))
    eager = run(engine="eager", samples=wet, **options)
    dry, wet = (run(samples=samples, **options) for samples in (dry, wet))
    for name, values in eager.items():
        torch.testing.assert_close(values, wet[name], rtol=1e-10, atol=1e-12)
    assert (dry["stress"] < wet["stress"]).all()
    assert (wet["stress"] <= 1.0).all()
    light = column("PARin") > 0
    assert (dry["An"] < wet["An"])[light].all()
    assert (dry["gs"] < wet["gs"]).all()


def test_roots():
    b, c = torch.tensor([-3.0, 3.0, -1e6], dtype=torch.float64), torch.tensor([2.0, 2.0, 1.0], dtype=torch.float64)
    expected = torch.tensor([[1.0, 2.0], [-2.0, -1.0], [1e-6, 1e6]], dtype=torch.float64)
    torch.testing.assert_close(torch.minimum(*roots(1.0, b, c)), expected[:, 0], rtol=1e-7, atol=0.0)
    torch.testing.assert_close(larger_root(1.0, b, c), expected[:, 1], rtol=1e-7, atol=0.0)
    limits = torch.tensor([5.0, 20.0]), torch.tensor([10.0, 3.0])
    torch.testing.assert_close(smooth_minimum(0.999, *limits), torch.minimum(*limits), rtol=2e-3, atol=0.0)
    assert (smooth_minimum(0.999, *limits) < torch.minimum(*limits)).all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"given": ["vcmax"]}, "has no parameter 'vcmax' that the data could give"),
        ({"conductance": "medlin"}, "unknown conductance 'medlin'"),
        ({"co2": "soil"}, "unknown co2 'soil'"),
        ({"variant": "2024"}, "unknown variant '2024'"),
    ],
)
def test_options_that_are_not_there(options, message):
    with pytest.raises(StepError, match=message):
        LeafPhotosynthesis(options)
