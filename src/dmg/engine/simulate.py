"""Run the step of a process model over time on one of the engines."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from dmg.engine.backend import reason_against
from dmg.engine.eager import run_eager
from dmg.engine.implicit import UNCONVERGED, implicit_step, report
from dmg.engine.parameters import ParameterLayout, RawParameters
from dmg.engine.rules import Step, check_step, copying
from dmg.engine.trace import UnsupportedOp
from dmg.errors import StepError, did_you_mean

if TYPE_CHECKING:
    from dmg.engine.process_model import ProcessModel

logger = logging.getLogger(__name__)

ENGINES = ("auto", "eager", "fused")


@dataclass(frozen=True)
class Simulation:
    """What a run of a step function gives.

    Parameters
    ----------
    fluxes
        Name of a flux, or of a state at the end of every step, to series [T, B], reduced over components (or [T, B, M]
        if they were asked for).
    stores
        State name to final value [B, M].
    """

    fluxes: dict[str, Tensor]
    stores: dict[str, Tensor]


def simulate(
    model: ProcessModel,
    forcing: Tensor,
    parameters: RawParameters,
    stores: Mapping[str, Tensor] | None = None,
    *,
    attributes: Mapping[str, Tensor] | None = None,
    layout: ParameterLayout | None = None,
    fluxes: Sequence[str] | None = None,
    weights: Mapping[str, Tensor] | None = None,
    components: bool = False,
    engine: str = "auto",
) -> Simulation:
    """Simulate a process model over time.

    Parameters
    ----------
    model
        The model whose step is run.
    forcing
        [T, B, F] in the order of ``model.forcings``.
    parameters
        Network output before link and bounds.
    stores
        Initial states, a cold start if absent.
    attributes
        Name to values [B] of at least those that the model declares.
    layout
        Which channel is which parameter; that of the model if absent.
    fluxes
        Names to compute, every flux that is no diagnostic if absent; others cost nothing. The name of a state gives
        its value at the end of every step, that of a vector state the sum of its entries.
    weights
        Flux name to component weights [B, M]; such a flux is a weighted sum, every other one a mean.
    components
        Return fluxes per component, [T, B, M].
    engine
        ``eager``: a loop in PyTorch. ``fused``: one compiled kernel on CPU or GPU. ``auto``: fused where it can be.

    Returns
    -------
    Simulation
        Fluxes and final states.

    Raises
    ------
    StepError
        For shapes, names or an engine that do not fit.
    """
    if engine not in ENGINES:
        raise StepError(f"unknown engine '{engine}'", hint=did_you_mean(engine, ENGINES))
    layout = layout or model.layout
    fluxes, known, stores = prepare(model, forcing, parameters, stores, attributes, fluxes, layout)
    weights = weights or {}
    computed = [*fluxes, UNCONVERGED.name] if model.implicit and UNCONVERGED.name not in fluxes else fluxes
    run = _run(model, forcing, known, parameters, stores, layout, computed, weights, components, engine)
    if not model.implicit:
        return run
    series = run.fluxes | {UNCONVERGED.name: run.fluxes[UNCONVERGED.name].detach()}
    report(model, series[UNCONVERGED.name])
    return Simulation({name: series[name] for name in fluxes}, run.stores)


def prepare(
    model: ProcessModel,
    forcing: Tensor,
    parameters: RawParameters,
    stores: Mapping[str, Tensor] | None,
    attributes: Mapping[str, Tensor] | None,
    fluxes: Sequence[str] | None,
    layout: ParameterLayout,
) -> tuple[list[str], dict[str, Tensor], dict[str, Tensor]]:
    """Check what a run is given; return the names of the fluxes, attributes and initial stores, completed.

    Raises
    ------
    StepError
        For shapes or names that do not fit.
    """
    declared = [flux.name for flux in model.fluxes] + [state.name for state in model.states]
    fluxes = [flux.name for flux in model.fluxes if not flux.diagnostic] if fluxes is None else list(fluxes)
    for name in fluxes:
        if name not in declared:
            raise StepError(f"{type(model).__name__} has no flux or state '{name}'", hint=did_you_mean(name, declared))
    _check_shapes(model, forcing, parameters)
    known = attributes_of(model, attributes or {}, forcing)
    if stores is None:
        stores = model.cold_stores(forcing.shape[1], dtype=forcing.dtype, device=forcing.device)
    return fluxes, known, model.complete_stores(stores, parameters, layout)


def _run(
    model: ProcessModel,
    forcing: Tensor,
    known: Mapping[str, Tensor],
    parameters: RawParameters,
    stores: Mapping[str, Tensor],
    layout: ParameterLayout,
    fluxes: Sequence[str],
    weights: Mapping[str, Tensor],
    components: bool,
    engine: str,
) -> Simulation:
    """Run on the engine that was asked for, or on the one that can."""
    verdict = check_step(model, layout, forcing.dtype, forcing.device)
    if engine != "eager":
        reason = _reason_against_fused(forcing) or verdict.untraceable
        if reason is None:
            try:
                return Simulation(
                    *_run_fused(model, forcing, known, parameters, stores, layout, fluxes, weights, components)
                )
            except UnsupportedOp as op:
                reason = f"no kernel can be made of {op}"
        if engine == "fused":
            raise StepError(f"{type(model).__name__} cannot run fused: {reason}", hint="use engine: auto or eager")
        _warn_once(type(model).__name__, reason)
    declared = model.tendency if model.implicit else model.step
    declared = copying(declared) if verdict.writes else declared
    step = implicit_step(model, declared) if model.implicit else declared
    return Simulation(*run_step(model, step, forcing, known, parameters, stores, layout, fluxes, weights, components))


def _run_fused(
    model: ProcessModel,
    forcing: Tensor,
    attributes: Mapping[str, Tensor],
    parameters: RawParameters,
    stores: Mapping[str, Tensor],
    layout: ParameterLayout,
    fluxes: Sequence[str],
    weights: Mapping[str, Tensor],
    components: bool,
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    # Imported here: an eager run needs no compiler.
    from dmg.engine.fused import run_fused

    return run_fused(
        model,
        forcing,
        parameters,
        stores,
        attributes=attributes,
        layout=layout,
        fluxes=fluxes,
        weights=weights,
        components=components,
    )


def run_step(
    model: ProcessModel,
    step: Step,
    forcing: Tensor,
    attributes: Mapping[str, Tensor],
    parameters: RawParameters,
    stores: Mapping[str, Tensor],
    layout: ParameterLayout,
    fluxes: Sequence[str],
    weights: Mapping[str, Tensor],
    components: bool,
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Run a step of a model in a loop; the arguments are those of `simulate`, completed by `prepare`."""
    static, dynamic = layout.scale(parameters)
    supplied = static | dynamic
    optional = model.unsupplied(supplied)

    def reduce(name: str, values: Tensor) -> Tensor:
        if components:
            # A flux of the forcing alone has one value for all components of a site.
            return values.expand(*values.shape[:2], layout.components)
        return (values * weights[name]).sum(-1) if name in weights else values.mean(-1)

    return run_eager(
        step,
        {f.name: forcing[..., i : i + 1] for i, f in enumerate(model.forcings)},
        {name: values[:, None] for name, values in attributes.items()},
        static | optional,
        dynamic,
        stores,
        dt=model.dt,
        fluxes=fluxes,
        reduce=reduce,
        steps=forcing.shape[0],
    )


def attributes_of(model: ProcessModel, given: Mapping[str, Tensor], forcing: Tensor) -> dict[str, Tensor]:
    """Return the attributes that a model declares, [B] each, in the precision of the forcing.

    Raises
    ------
    StepError
        If one is missing or has another number of sites than the forcing.
    """
    found = {}
    for attribute in model.attributes:
        if attribute.name not in given:
            raise StepError(
                f"{type(model).__name__} needs the attribute '{attribute.name}' ({attribute.unit}) of every site",
                hint=did_you_mean(attribute.name, given) if given else f"give it as attributes['{attribute.name}']",
            )
        values = given[attribute.name].to(forcing)
        if values.shape != forcing.shape[1:2]:
            raise StepError(
                f"the attribute '{attribute.name}' has shape {tuple(values.shape)}, the forcing {forcing.shape[1]} "
                "sites",
                hint="give one value per site",
            )
        found[attribute.name] = values
    return found


def _reason_against_fused(forcing: Tensor) -> str | None:
    """Return why a run cannot be fused, None if it can."""
    if forcing.dtype not in (torch.float32, torch.float64):
        return f"there is no kernel for {forcing.dtype}"
    return reason_against(forcing.device)


@cache
def _warn_once(model: str, reason: str) -> None:
    logger.warning("%s runs on the eager engine: %s", model, reason)


def _check_shapes(model: ProcessModel, forcing: Tensor, parameters: RawParameters) -> None:
    if forcing.ndim != 3 or forcing.shape[-1] != len(model.forcings):
        wanted = ", ".join(f.name for f in model.forcings)
        raise StepError(
            f"the forcing has shape {tuple(forcing.shape)}, the model needs [time, site, {len(model.forcings)}]",
            hint=f"give {wanted}, in this order",
        )
    steps, sites = forcing.shape[:2]
    if steps == 0:
        raise StepError("the forcing has no time step", hint="give a window longer than the warm-up")
    if parameters.dynamic.shape[:2] != torch.Size([steps, sites]) or parameters.static.shape[0] != sites:
        raise StepError(
            f"the forcing has {steps} steps of {sites} sites, the parameters "
            f"{parameters.dynamic.shape[0]} steps of {parameters.static.shape[0]} sites",
            hint="give both for the same window and sites",
        )
