"""The laws that every process model obeys, on every engine, as tests that plug-in authors import.

Examples
--------
>>> import pytest
>>> from dmg.testing import LAWS
>>> @pytest.mark.parametrize("law", LAWS, ids=lambda law: law.__name__)
... def test_laws(law):
...     law(MyModel)  # doctest: +SKIP
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial, update_wrapper
from typing import Any

import torch
from torch import Tensor

from dmg.engine import ModelState, ProcessModel, RawParameters, simulate
from dmg.engine.state import content
from dmg.registry import process_models

ENGINES = ("eager", "fused")
# Greatest difference between engines, as a share of the greatest number of a tensor.
ENGINE_TOLERANCE = {torch.float32: 1e-5, torch.float64: 1e-12}

# Over which a budget must close.
BUDGET_STEPS = 100

# Raw network output that the link maps to the lower bound, the middle and the upper bound.
_RAW_AT = {"logistic": (-30.0, 0.0, 30.0), "identity": (0.0, 0.5, 1.0)}


def step_models() -> list[str]:
    """Return the names of the registered process models that are a step: what couples several has laws of its own."""
    found = {name: process_models.get(name) for name in process_models.names()}
    return [name for name, model in found.items() if isinstance(model, type) and issubclass(model, ProcessModel)]


@dataclass(frozen=True)
class Case:
    """A model with inputs drawn from the ranges that it declares."""

    model: ProcessModel
    forcing: Tensor
    raw: RawParameters
    state: ModelState
    attributes: dict[str, Tensor] = field(default_factory=dict)


def draw_case(
    model_class: type[ProcessModel],
    config: dict[str, Any] | None = None,
    *,
    steps: int = 40,
    sites: int = 3,
    seed: int = 0,
    dtype: torch.dtype = torch.float64,
    engine: str = "auto",
) -> Case:
    """Draw forcing, attributes, raw parameters, weights of networks inside and a warm state for a model.

    Parameters
    ----------
    model_class
        The model.
    config
        Its options; two components and every second parameter dynamic if absent.
    steps, sites
        Size of the case.
    seed
        Of the draw.
    dtype
        Of every tensor.
    engine
        On which the model runs.
    """
    if config is None:
        names = [p.name for p in model_class.parameter_table]
        config = {"nmul": 2, "dynamic_params": {model_class.__name__: names[::2]}}
    generator = torch.Generator().manual_seed(seed)
    model = model_class(config | {"engine": engine}).to(torch.float64)
    with torch.no_grad():
        # The same in every case of a seed, and all of them at work, also those that start from zero.
        for weight in model.parameters():
            weight.copy_(torch.rand(weight.shape, generator=generator, dtype=torch.float64) - 0.5)
    model = model.to(dtype)

    def uniform(*shape: int) -> Tensor:
        return torch.rand(shape, generator=generator, dtype=torch.float64).to(dtype)

    low = torch.tensor([f.low for f in model.forcings], dtype=dtype)
    high = torch.tensor([f.high for f in model.forcings], dtype=dtype)
    forcing = low + uniform(steps, sites, len(model.forcings)) * (high - low)
    scale = 2.0 if model.layout.link == "logistic" else 1.0
    shift = -1.0 if model.layout.link == "logistic" else 0.0
    layout = model.layout
    raw = RawParameters(
        uniform(steps, sites, len(layout.dynamic_channels)) * scale + shift,
        uniform(sites, len(layout.static_channels)) * scale + shift,
    )
    state = model.cold_state(sites, dtype=dtype).map(lambda value: value + 5.0 * uniform(*value.shape))
    attributes = {a.name: a.low + uniform(sites) * (a.high - a.low) for a in model.attributes}
    return Case(model, forcing, raw, state, attributes)


def engine_preserves_dtype(model_class: type[ProcessModel], engine: str = "auto") -> None:
    """float32 in, float32 out; float64 in, float64 out; on the device of the forcing."""
    for dtype in (torch.float32, torch.float64):
        case = draw_case(model_class, dtype=dtype, engine=engine)
        series, state = case.model.run(case.forcing, case.raw, case.state, attributes=case.attributes)
        tensors = [*series.values(), *state.stores.values(), *state.routing.values()]
        assert {value.dtype for value in tensors} == {dtype}, f"{model_class.__name__} changes the dtype"
        assert {value.device for value in tensors} == {case.forcing.device}


def budget_closes(model_class: type[ProcessModel], engine: str = "auto") -> None:
    """What enters less what leaves is what the stores gain, in every element, to rounding."""
    ledger = model_class.ledger
    assert ledger is not None, f"{model_class.__name__} declares no ledger"
    memory = {s.name for s in model_class.states if not s.algebraic}
    assert set(ledger.stores) == memory, "the ledger does not name every state"
    residual = budget_residual(model_class, engine)
    assert residual < 1e-9, f"{model_class.__name__} loses or makes {residual:.3e}"


def budget_residual(model_class: type[ProcessModel], engine: str = "auto") -> float:
    """Return the greatest error of the ledger of any element after `BUDGET_STEPS` steps in float64."""
    case = draw_case(model_class, steps=BUDGET_STEPS, engine=engine)
    model, ledger = case.model, case.model.ledger
    forcing = {f.name: case.forcing[..., i : i + 1] for i, f in enumerate(model.forcings)}
    names = [name for name in (*ledger.sources, *ledger.sinks) if name not in forcing]
    stores = model.complete_stores(case.state.stores, case.raw, model.layout)
    run = simulate(
        model,
        case.forcing,
        case.raw,
        stores,
        attributes=case.attributes,
        fluxes=names,
        components=True,
        engine=engine,
    )
    terms = forcing | run.fluxes
    gained = sum(terms[name].sum(0) for name in ledger.sources) - sum(terms[name].sum(0) for name in ledger.sinks)
    stored = sum(content(run.stores[n]) - content(stores[n]) for n in ledger.stores)
    return float((gained * model.dt - stored).abs().max().detach())


def run_is_split_at_will(model_class: type[ProcessModel], engine: str = "auto") -> None:
    """A run equals its first part and then the rest from the state after it."""
    case = draw_case(model_class, engine=engine)
    run = partial(case.model.run, attributes=case.attributes)
    whole, end = run(case.forcing, case.raw, case.state)
    for cut in (1, 17):
        first, middle = run(case.forcing[:cut], case.raw.window(0, cut), case.state)
        second, last = run(case.forcing[cut:], case.raw.window(cut, len(case.forcing)), middle)
        for name in whole.keys() - case.model.derived:
            values = whole[name]
            joined = torch.cat([first[name], second[name]])
            torch.testing.assert_close(joined, values, rtol=1e-12, atol=1e-12, msg=lambda m, n=name: f"{n}: {m}")
        for name, value in end.stores.items():
            torch.testing.assert_close(last.stores[name], value, rtol=1e-12, atol=1e-12)
        for name, value in end.routing.items():
            torch.testing.assert_close(last.routing[name], value, rtol=1e-12, atol=1e-12)


def state_is_a_series_on_request(model_class: type[ProcessModel], engine: str = "auto") -> None:
    """The series of a state has, at every step, what a run that ends there leaves: the mean over its components."""
    case = draw_case(model_class, engine=engine)
    names = [s.name for s in case.model.states]
    if not names:
        return
    run = partial(case.model.run, attributes=case.attributes)
    series, _ = run(case.forcing, case.raw, case.state, outputs=names)
    assert list(series) == names
    for steps in (1, 17, len(case.forcing)):
        _, end = run(case.forcing[:steps], case.raw.window(0, steps), case.state)
        for name, values in series.items():
            expected = content(end.stores[name]).mean(-1)
            torch.testing.assert_close(values[steps - 1], expected, rtol=1e-12, atol=1e-12)


def site_does_not_depend_on_its_batch(model_class: type[ProcessModel], engine: str = "auto") -> None:
    """A site alone gives what it gives among others."""
    case = draw_case(model_class, engine=engine)
    together, _ = case.model.run(case.forcing, case.raw, case.state, attributes=case.attributes)
    attributes = {name: values[1:2] for name, values in case.attributes.items()}
    raw = RawParameters(case.raw.dynamic[:, 1:2], case.raw.static[1:2])
    state = ModelState(
        {name: value[1:2] for name, value in case.state.stores.items()},
        {name: value[:, 1:2] for name, value in case.state.routing.items()},
    )
    alone, _ = case.model.run(case.forcing[:, 1:2], raw, state, attributes=attributes)
    for name, values in together.items():
        torch.testing.assert_close(alone[name][..., 0], values[..., 1], rtol=1e-12, atol=1e-12)


def gradient_is_exact(model_class: type[ProcessModel], engine: str = "auto") -> None:
    """Gradients of parameters, forcings and initial states equal finite differences, in float64."""
    case = draw_case(model_class, steps=5, sites=2, engine=engine)
    names = list(case.state.stores)

    def outputs(forcing: Tensor, dynamic: Tensor, static: Tensor, *stores: Tensor) -> tuple[Tensor, ...]:
        state = ModelState(dict(zip(names, stores, strict=True)), case.state.routing)
        series, final = case.model.run(forcing, RawParameters(dynamic, static), state, attributes=case.attributes)
        return (*series.values(), *final.stores.values())

    inputs = [case.forcing, case.raw.dynamic, case.raw.static, *case.state.stores.values()]
    inputs = tuple(value.clone().requires_grad_() for value in inputs)
    # An eager step of an implicit model costs a hundred others: a random direction instead of every one. Where no
    # step knows of another one, a direction is as good as all.
    forgets = all(s.algebraic for s in model_class.states)
    fast = model_class.implicit and (engine == "eager" or forgets)
    assert torch.autograd.gradcheck(outputs, inputs, eps=1e-6, atol=1e-5, rtol=1e-4, fast_mode=fast)


def finite_at_bounds(model_class: type[ProcessModel], engine: str = "auto") -> None:
    """Values and gradients are finite at every bound of the parameters, for zero, usual and extreme forcing."""
    steps = 10 if model_class.implicit and engine == "eager" else 40
    case = draw_case(model_class, steps=steps, dtype=torch.float32, engine=engine)
    extremes = [
        case.forcing,
        torch.zeros_like(case.forcing),
        torch.tensor([f.low for f in case.model.forcings]).expand_as(case.forcing),
        torch.tensor([f.high for f in case.model.forcings]).expand_as(case.forcing),
    ]
    for value in _RAW_AT[case.model.layout.link]:
        for forcing in extremes:
            dynamic = torch.full_like(case.raw.dynamic, value).requires_grad_()
            static = torch.full_like(case.raw.static, value).requires_grad_()
            series, _ = case.model.run(forcing.clone(), RawParameters(dynamic, static), attributes=case.attributes)
            for name, values in series.items():
                assert torch.isfinite(values).all(), f"{name} is not finite with raw parameters {value}"
            gradients = torch.autograd.grad(sum(v.sum() for v in series.values()), (dynamic, static), allow_unused=True)
            for gradient in gradients:
                finite = gradient is None or torch.isfinite(gradient).all()
                assert finite, (
                    f"a gradient is not finite with raw parameters {value}; guard the arguments of pow, log …"
                )


def dropped_parameter_is_constant(model_class: type[ProcessModel]) -> None:
    """A dynamic parameter that is dropped for a site has its held value at every step."""
    case = draw_case(model_class)
    layout = case.model.layout
    dropped = torch.ones(len(layout.dynamic), case.raw.static.shape[0], dtype=torch.bool)
    raw = replace(case.raw, dropped=dropped, held=case.raw.dynamic[-1])
    _, dynamic = layout.scale(raw)
    _, free = layout.scale(case.raw)
    for name, values in dynamic.items():
        torch.testing.assert_close(values, free[name][-1:].expand_as(values))


def engines_agree(model_class: type[ProcessModel]) -> None:
    """Every engine gives the same values and gradients, in float32 and float64."""
    for dtype, tolerance in ENGINE_TOLERANCE.items():
        cases = [draw_case(model_class, dtype=dtype, engine=engine) for engine in ENGINES]
        expected, got = (_everything(case) for case in cases)
        # Of a network inside the step some gradients may cancel, and have no scale of their own.
        weights = {f"d {name}" for name, _ in cases[0].model.named_parameters()}
        together = max((expected[name].abs().max() for name in weights), default=0.0)
        for name, values in expected.items():
            scale = together if name in weights else values.abs().max() if values.numel() else 0.0
            worst = (got[name] - values).abs().max() if values.numel() else 0.0
            assert worst <= tolerance * scale, f"{name} differs by {worst:.1e} of {scale:.1e} in {dtype}"


def site_does_not_depend_on_threads_or_batch(model_class: type[ProcessModel]) -> None:
    """The fused engine gives a site the same bits with any number of threads, alone and among others."""
    for dtype in ENGINE_TOLERANCE:
        case = draw_case(model_class, steps=12, sites=37, dtype=dtype, engine="fused")
        threads = torch.get_num_threads()
        try:
            torch.set_num_threads(1)
            together = _everything(case)
            torch.set_num_threads(2)
            for name, values in _everything(case).items():
                assert torch.equal(values, together[name]), f"{name} depends on the number of threads"
        finally:
            torch.set_num_threads(threads)
        weights = {f"d {name}" for name, _ in case.model.named_parameters()}
        for sites in ([5], [36, 0, 20]):
            for name, values in _everything(_of_sites(case, sites)).items():
                # A gradient of what all sites share is the sum of all sites, in any batch.
                if name not in weights:
                    dim = values.ndim - together[name].ndim + (1 if name in _TIME_FIRST or name[0] == "f" else 0)
                    chosen = together[name].index_select(dim, torch.tensor(sites))
                    assert torch.equal(values, chosen), f"{name} depends on the other sites"


_TIME_FIRST = ("d forcing", "d dynamic")


def _everything(case: Case) -> dict[str, Tensor]:
    """Return fluxes ``f …``, final states ``s …`` and all gradients ``d …`` of a case without its router."""
    model = case.model
    start = model.complete_stores(case.state.stores, case.raw, model.layout)
    inputs = {"forcing": case.forcing, "dynamic": case.raw.dynamic, "static": case.raw.static}
    inputs |= case.attributes | start
    inputs = {name: value.detach().clone().requires_grad_() for name, value in inputs.items()}
    run = simulate(
        model,
        inputs["forcing"],
        RawParameters(inputs["dynamic"], inputs["static"]),
        {name: inputs[name] for name in start},
        attributes={name: inputs[name] for name in case.attributes},
        fluxes=[declared.name for declared in (*model.fluxes, *model.states)],
        engine=model.engine,
    )
    outputs = {f"f {n}": v for n, v in run.fluxes.items()} | {f"s {n}": v for n, v in run.stores.items()}
    # Weights that no two outputs or steps share, and that a site keeps in any batch.
    phase = torch.arange(len(case.forcing), dtype=case.forcing.dtype)
    loss = sum((v * torch.cos(0.7 * phase + i)[:, None]).sum() for i, v in enumerate(run.fluxes.values()))
    loss = loss + sum((1.0 + 0.3 * i) * v.sum() for i, v in enumerate(run.stores.values()))
    inputs |= dict(model.named_parameters())
    gradients = torch.autograd.grad(loss, list(inputs.values()), allow_unused=True)
    found = {
        f"d {n}": torch.zeros_like(v) if g is None else g for (n, v), g in zip(inputs.items(), gradients, strict=True)
    }
    return {name: value.detach() for name, value in outputs.items()} | found


def _of_sites(case: Case, sites: Sequence[int]) -> Case:
    """Return a case with some of its sites."""
    sites = list(sites)
    raw = RawParameters(case.raw.dynamic[:, sites], case.raw.static[sites])
    stores = {name: value[sites] for name, value in case.state.stores.items()}
    attributes = {name: value[sites] for name, value in case.attributes.items()}
    return Case(case.model, case.forcing[:, sites], raw, ModelState(stores), attributes)


Law = Callable[[type[ProcessModel]], None]


def _on(engine: str, law: Callable[..., None]) -> Law:
    """Return a law for one engine, named after both."""
    bound = update_wrapper(partial(law, engine=engine), law)
    bound.__name__ = f"{law.__name__}-{engine}"
    return bound


PER_ENGINE: tuple[Callable[..., None], ...] = (
    engine_preserves_dtype,
    budget_closes,
    run_is_split_at_will,
    state_is_a_series_on_request,
    site_does_not_depend_on_its_batch,
    gradient_is_exact,
    finite_at_bounds,
)
LAWS: tuple[Law, ...] = (
    *(_on(engine, law) for law in PER_ENGINE for engine in ENGINES),
    dropped_parameter_is_constant,
    engines_agree,
    site_does_not_depend_on_threads_or_batch,
)
