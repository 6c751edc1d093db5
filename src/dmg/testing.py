"""The laws that every process model obeys, as tests that plug-in authors import.

Examples
--------
>>> import pytest
>>> from dmg.testing import LAWS
>>> @pytest.mark.parametrize("law", LAWS, ids=lambda law: law.__name__)
... def test_laws(law):
...     law(MyModel)  # doctest: +SKIP
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from dmg.engine import ModelState, ProcessModel, RawParameters, simulate

# Raw network output that the link maps to the lower bound, the middle and the upper bound.
_RAW_AT = {"logistic": (-30.0, 0.0, 30.0), "identity": (0.0, 0.5, 1.0)}


@dataclass(frozen=True)
class Case:
    """A model with inputs drawn from the ranges that it declares."""

    model: ProcessModel
    forcing: Tensor
    raw: RawParameters
    state: ModelState


def draw_case(
    model_class: type[ProcessModel],
    config: dict[str, Any] | None = None,
    *,
    steps: int = 40,
    sites: int = 3,
    seed: int = 0,
    dtype: torch.dtype = torch.float64,
) -> Case:
    """Draw forcing, raw parameters and a warm state for a model.

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
    """
    if config is None:
        names = [p.name for p in model_class.parameter_table]
        config = {"nmul": 2, "dynamic_params": {model_class.__name__: names[::2]}}
    model = model_class(config)
    generator = torch.Generator().manual_seed(seed)

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
    return Case(model, forcing, raw, state)


def engine_preserves_dtype(model_class: type[ProcessModel]) -> None:
    """float32 in, float32 out; float64 in, float64 out; on the device of the forcing."""
    for dtype in (torch.float32, torch.float64):
        case = draw_case(model_class, dtype=dtype)
        series, state = case.model.run(case.forcing, case.raw, case.state)
        tensors = [*series.values(), *state.stores.values(), *state.routing.values()]
        assert {value.dtype for value in tensors} == {dtype}, f"{model_class.__name__} changes the dtype"
        assert {value.device for value in tensors} == {case.forcing.device}


def budget_closes(model_class: type[ProcessModel]) -> None:
    """What enters less what leaves is what the stores gain, in every element, to rounding."""
    case = draw_case(model_class, steps=100)
    model, ledger = case.model, case.model.ledger
    assert ledger is not None, f"{model_class.__name__} declares no ledger"
    assert set(ledger.stores) == {s.name for s in model.states}, "the ledger does not name every state"
    forcing = {f.name: case.forcing[..., i : i + 1] for i, f in enumerate(model.forcings)}
    names = [name for name in (*ledger.sources, *ledger.sinks) if name not in forcing]
    run = simulate(model, case.forcing, case.raw, case.state.stores, fluxes=names, components=True)
    terms = forcing | run.fluxes
    gained = sum(terms[name].sum(0) for name in ledger.sources) - sum(terms[name].sum(0) for name in ledger.sinks)
    stored = sum(_content(run.stores[n]) - _content(case.state.stores[n]) for n in ledger.stores)
    residual = (gained * model.dt - stored).abs().max()
    assert residual < 1e-9, f"{model_class.__name__} loses or makes {float(residual):.3e}"


def run_is_split_at_will(model_class: type[ProcessModel]) -> None:
    """A run equals its first part and then the rest from the state after it."""
    case = draw_case(model_class)
    whole, end = case.model.run(case.forcing, case.raw, case.state)
    for cut in (1, 17):
        first, middle = case.model.run(case.forcing[:cut], case.raw.window(0, cut), case.state)
        second, last = case.model.run(case.forcing[cut:], case.raw.window(cut, len(case.forcing)), middle)
        for name in whole.keys() - case.model.derived:
            values = whole[name]
            joined = torch.cat([first[name], second[name]])
            torch.testing.assert_close(joined, values, rtol=1e-12, atol=1e-12, msg=lambda m, n=name: f"{n}: {m}")
        for name, value in end.stores.items():
            torch.testing.assert_close(last.stores[name], value, rtol=1e-12, atol=1e-12)
        for name, value in end.routing.items():
            torch.testing.assert_close(last.routing[name], value, rtol=1e-12, atol=1e-12)


def site_does_not_depend_on_its_batch(model_class: type[ProcessModel]) -> None:
    """A site alone gives what it gives among others."""
    case = draw_case(model_class)
    together, _ = case.model.run(case.forcing, case.raw, case.state)
    raw = RawParameters(case.raw.dynamic[:, 1:2], case.raw.static[1:2])
    state = ModelState(
        {name: value[1:2] for name, value in case.state.stores.items()},
        {name: value[:, 1:2] for name, value in case.state.routing.items()},
    )
    alone, _ = case.model.run(case.forcing[:, 1:2], raw, state)
    for name, values in together.items():
        torch.testing.assert_close(alone[name][..., 0], values[..., 1], rtol=1e-12, atol=1e-12)


def gradient_is_exact(model_class: type[ProcessModel]) -> None:
    """Gradients of parameters, forcings and initial states equal finite differences, in float64."""
    case = draw_case(model_class, steps=5, sites=2)
    names = list(case.state.stores)

    def outputs(forcing: Tensor, dynamic: Tensor, static: Tensor, *stores: Tensor) -> tuple[Tensor, ...]:
        state = ModelState(dict(zip(names, stores, strict=True)), case.state.routing)
        series, final = case.model.run(forcing, RawParameters(dynamic, static), state)
        return (*series.values(), *final.stores.values())

    inputs = [case.forcing, case.raw.dynamic, case.raw.static, *case.state.stores.values()]
    inputs = tuple(value.clone().requires_grad_() for value in inputs)
    assert torch.autograd.gradcheck(outputs, inputs, eps=1e-6, atol=1e-5, rtol=1e-4)


def finite_at_bounds(model_class: type[ProcessModel]) -> None:
    """Values and gradients are finite at every bound of the parameters, for zero, usual and extreme forcing."""
    case = draw_case(model_class, dtype=torch.float32)
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
            series, _ = case.model.run(forcing.clone(), RawParameters(dynamic, static))
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


def _content(store: Tensor) -> Tensor:
    """Return what a store holds per element; the entries of a vector state add up."""
    return store if store.ndim == 2 else store.sum(-1)


LAWS: tuple[Callable[[type[ProcessModel]], None], ...] = (
    engine_preserves_dtype,
    budget_closes,
    run_is_split_at_will,
    site_does_not_depend_on_its_batch,
    gradient_is_exact,
    finite_at_bounds,
    dropped_parameter_is_constant,
)
