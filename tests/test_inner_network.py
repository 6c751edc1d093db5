"""Networks inside the step: constraints hold for any weights, engines agree, the budget closes, functions are found."""

from typing import get_args

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dmg.conf.model import FluxNetwork
from dmg.engine import Flux, Forcing, InnerNetwork, Ledger, Parameter, ProcessModel, RawParameters, State
from dmg.engine.inner_network import ACTIVATIONS
from dmg.errors import StepError
from dmg.registry import process_models
from dmg.testing import budget_closes, draw_case, engines_agree, run_is_split_at_will, step_models

ADJUSTABLE = [name for name in step_models() if process_models.get(name).adjustable]
seeds = st.integers(0, 2**31)
rising = st.sampled_from([a for a in ACTIVATIONS if a != "silu"])


def built(seed, spread=3.0, **options):
    """A network of two inputs with large weights: constraints do not come from small ones."""
    network = InnerNetwork("n", ("a", "b"), **options).build().double()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weight in network.parameters():
            weight.copy_(spread * torch.randn(weight.shape, generator=generator, dtype=torch.float64))
    return network


def inputs(seed, count=200):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(2, count, generator=generator, dtype=torch.float64).unbind()


@settings(max_examples=25, deadline=None)
@given(seeds, st.sampled_from(list(ACTIVATIONS)), st.floats(1.1, 10.0))
def test_outputs_keep_their_bounds(seed, activation, limit):
    a, b = inputs(seed)
    positive = built(seed, output="positive", activation=activation)(a, b)
    share = built(seed, output="share", activation=activation)(a, b)
    factor = built(seed, output="factor", activation=activation, limit=limit)(a, b)
    assert (positive >= 0).all()
    assert ((share >= 0) & (share <= 1)).all()
    # To rounding of the exponential.
    assert ((factor >= (1 - 1e-14) / limit) & (factor <= limit * (1 + 1e-14))).all()


@settings(max_examples=25, deadline=None)
@given(seeds, st.integers(2, 5))
def test_a_split_loses_and_makes_nothing(seed, parts):
    shares = built(seed, output="shares", outputs=parts)(*inputs(seed))
    assert len(shares) == parts
    assert all((share >= 0).all() for share in shares)
    torch.testing.assert_close(sum(shares), torch.ones_like(shares[0]), rtol=0, atol=1e-15 * parts)


@settings(max_examples=25, deadline=None)
@given(seeds, rising, st.sampled_from([1, -1]), st.sampled_from(["linear", "positive", "factor", "share"]))
def test_monotone_networks_never_turn(seed, activation, sign, output):
    network = built(seed, 1.0, output=output, activation=activation, monotone={"b": sign})
    a, b = inputs(seed)
    grid = torch.linspace(-3, 3, 50, dtype=torch.float64)
    values = network(a[:20, None], grid)
    # What a saturated activation loses to rounding is no fall.
    assert (sign * values.diff(dim=1) >= -1e-12 * values.abs().max()).all()
    # In the other input it is free: somewhere it rises, somewhere it falls, for some weights.
    assert network(a, b).shape == a.shape


def test_the_other_input_of_a_monotone_network_is_free():
    turns = set()
    for seed in range(20):
        values = built(seed, monotone={"b": 1})(torch.linspace(-3, 3, 50).double(), torch.zeros(50).double())
        turns |= set(values.diff().sign().tolist())
    assert {-1.0, 1.0} <= turns


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"output": "shares"}, "1 outputs of kind 'shares'"),
        ({"output": "postive"}, "did you mean 'positive'"),
        ({"activation": "tan"}, "did you mean 'tanh'"),
        ({"monotone": {"c": 1}}, "it has no input 'c'"),
        ({"monotone": {"a": 2}}, "1 rises, -1 falls"),
        ({"monotone": {"a": 1}, "activation": "silu"}, "silu falls in places"),
        ({"monotone": {"a": 1}, "output": "shares", "outputs": 2}, "shares of a whole cannot all rise"),
        ({"hidden": (0,)}, "layers with a width"),
        ({"limit": 1.0}, "give more than 1"),
    ],
)
def test_contradictions_are_refused(options, text):
    with pytest.raises(StepError, match="network 'n'") as raised:
        InnerNetwork("n", ("a", "b"), **options)
    assert text in str(raised.value)


class Divide(ProcessModel):
    """A store that a network drains, and another that splits what drains between a stream and the ground."""

    forcings = (Forcing("prcp", high=20.0),)
    parameters = (Parameter("size", 20.0, 200.0),)
    states = (State("storage", initial=5.0),)
    fluxes = (Flux("streamflow"), Flux("loss"), Flux("air"))
    ledger = Ledger(sources=("prcp",), sinks=("streamflow", "loss", "air"), stores=("storage",))
    networks = (
        InnerNetwork("drain", ("fullness",), (8,), output="share", monotone={"fullness": 1}),
        InnerNetwork("split", {"storage": 50.0, "prcp": 10.0}, (4, 4), output="shares", outputs=3, activation="silu"),
    )

    def step(self, s, x, p, dt):
        """One step."""
        full = s.storage + x.prcp * dt
        out = full * self.net.drain(full / p.size)
        stream, ground, air = self.net.split(full, x.prcp)
        return {"storage": full - out}, {
            "streamflow": out * stream / dt,
            "loss": out * ground / dt,
            "air": out * air / dt,
        }


@pytest.mark.parametrize("law", [budget_closes, engines_agree, run_is_split_at_will], ids=lambda law: law.__name__)
def test_a_step_with_networks_obeys(law):
    law(Divide)


def test_a_network_that_is_called_with_too_little_says_what_it_needs():
    class Wrong(Divide):
        def step(self, s, x, p, dt):
            return {"storage": s.storage}, dict.fromkeys(("streamflow", "loss", "air"), self.net.split(s.storage)[0])

    with pytest.raises(StepError, match=r"'split' is called with 1 values[\s\S]*give storage, prcp"):
        Wrong().run(torch.ones(3, 2, 1), RawParameters(torch.zeros(3, 2, 0), torch.zeros(2, 1)))


def learned(name, networks):
    """Return a registered model with networks on its fluxes, as the configuration puts them there."""
    base = process_models.get(name)

    class WithNetworks(base):
        def __init__(self, config=None, device=None):
            super().__init__({**(config or {}), "networks": networks}, device)

    return WithNetworks


def on_all(name, role):
    fluxes = process_models.get(name).adjustable
    return learned(name, {flux: {"role": role, "inputs": ["SM/parFC", "tmean"], "hidden": [3]} for flux in fluxes})


@pytest.mark.parametrize("role", ["multiply", "replace"])
@pytest.mark.parametrize("name", ADJUSTABLE)
def test_the_budget_closes_with_networks_on_every_flux(name, role):
    budget_closes(on_all(name, role), "fused")


def test_engines_agree_with_networks_on_every_flux():
    engines_agree(on_all("Hbv", "multiply"))


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in ADJUSTABLE if name != "Hbv"])
def test_engines_agree_with_networks_on_every_flux_of_other_models(name):
    engines_agree(on_all(name, "replace"))


def test_an_implicit_model_reads_its_networks_in_any_order():
    """The flow alone uses another network first than all fluxes together do."""
    case = draw_case(on_all("HbvAdj", "multiply"), {"nmul": 2}, steps=4, sites=2)
    series, gradients = [], []
    for engine in ("eager", "fused"):
        case.model.engine = engine
        flow = case.model.run(case.forcing, case.raw, case.state, outputs=["streamflow_no_rout"])[0]
        series.append(flow["streamflow_no_rout"])
        gradients.append(torch.autograd.grad(series[-1].sum(), list(case.model.parameters())))
    torch.testing.assert_close(*series, rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(*gradients, rtol=1e-8, atol=1e-12)


@pytest.mark.parametrize("name", ADJUSTABLE)
def test_every_flux_that_is_said_to_be_adjustable_is(name):
    base = process_models.get(name)
    for flux in base.adjustable:
        plain = draw_case(base, {"nmul": 2}, steps=5, engine="eager")
        inside = learned(name, {flux: {"inputs": ["tmean"], "hidden": [2]}})
        case = draw_case(inside, {"nmul": 2}, steps=5, engine="eager")
        series = [c.model.run(c.forcing, c.raw, c.state, attributes=c.attributes)[0][flux] for c in (plain, case)]
        assert not torch.allclose(*series), flux


def test_a_factor_starts_as_the_equations_and_a_share_keeps_its_bound():
    case = draw_case(process_models.get("Hbv"), {"nmul": 2})
    run = {}
    for role in ("multiply", "replace"):
        torch.manual_seed(0)
        block = {"role": role, "inputs": ["SM/parFC", "pet"]}
        model = process_models.get("Hbv")({"nmul": 2, "networks": {"AET_hydro": block}}).double()
        run[role] = model.run(case.forcing, case.raw, case.state)[0]
    plain = case.model.run(case.forcing, case.raw, case.state)[0]
    for name, values in plain.items():
        torch.testing.assert_close(run["multiply"][name], values, rtol=1e-12, atol=1e-12)
    assert (run["replace"]["AET_hydro"] <= plain["PET_hydro"] * (1 + 1e-12)).all()


def test_the_configuration_has_the_defaults_and_choices_of_the_network():
    fields = FluxNetwork.model_fields
    assert list(get_args(fields["activation"].annotation)) == list(ACTIVATIONS)
    assert get_args(fields["role"].annotation) == ("multiply", "replace")
    for name in ("hidden", "activation", "limit"):
        default = fields[name].default
        assert (tuple(default) if name == "hidden" else default) == getattr(InnerNetwork, name)


def test_a_factor_that_follows_temperature_is_learned_inside_hbv():
    """Twin: evapotranspiration is that of the equations times a factor that rises with temperature; flow is seen."""

    def true_factor(tmean):
        # Less than one: what is not limited by soil or demand shows.
        return 0.6 + 0.35 * torch.tanh((tmean - 8.0) / 5.0)

    class True_(process_models.get("Hbv")):
        def learned(self, s, x, p):
            factor = true_factor(x.tmean)
            return lambda name, value, upto: torch.minimum(value * factor, upto) if name == "AET_hydro" else value

    case = draw_case(True_, {"nmul": 1, "routing": False}, steps=150, sites=8)
    observed = case.model.run(case.forcing, case.raw, case.state, outputs=["streamflow"])[0]["streamflow"]
    torch.manual_seed(0)
    block = {"inputs": ["tmean"], "hidden": [8]}
    model = process_models.get("Hbv")({"routing": False, "networks": {"AET_hydro": block}}).double()
    optimizer = torch.optim.LBFGS(model.parameters(), max_iter=60, line_search_fn="strong_wolfe")

    def closure():
        optimizer.zero_grad()
        flow = model.run(case.forcing, case.raw, case.state, outputs=["streamflow"])[0]["streamflow"]
        loss = ((flow - observed) ** 2).mean()
        loss.backward()
        return loss

    optimizer.step(closure)
    found = model.flux_networks["AET_hydro"]
    tmean = torch.linspace(2.0, 22.0, 30, dtype=torch.float64)
    one, large = torch.ones_like(tmean), torch.full_like(tmean, 1e9)
    error = (found(one, large, {"tmean": tmean}) - true_factor(tmean)).abs()
    assert error.mean() < 0.05
    assert error.max() < 0.15


@pytest.mark.parametrize(
    ("networks", "text"),
    [
        ({"rechage": {"inputs": ["prcp"]}}, "did you mean 'recharge'"),
        ({"recharge": {"inputs": ["SM"]}}, "say how large it usually is, {SM: 100}"),
        ({"recharge": {"inputs": ["parFX"]}}, "did you mean 'parFC'"),
        ({"recharge": {"inputs": ["SM/parFX"]}}, "did you mean 'parFC'"),
        ({"recharge": {"inputs": []}}, "a network needs inputs"),
        ({"recharge": {"inputs": ["prcp"], "role": "add"}}, "unknown role 'add'"),
        ({"recharge": {"inputs": ["prcp"], "width": 3}}, "unknown key 'width'"),
    ],
)
def test_what_cannot_be_put_on_a_flux_is_refused(networks, text):
    with pytest.raises(StepError) as raised:
        process_models.get("Hbv")({"networks": networks})
    assert text in str(raised.value)


def test_a_model_that_offers_no_flux_says_how_to():
    with pytest.raises(StepError, match="declare the fluxes adjustable"):
        process_models.get("Hymod")({"networks": {"streamflow": {"inputs": ["prcp"]}}})


def test_a_network_learns_the_function_that_made_the_flow():
    """Twin: a store drains by a share that bends with how full it is; only the flow is seen."""

    class True_(Divide):
        networks = ()

        def step(self, s, x, p, dt):
            full = s.storage + x.prcp * dt
            out = full * 0.5 * torch.clamp(full / p.size, 0.0, 1.0) ** 2
            return {"storage": full - out}, {"streamflow": out / dt, "loss": 0.0 * out, "air": 0.0 * out}

    class Learner(Divide):
        networks = (InnerNetwork("drain", ("fullness",), (8, 8), output="share", monotone={"fullness": 1}),)

        def step(self, s, x, p, dt):
            full = s.storage + x.prcp * dt
            out = full * self.net.drain(full / p.size)
            return {"storage": full - out}, {"streamflow": out / dt, "loss": 0.0 * out, "air": 0.0 * out}

    torch.manual_seed(0)
    forcing = torch.relu(torch.randn(80, 10, 1, dtype=torch.float64)) * 12.0
    raw = RawParameters(forcing[..., :0], torch.randn(10, 1, dtype=torch.float64))
    observed = True_().run(forcing, raw, outputs=["streamflow"])[0]["streamflow"]
    model = Learner().double()
    optimizer = torch.optim.LBFGS(model.parameters(), max_iter=60, line_search_fn="strong_wolfe")

    def closure():
        optimizer.zero_grad()
        loss = ((model.run(forcing, raw, outputs=["streamflow"])[0]["streamflow"] - observed) ** 2).mean()
        loss.backward()
        return loss

    optimizer.step(closure)
    fullness = torch.linspace(0.2, 0.9, 20, dtype=torch.float64)
    error = (model.net.drain(fullness) - 0.5 * fullness**2).abs().max()
    assert error < 0.02
