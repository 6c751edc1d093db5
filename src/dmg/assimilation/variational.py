"""Variational assimilation: states and forcings such that a trained model meets what was observed.

Jamaat, A., Song, Y., Rahmani, F., Liu, J., Lawson, K., Shen, C. (2025): Update hydrological states or meteorological
forcings? Comparing data assimilation methods for differentiable hydrologic models. arXiv:2502.16444.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from dmg.assimilation.controls import Controls, departure
from dmg.core.utils.evaluating import evaluating
from dmg.engine import ProcessModel
from dmg.errors import DataError, StepError
from dmg.models.delta_models.delta_state import DeltaState
from dmg.models.delta_models.dpl_model import DplModel, Window


@dataclass(frozen=True)
class Analysis:
    """What an assimilation found.

    Parameters
    ----------
    window
        The window with adjusted start and forcings.
    state
        Full state after its last step, to forecast from.
    series
        The target over the window [T, B].
    unknowns
        What was adjusted, in standard deviations; see `Controls.unknowns`.
    cost_before, cost
        Cost [B] without and with adjustment.
    iterations
        Steps of the optimizer that were taken.
    """

    window: Window
    state: DeltaState
    series: Tensor
    unknowns: Mapping[str, Tensor]
    cost_before: Tensor
    cost: Tensor
    iterations: int


def assimilate(
    model: DplModel,
    window: Window,
    observed: Tensor,
    error: Tensor | float,
    *,
    target: str | None = None,
    controls: Controls | None = None,
    iterations: int = 40,
    rate: float = 0.2,
    tolerance: float = 1e-3,
    patience: int = 5,
    memory: float | None = None,
) -> Analysis:
    """Return the most probable start and forcings of a window, given what was observed in it.

    Networks are not run again: parameters are those of the window. Every site has its own cost and its own unknowns,
    and Adam moves each unknown by itself, so that a site finds the same alone as among many. A site keeps the best that
    it came across; the search ends when none gains any more.

    Parameters
    ----------
    model
        A trained model.
    window
        Steps up to now, as `DplModel.window` returns them.
    observed
        [T, B] in the unit of the target; NaN where nothing was observed.
    error
        Standard deviation of the observation errors, broadcast to [T, B].
    target
        Output that was observed; the first flux that the model declares if absent.
    controls
        What may be adjusted.
    iterations
        Greatest number of steps of the optimizer.
    rate
        Greatest change of an unknown in a step, in standard deviations.
    tolerance, patience
        The search ends when no site lowered its cost by this share in that many steps.
    memory
        Steps back from the end of the window after which an observation weighs 1/e of the last one: no start explains
        all of a window if the model is not perfect. All weigh the same if absent.

    Raises
    ------
    StepError
        If the model keeps no state, or its sites are joined by a river network.
    DataError
        If the observations do not fit the window, or an error is not positive.
    """
    controls, process = controls or Controls(), model.phy_model
    target = observable(process, target)
    _check(window, observed, error)
    if memory is not None:
        age = torch.arange(len(observed) - 1, -1, -1, dtype=observed.dtype, device=observed.device)
        error = error * (age / (2.0 * memory)).exp()[:, None]
    unknowns = {name: u.requires_grad_() for name, u in controls.unknowns(process, window).items()}
    optimizer = torch.optim.Adam(unknowns.values(), lr=rate)
    with evaluating(model):
        window = replace(window, raw=window.raw.map(Tensor.detach), start=window.start.detach())
        best: dict[str, Tensor] = {}
        first = lowest = torch.empty(0)
        idle = taken = 0
        for taken in range(iterations + 1):
            with torch.enable_grad():
                cost = cost_by_site(process, controls, unknowns, window, observed, error, target)
                gradients = torch.autograd.grad(cost.sum(), list(unknowns.values()))
            now = cost.detach()
            if not best:
                first, lowest = now, now.clone()
                best = {name: u.detach().clone() for name, u in unknowns.items()}
            gains = bool((now < lowest * (1.0 - tolerance)).any())
            better = now < lowest
            lowest = torch.where(better, now, lowest)
            for name, u in unknowns.items():
                best[name] = torch.where(_by_site(better, name, u), u.detach(), best[name])
            idle = 0 if gains or taken == 0 else idle + 1
            if idle >= patience or taken == iterations:
                break
            for u, gradient in zip(unknowns.values(), gradients, strict=True):
                # A store that overflows at one site must not stop the others.
                u.grad = torch.nan_to_num(gradient, 0.0, 0.0, 0.0)
            optimizer.step()
        with torch.no_grad():
            adjusted = controls.apply(best, process, window)
            series, state = model.run_window(adjusted)
    return Analysis(adjusted, state, series[target][..., 0], best, first, lowest, taken)


def cost_by_site(
    process: ProcessModel,
    controls: Controls,
    unknowns: Mapping[str, Tensor],
    window: Window,
    observed: Tensor,
    error: Tensor | float,
    target: str | None = None,
) -> Tensor:
    """Return minus the log of the posterior density [B], up to a constant: misfits and unknowns, both normal."""
    target = observable(process, target)
    adjusted = controls.apply(unknowns, process, window)
    series, _ = process.run(
        adjusted.forcing,
        adjusted.raw,
        adjusted.start,
        attributes=adjusted.attributes,
        outputs=[target],
        weights=adjusted.weights,
    )
    seen = torch.isfinite(observed)
    misfit = torch.where(seen, series[target] - observed, 0.0) / torch.where(seen, torch.as_tensor(error), 1.0)
    return 0.5 * misfit.square().sum(0) + departure(unknowns)


def observable(process: object, target: str | None) -> str:
    """Return the name of the output that is observed: the first flux that the model declares if none is given.

    Raises
    ------
    StepError
        If the model keeps no state that could be adjusted.
    """
    if not isinstance(process, ProcessModel):
        raise StepError(
            f"{type(process).__name__} keeps no state that could be adjusted",
            hint="derive it from dmg.engine.ProcessModel",
        )
    return target or process.fluxes[0].name


def _by_site(mask: Tensor, name: str, unknown: Tensor) -> Tensor:
    """Return a mask [B] in a shape that broadcasts over an unknown; see `Controls.unknowns`."""
    return mask.view(-1, *[1] * (unknown.ndim - 1)) if name.startswith("x:") else mask


def _check(window: Window, observed: Tensor, error: Tensor | float) -> None:
    if window.downstream is not None:
        raise StepError(
            "sites joined by a river network are not independent of each other",
            hint="assimilate what the units yield, without outlet_topo",
        )
    if observed.shape != window.forcing.shape[:2]:
        raise DataError(
            f"observations have shape {tuple(observed.shape)}, the window {tuple(window.forcing.shape[:2])}",
            hint="give one value per step and site, NaN where nothing was observed",
        )
    errors = torch.as_tensor(error)
    if errors.ndim and errors.shape != observed.shape:
        errors = errors.expand_as(observed)
    wrong = ~(errors > 0)
    if bool((wrong & torch.isfinite(observed)).any() if errors.ndim else wrong):
        raise DataError("an observation error is not positive", hint="give standard deviations greater than 0")
