"""Parameters that no network supplies: fixed by the user, or one learned number for all sites."""

import pytest
import torch

from dmg.engine import Flux, Forcing, Ledger, Parameter, ProcessModel, RawParameters, State
from dmg.errors import StepError
from dmg.registry import process_models
from dmg.testing import LAWS, draw_case, engines_agree


def with_options(base, **options):
    class Changed(base):
        def __init__(self, config=None, device=None):
            name = type(self).__name__
            given = {**(config or {}), **{block: {name: names} for block, names in options.items()}}
            free = {*options.get("global_params", ()), *options.get("fixed_params", ())}
            if config and "dynamic_params" not in options:
                # A case that is drawn lets every second parameter vary in time.
                dynamic = config.get("dynamic_params", {}).get(name, [])
                given["dynamic_params"] = {name: [p for p in dynamic if p not in free]}
            super().__init__(given, device)

    return Changed


class TwoRates(ProcessModel):
    """A store that starts from a parameter and drains at a rate that another parameter changes."""

    forcings = (Forcing("prcp", high=20.0),)
    parameters = (Parameter("size", 20.0, 200.0), Parameter("k", 0.05, 0.9), Parameter("start", 1.0, 50.0))
    states = (State("storage", initial="start"),)
    fluxes = (Flux("streamflow"),)
    ledger = Ledger(sources=("prcp",), sinks=("streamflow",), stores=("storage",))

    def step(self, s, x, p, dt):
        """One step."""
        full = s.storage + x.prcp * dt
        out = full * p.k * full / (full + p.size)
        return {"storage": full - out * dt}, {"streamflow": out}


SHARED = with_options(TwoRates, global_params=["k", "start"])


USED = ("budget_closes-fused", "run_is_split_at_will-fused", "gradient_is_exact-fused", "engines_agree")


@pytest.mark.parametrize("law", [law for law in LAWS if law.__name__ in USED], ids=lambda law: law.__name__)
def test_the_laws_hold_with_global_parameters(law):
    law(SHARED)


@pytest.mark.parametrize(("name", "parameter"), [("Hbv", "parBETAET"), ("HbvAdj", "parCWH")])
def test_engines_agree_where_equations_need_them(name, parameter):
    base = process_models.get(name)
    options = {"nmul": 2, "engine": "fused"}
    case = draw_case(with_options(base, global_params=[parameter]), options, steps=6, sites=2)
    assert parameter not in {p.name for p in case.model.layout.parameters}
    gradients = []
    for engine in ("fused", "eager"):
        case.model.engine = engine
        flow = case.model.run(case.forcing, case.raw, case.state, outputs=["AET_hydro", "streamflow"])[0]
        total = sum(series.square().sum() for series in flow.values())
        gradients.append(torch.autograd.grad(total, list(case.model.parameters()))[0])
    torch.testing.assert_close(*gradients, rtol=1e-8, atol=1e-12)


def test_a_fixed_parameter_is_what_a_network_could_have_given():
    case = draw_case(TwoRates, {"nmul": 2})
    fixed = with_options(TwoRates, fixed_params={"k": 0.05 + 0.85 * torch.sigmoid(torch.tensor(0.3)).item()})
    static = case.raw.static.clone()
    static[:, 2:4] = 0.3
    expected = case.model.run(case.forcing, RawParameters(case.raw.dynamic, static))[0]["streamflow"]
    model = fixed({"nmul": 2})
    assert model.learnable_param_count == case.model.learnable_param_count - 2
    fewer = RawParameters(case.raw.dynamic, torch.cat([static[:, :2], static[:, 4:]], dim=1))
    torch.testing.assert_close(model.run(case.forcing, fewer)[0]["streamflow"], expected, rtol=1e-7, atol=1e-9)


def test_one_number_for_all_sites_is_found():
    """Twin: the drainage rate is the same everywhere, the size of the store is each site's own and known."""
    case = draw_case(SHARED, {"nmul": 1}, steps=100, sites=6)
    model = case.model
    with torch.no_grad():
        model.global_parameters.raw["k"].fill_(0.7)
        observed = model.run(case.forcing, case.raw)[0]["streamflow"]
        true = {name: value.clone() for name, value in model.global_parameters().items()}
        for weight in model.parameters():
            weight.zero_()
    optimizer = torch.optim.LBFGS(model.parameters(), max_iter=50, line_search_fn="strong_wolfe")

    def closure():
        optimizer.zero_grad()
        loss = ((model.run(case.forcing, case.raw)[0]["streamflow"] - observed) ** 2).mean()
        loss.backward()
        return loss

    optimizer.step(closure)
    for name, value in model.global_parameters().items():
        torch.testing.assert_close(value, true[name], rtol=0.01, atol=0.0)


def test_hbv_with_global_and_fixed_parameters_keeps_its_engines_together():
    engines_agree(with_options(process_models.get("Hbv"), global_params=["parCFR"], fixed_params={"parCWH": 0.1}))


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"fixed_params": {"kk": 0.1}}, "did you mean 'k'"),
        ({"fixed_params": {"k": 3.0}}, "fixed at 3.0, beyond its bounds [0.05, 0.9]"),
        ({"global_params": ["kk"]}, "did you mean 'k'"),
        ({"global_params": ["k"], "dynamic_params": ["k"]}, "'k' of Changed is global and dynamic"),
        ({"global_params": ["k"], "fixed_params": {"k": 0.1}}, "is fixed, and dynamic or global too"),
    ],
)
def test_what_contradicts_is_refused(options, text):
    with pytest.raises(StepError) as raised:
        with_options(TwoRates, **options)()
    assert text in str(raised.value)
