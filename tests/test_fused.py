"""The fused engine against the eager one: every layout, every gradient, memory, threads, processes and caches."""

import copy
import gc
import itertools
import os
import pickle
import signal
import subprocess
import sys
import weakref
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from step_models import EveryOp, NetworkInside, OneStore, Routed, StartsFull, Stateless, UnitHydrograph

from dmg.engine import ModelState, RawParameters, cpu, fused, simulate
from dmg.engine.backend import backend_for
from dmg.errors import StepError
from dmg.testing import draw_case
from hydrodl2.models.hbv.hbv import Hbv

DYNAMIC = {"none": [], "some": ["parBETA", "parBETAET"], "all": [p.name for p in Hbv.parameter_table]}


def leaf(value):
    return value.detach().clone().requires_grad_()


def outcome(case, engine, *, weights=None, components=False, fluxes=None, dropped=None):
    """Return fluxes, final states and every gradient of a run."""
    model = case.model
    inputs = {"forcing": case.forcing, "dynamic": case.raw.dynamic, "static": case.raw.static, **case.state.stores}
    inputs |= {f"w {name}": w for name, w in (weights or {}).items()}
    inputs = {name: leaf(value) for name, value in inputs.items()}
    held = inputs["dynamic"][-1] if dropped is not None else None
    raw = RawParameters(inputs["dynamic"], inputs["static"], dropped, held)
    run = simulate(
        model,
        inputs["forcing"],
        raw,
        {name: inputs[name] for name in case.state.stores},
        weights={name: inputs[f"w {name}"] for name in weights or {}},
        fluxes=fluxes,
        components=components,
        engine=engine,
    )
    outputs = {**run.fluxes, **{f"end {name}": v for name, v in run.stores.items()}}
    waves = (torch.cos(torch.arange(v.numel(), dtype=v.dtype)).reshape(v.shape) for v in outputs.values())
    loss = sum((wave * v).sum() for wave, v in zip(waves, outputs.values(), strict=True))
    inputs |= dict(model.named_parameters())
    found = torch.autograd.grad(loss, list(inputs.values()), allow_unused=True)
    gradients = {f"grad {n}": g for n, g in zip(inputs, found, strict=True) if g is not None and g.numel()}
    return {n: v.detach() for n, v in outputs.items()} | gradients


def assert_agree(got, expected, tolerance=1e-11):
    assert got.keys() == expected.keys()
    for name, values in expected.items():
        worst, scale = (got[name] - values).abs().max(), values.abs().max()
        assert worst <= tolerance * (scale + 1e-30), f"{name}: {worst:.2e} of {scale:.2e}"


@pytest.mark.parametrize("nmul", [1, 2, 3, 4, 5, 8, 16, 20, 32, 96])
def test_every_number_of_components_and_sites(nmul):
    for sites, dtype in itertools.product((1, 3, 7, 33), (torch.float64, torch.float32)):
        config = {"nmul": nmul, "dynamic_params": {"Routed": ["bend"]}}
        case = draw_case(Routed, config, steps=4, sites=sites, dtype=dtype)
        tolerance = 1e-11 if dtype == torch.float64 else 2e-5
        assert_agree(outcome(case, "fused"), outcome(case, "eager"), tolerance)


@pytest.mark.parametrize("nmul", [3, 4, 40])
def test_every_component_can_be_returned(nmul):
    case = draw_case(OneStore, {"nmul": nmul}, steps=5, sites=3)
    got = outcome(case, "fused", components=True)
    assert got["streamflow"].shape == (5, 3, nmul)
    assert_agree(got, outcome(case, "eager", components=True))


@pytest.mark.parametrize("nmul", [1, 3, 4, 40])
def test_component_weights_have_gradients(nmul):
    case = draw_case(Hbv, {"nmul": nmul}, steps=6, sites=3)
    weights = {"streamflow": torch.rand(3, nmul, dtype=torch.float64)}
    got = outcome(case, "fused", weights=weights)
    assert "grad w streamflow" in got
    assert_agree(got, outcome(case, "eager", weights=weights))


@pytest.mark.parametrize("dynamic", DYNAMIC)
@pytest.mark.parametrize("routing", [True, False])
def test_static_and_dynamic_parameters(dynamic, routing):
    config = {"nmul": 3, "routing": routing, "dynamic_params": {"Hbv": DYNAMIC[dynamic]}}
    runs = []
    for engine in ("eager", "fused"):
        case = draw_case(Hbv, config, steps=20, sites=3, engine=engine)
        inputs = [leaf(v) for v in (case.raw.dynamic, case.raw.static, case.forcing)]
        series, end = case.model.run(inputs[2], RawParameters(*inputs[:2]), case.state)
        gradients = torch.autograd.grad(sum(v.sum() for v in series.values()), inputs, allow_unused=True)
        tensors = [*series.values(), *end.stores.values(), *end.routing.values(), *gradients]
        runs.append({str(i): v.detach() for i, v in enumerate(tensors) if v is not None and v.numel()})
    assert_agree(runs[1], runs[0])


def test_dropped_dynamic_parameters_are_held():
    case = draw_case(Hbv, {"nmul": 3, "dynamic_params": {"Hbv": DYNAMIC["some"]}}, steps=6, sites=4)
    dropped = torch.tensor([[True, False, True, False], [False, False, True, True]])
    assert_agree(outcome(case, "fused", dropped=dropped), outcome(case, "eager", dropped=dropped))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("model", [Hbv, EveryOp, NetworkInside, UnitHydrograph, Stateless], ids=lambda m: m.__name__)
def test_states_that_are_computed_again_change_nothing(model, dtype, monkeypatch):
    tolerance = 1e-13 if dtype == torch.float64 else 1e-6
    case = draw_case(model, {"nmul": 3}, steps=41, sites=3, dtype=dtype)
    expected = outcome(case, "fused")
    whole = backend_for("cpu")
    for kept_bytes in (1, 1500, 4000):
        monkeypatch.setattr(fused, "backend_for", lambda kind, n=kept_bytes: replace(whole, kept_bytes=n))
        again = draw_case(model, {"nmul": 3}, steps=41, sites=3, dtype=dtype)
        assert_agree(outcome(again, "fused"), expected, tolerance)


def test_ties_split_as_pytorch_splits_them():
    class Ties(OneStore):
        def step(self, s, x, p, dt):
            a, b = x.prcp, s.storage
            extremes = torch.minimum(a, b) * 3 + torch.maximum(a, b) * 5 + torch.minimum(b, p.k) * 7
            bounds = torch.clamp(a, 1.0, 2.0) * 11 + torch.clamp(a, min=b) * 13 + torch.clamp(b, max=p.k) * 17
            kinks = torch.relu(a - 1.0) * 19 + torch.abs(a - 2.0) * 23 + torch.sign(b) * a + torch.floor(a) * b
            chosen = torch.where(a > b, a, b) * 29 + torch.where(a >= b, a * a, b) * 31 + torch.sqrt(a) * 0.1
            order = a.clamp(2.0, 1.0)
            return {"storage": torch.clamp_min(b, 1.0)}, {"streamflow": extremes + bounds + kinks + chosen + order}

    values = torch.tensor([1.0, 2.0, 1.0, 2.0, 1.5, 1.0], dtype=torch.float64)
    runs = []
    for engine in ("eager", "fused"):
        x, b = leaf(values.reshape(-1, 1, 1)), leaf(torch.ones(1, 2, dtype=torch.float64))
        k = torch.tensor([[0.0, 1.0 / 49.0]], dtype=torch.float64, requires_grad=True)
        ties = Ties({"nmul": 2, "engine": engine})
        # Identity instead of the logistic link, so that k is 1 and 2 exactly.
        layout = replace(ties.layout, link="identity")
        raw = RawParameters(torch.empty(6, 1, 0, dtype=torch.float64), k)
        run = simulate(ties, x, raw, {"storage": b}, layout=layout, components=True, engine=engine)
        gradients = torch.autograd.grad(run.fluxes["streamflow"].sum() + run.stores["storage"].sum(), (x, b, k))
        runs.append([run.fluxes["streamflow"], run.stores["storage"], *gradients])
    for got, expected in zip(runs[1], runs[0], strict=True):
        torch.testing.assert_close(got, expected, rtol=1e-14, atol=1e-14)


def test_only_what_is_asked_for_has_a_gradient():
    """Single outputs, final states alone, no gradient for some inputs: each has an adjoint of its own."""
    case = draw_case(Hbv, {"nmul": 4}, steps=9, sites=3)
    for wanted, output in itertools.product(("x", "d", "s", "SM"), ("streamflow", "AET_hydro", "end SM")):
        runs = []
        for engine in ("eager", "fused"):
            values = {"x": case.forcing, "d": case.raw.dynamic, "s": case.raw.static, **case.state.stores}
            values[wanted] = leaf(values[wanted])
            stores = {name: values[name] for name in case.state.stores}
            run = simulate(case.model, values["x"], RawParameters(values["d"], values["s"]), stores, engine=engine)
            result = run.stores["SM"] if output == "end SM" else run.fluxes[output]
            if values[wanted].numel():
                runs.append(torch.autograd.grad(result.sum(), values[wanted])[0])
        for got, expected in zip(runs[1:], runs[:1], strict=True):
            torch.testing.assert_close(got, expected, rtol=1e-11, atol=1e-11)


def test_a_gradient_of_one_flux_does_not_depend_on_which_others_are_computed():
    case = draw_case(Hbv, {"nmul": 4}, steps=9, sites=3, dtype=torch.float32)
    found = []
    for fluxes in (["streamflow"], ["streamflow", "AET_hydro", "SWE"], [f.name for f in Hbv.fluxes]):
        static = leaf(case.raw.static)
        raw = RawParameters(case.raw.dynamic, static)
        run = simulate(case.model, case.forcing, raw, case.state.stores, fluxes=fluxes, engine="fused")
        found.append((run.fluxes["streamflow"].detach(), *torch.autograd.grad(run.fluxes["streamflow"].sum(), static)))
    for other in found[1:]:
        assert all(torch.equal(a, b) for a, b in zip(found[0], other, strict=True))


def flow_of(case):
    dynamic = leaf(case.raw.dynamic)
    raw = RawParameters(dynamic, case.raw.static)
    return dynamic, simulate(case.model, case.forcing, raw, case.state.stores, engine="fused").fluxes["streamflow"]


def test_outputs_can_be_used_twice_and_graphs_kept():
    dynamic, flow = flow_of(draw_case(OneStore))
    (expected,) = torch.autograd.grad(3.0 * flow.sum(), dynamic, retain_graph=True)
    (twice,) = torch.autograd.grad(flow.sum() + 2.0 * flow.sum(), dynamic, retain_graph=True)
    torch.testing.assert_close(twice, expected)
    flow.sum().backward(retain_graph=True)
    (2.0 * flow.sum()).backward()
    torch.testing.assert_close(dynamic.grad, expected)
    with pytest.raises(RuntimeError, match="second time"):
        flow.sum().backward()


def test_inputs_changed_in_place_are_noticed():
    case = draw_case(OneStore)
    _, flow = flow_of(case)
    case.forcing.mul_(2.0)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        flow.sum().backward()


def test_second_derivatives_are_refused():
    dynamic, flow = flow_of(draw_case(OneStore))
    (gradient,) = torch.autograd.grad((flow**2).sum(), dynamic, create_graph=True)
    assert gradient.requires_grad
    with pytest.raises(StepError, match=r"no second derivatives(.|\n)*engine: eager"):
        (gradient**2).sum().backward()


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode], ids=["no_grad", "inference_mode"])
def test_without_gradient_nothing_is_kept(mode, monkeypatch):
    def refuse(*_):
        raise AssertionError("states are kept")

    monkeypatch.setattr(fused, "Loan", refuse)
    case = draw_case(NetworkInside)
    with mode():
        run = simulate(case.model, case.forcing * 1.0, case.raw, case.state.stores, engine="fused")
        eager = simulate(case.model, case.forcing * 1.0, case.raw, case.state.stores, engine="eager")
    assert not run.fluxes["streamflow"].requires_grad
    torch.testing.assert_close(run.fluxes, eager.fluxes, rtol=1e-12, atol=1e-12)


def test_results_of_one_run_survive_the_next():
    """Memory is used again only when nobody needs it."""
    case = draw_case(OneStore, steps=30)
    first_dynamic, first = flow_of(case)
    kept = first.detach().clone()
    other = replace(case, forcing=case.forcing * 2.0)
    for _ in range(3):
        _, second = flow_of(other)
        second.sum().backward()
    assert torch.equal(first.detach(), kept)
    (gradient,) = torch.autograd.grad(first.sum(), first_dynamic)
    fresh_dynamic, fresh = flow_of(case)
    assert torch.equal(gradient, torch.autograd.grad(fresh.sum(), fresh_dynamic)[0])


def test_an_initial_state_that_is_a_parameter():
    config = {"nmul": 2, "dynamic_params": {"StartsFull": ["k"]}}
    values = []
    for engine in ("eager", "fused"):
        case = draw_case(StartsFull, config, engine=engine)
        static = leaf(case.raw.static)
        series, end = case.model.run(case.forcing, RawParameters(case.raw.dynamic, static))
        (gradient,) = torch.autograd.grad(series["streamflow"].sum() + end.stores["parts"].sum(), static)
        assert gradient.abs().min() > 0
        values.append((series["streamflow"].detach(), gradient))
    for got, expected in zip(*values, strict=True):
        torch.testing.assert_close(got, expected, rtol=1e-12, atol=1e-12)
    content = case.model.physical_parameters(case.raw)["content"]
    start = {"storage": content, "parts": content.unsqueeze(-1).expand(-1, -1, 2)}
    given_series, _ = case.model.run(case.forcing, case.raw, ModelState(start))
    torch.testing.assert_close(given_series["streamflow"], values[0][0], rtol=1e-12, atol=1e-12)


def test_a_warm_up_starts_from_the_parameter_too():
    model = StartsFull({"warmup": 3, "engine": "fused"})
    x, raw = torch.rand(8, 2, 1), torch.randn(1, 2, 2).expand(8, 2, 2)
    whole = StartsFull({"engine": "fused"})({"x_phy": x}, raw)["streamflow"]
    torch.testing.assert_close(model({"x_phy": x}, raw)["streamflow"], whole[3:])


def test_numbers_that_a_model_carries_are_not_frozen_into_its_code():
    class Scaled(OneStore):
        def __init__(self, config=None, device=None):
            super().__init__(config, device)
            self.factor, self.shares = 1.0, [0.5, 0.5]
            self.register_buffer("table", torch.tensor([1.0, 2.0]))

        def step(self, s, x, p, dt):
            stores, fluxes = super().step(s, x, p, dt)
            flow = fluxes["streamflow"] * self.factor * self.shares[0] * self.table[1]
            return stores, {"streamflow": flow}

    model = Scaled({"engine": "fused"})
    x, raw = {"x_phy": torch.rand(4, 2, 1)}, torch.zeros(4, 2, 1)
    base = model(x, raw)["streamflow"]
    model.factor = 3.0
    torch.testing.assert_close(model(x, raw)["streamflow"], 3.0 * base)
    model.shares[0] = 1.0
    torch.testing.assert_close(model(x, raw)["streamflow"], 6.0 * base)
    model.load_state_dict({"table": torch.tensor([1.0, 8.0])})
    torch.testing.assert_close(model(x, raw)["streamflow"], 24.0 * base)
    model.dt = 0.5
    assert not torch.allclose(model(x, raw)["streamflow"], 24.0 * base)


def test_models_can_be_copied_and_freed_after_a_run():
    case = draw_case(Routed, engine="fused")
    expected = case.model.run(case.forcing, case.raw)[0]["streamflow"]
    for twin in (copy.deepcopy(case.model), pickle.loads(pickle.dumps(case.model))):
        assert torch.equal(twin.run(case.forcing, case.raw)[0]["streamflow"], expected)
    alive = weakref.ref(twin)
    del twin
    gc.collect()
    assert alive() is None


def test_many_sites_share_uniforms_in_a_fixed_order():
    """The gradient of a single weight over more numbers than PyTorch sums on one thread."""

    class Factor(OneStore):
        def __init__(self, config=None, device=None):
            super().__init__(config, device)
            self.factor = torch.nn.Parameter(torch.ones(()))

        def step(self, s, x, p, dt):
            stores, fluxes = super().step(s, x, p, dt)
            return stores, {"streamflow": fluxes["streamflow"] * torch.sin(self.factor * x.prcp)}

    case = draw_case(Factor, {"nmul": 16}, steps=2, sites=5000)
    threads, found = torch.get_num_threads(), []
    try:
        for count in (1, 2):
            torch.set_num_threads(count)
            run = simulate(case.model, case.forcing, case.raw, case.state.stores, engine="fused")
            found.append(torch.autograd.grad(run.fluxes["streamflow"].sum(), case.model.factor)[0])
    finally:
        torch.set_num_threads(threads)
    assert torch.equal(*found)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_forked_process_has_threads_of_its_own():
    case = draw_case(OneStore, {"nmul": 16}, sites=20)
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        _, flow = flow_of(case)
        child = os.fork()
        if child == 0:
            # Nothing of the test framework may run in the child.
            same = False
            signal.alarm(20)
            try:
                same = torch.equal(flow_of(case)[1], flow)
            finally:
                os._exit(0 if same else 1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    finally:
        torch.set_num_threads(threads)


class TestCache:
    """Compiled code on disk."""

    @staticmethod
    def run(monkeypatch, folder):
        """Return a flow and how often something was compiled, with empty memory."""
        compiled = []
        compile_text = cpu.compile_text
        monkeypatch.setenv("DMG_CACHE_DIR", str(folder))
        monkeypatch.setattr(cpu, "compile_text", lambda text: compiled.append(text) or compile_text(text))
        with cpu.forgetting():
            flow = flow_of(draw_case(OneStore))[1].detach()
        monkeypatch.setattr(cpu, "compile_text", compile_text)
        return flow, len(compiled)

    def test_a_second_run_compiles_nothing(self, monkeypatch, tmp_path):
        first, compiled = self.run(monkeypatch, tmp_path / "new" / "folder")
        assert compiled == 1
        second, compiled = self.run(monkeypatch, tmp_path / "new" / "folder")
        assert compiled == 0
        assert torch.equal(first, second)

    @pytest.mark.parametrize("damage", [lambda c: b"", lambda c: c[: len(c) // 2], lambda c: c[:-9] + b"123456789"])
    def test_damaged_code_is_replaced(self, monkeypatch, tmp_path, damage):
        expected, _ = self.run(monkeypatch, tmp_path)
        (file,) = tmp_path.iterdir()
        whole = file.read_bytes()
        file.write_bytes(damage(whole))
        flow, compiled = self.run(monkeypatch, tmp_path)
        assert compiled == 1
        assert torch.equal(flow, expected)
        assert len(file.read_bytes()) == len(whole)
        assert self.run(monkeypatch, tmp_path)[1] == 0

    def test_a_folder_that_cannot_be_written_costs_time_only(self, monkeypatch, tmp_path):
        (tmp_path / "file").write_text("no folder")
        expected, _ = self.run(monkeypatch, tmp_path)
        flow, compiled = self.run(monkeypatch, tmp_path / "file" / "below")
        assert compiled == 1
        assert torch.equal(flow, expected)

    def test_another_process_uses_it(self, monkeypatch, tmp_path):
        expected, _ = self.run(monkeypatch, tmp_path)
        program = (
            "import sys; from dmg.engine import cpu\n"
            "def refuse(text): raise SystemExit('compiled')\n"
            "cpu.compile_text = refuse\n"
            "from test_fused import flow_of, draw_case, OneStore\n"
            "print(flow_of(draw_case(OneStore))[1].sum().item())"
        )
        environment = os.environ | {"DMG_CACHE_DIR": str(tmp_path), "PYTHONPATH": os.pathsep.join(sys.path)}
        command = [sys.executable, "-c", program]
        run = subprocess.run(command, env=environment, cwd=Path(__file__).parent, capture_output=True, text=True)
        assert run.returncode == 0, run.stderr
        assert float(run.stdout) == expected.sum().item()


@given(
    seed=st.integers(0, 2**31),
    wetness=st.floats(0.0, 1.0),
    warmth=st.floats(-20.0, 15.0),
    spread=st.floats(0.0, 6.0),
    nmul=st.sampled_from([1, 3]),
)
@settings(deadline=None, max_examples=25)
def test_hbv_agrees_over_all_climates_and_parameters(seed, wetness, warmth, spread, nmul):
    """From drought to monsoon, from ice to desert, from mild parameters to those at their bounds."""
    generator = torch.Generator().manual_seed(seed)
    config = {"nmul": nmul, "dynamic_params": {"Hbv": DYNAMIC["some"]}}
    case = draw_case(Hbv, config, steps=25, sites=3, seed=seed)
    noise = torch.randn(25, 3, 3, generator=generator, dtype=torch.float64)
    prcp = torch.relu(noise[..., 0] - 1.5 + 3.0 * wetness) * 20.0
    # Never without evaporation: a full soil that stays full to the last bit lies on a kink, where rounding decides.
    pet = torch.relu(3.0 + 2.0 * noise[..., 2]) + 0.01
    forcing = torch.stack([prcp, warmth + 8.0 * noise[..., 1], pet], -1)
    raw = RawParameters(case.raw.dynamic * spread, case.raw.static * spread)
    case = replace(case, forcing=forcing, raw=raw)
    assert_agree(outcome(case, "fused"), outcome(case, "eager"), 1e-10)


def test_a_power_of_zero_at_one_site_moves_no_bit_of_another():
    """Zero takes a detour in the kernel, for itself alone."""

    class Powers(OneStore):
        def step(self, s, x, p, dt):
            return {"storage": s.storage}, {"streamflow": torch.relu(x.prcp - 5.0) ** p.k}

    found = []
    for neighbour in (7.0, 5.0):
        torch.manual_seed(0)
        forcing = leaf(5.0 + torch.cat([torch.rand(40, 1, 1), torch.full((40, 1, 1), neighbour - 5.0)], dim=1))
        raw = RawParameters(torch.zeros(40, 2, 0), leaf(torch.full((2, 1), -4.0)))
        run = simulate(Powers(), forcing, raw, engine="fused")
        gradients = torch.autograd.grad(run.fluxes["streamflow"][:, 0].sum(), (forcing, raw.static))
        found.append([run.fluxes["streamflow"][:, 0].detach(), *(g[..., 0, :] for g in gradients)])
    for one, other in zip(*found, strict=True):
        assert torch.equal(one, other)
