"""Known properties of sites that a step reads."""

import numpy as np
import pytest
import torch
from step_models import Sloping

from dmg.core.data.batch import Batch
from dmg.engine import Attribute, RawParameters, simulate
from dmg.errors import StepError
from dmg.testing import draw_case


class Clashing(Sloping):
    """An attribute with the name of a parameter."""

    attributes = (Attribute("k"),)


def flow(model, x_dict, raw):
    return model(x_dict, raw)["streamflow"]


@pytest.fixture
def drawn():
    case = draw_case(Sloping, {"nmul": 2}, steps=6)
    raw = torch.randn(6, 3, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    return case, raw


def test_attributes_come_under_their_names_or_from_the_attributes_of_the_model(drawn):
    case, raw = drawn
    named = flow(case.model, {"x_phy": case.forcing, **case.attributes}, raw)
    columns = flow(case.model, {"x_phy": case.forcing, **{n: v[:, None] for n, v in case.attributes.items()}}, raw)
    c_phy = torch.stack([case.attributes["height"], torch.zeros(3), case.attributes["slope"]], dim=1)
    names = {"x_phy": ("prcp",), "c_phy": ("height", "other", "slope")}
    batch = flow(case.model, Batch({"x_phy": case.forcing, "c_phy": c_phy}, names=names), raw)
    torch.testing.assert_close(columns, named, rtol=0, atol=0)
    torch.testing.assert_close(batch, named, rtol=0, atol=0)
    assert not np.allclose(
        flow(case.model, {"x_phy": case.forcing, **case.attributes, "slope": torch.ones(3)}, raw), named
    )


def test_a_missing_attribute_is_asked_for(drawn):
    case, raw = drawn
    with pytest.raises(StepError, match=r"Sloping needs the attribute 'slope' \(m m-1\) of every site") as error:
        flow(case.model, {"x_phy": case.forcing, "height": case.attributes["height"]}, raw)
    assert "model.phy.attributes" in error.value.hint
    with pytest.raises(StepError, match="needs the attribute 'slope'"):
        simulate(case.model, case.forcing, case.raw, attributes={"slop": case.attributes["slope"]})


def test_attributes_have_one_value_per_site(drawn):
    case, _ = drawn
    with pytest.raises(StepError, match=r"'slope' has shape \(2,\), the forcing 3 sites"):
        simulate(case.model, case.forcing, case.raw, attributes=case.attributes | {"slope": torch.ones(2)})


def test_an_attribute_has_a_name_of_its_own():
    with pytest.raises(StepError, match="has an attribute 'k' and a forcing or parameter of that name"):
        Clashing()


@pytest.mark.parametrize("engine", ["eager", "fused"])
def test_attributes_have_gradients(drawn, engine):
    case, _ = drawn

    def total(slope):
        raw = RawParameters(case.raw.dynamic, case.raw.static)
        attributes = case.attributes | {"slope": slope}
        return simulate(case.model, case.forcing, raw, attributes=attributes, engine=engine).fluxes["streamflow"]

    slope = case.attributes["slope"].clone().requires_grad_()
    assert torch.autograd.gradcheck(total, (slope,))
