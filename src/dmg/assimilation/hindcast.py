"""Forecasts of the past with and without assimilation, scored by lead time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dmg.assimilation.controls import Controls
from dmg.assimilation.variational import assimilate, observable
from dmg.core.utils.evaluating import evaluating
from dmg.engine import ModelState, ProcessModel
from dmg.errors import DataError
from dmg.models.delta_models.dpl_model import DplModel, Window


@dataclass(frozen=True)
class Hindcast:
    """Forecasts by date of issue, lead time and site, and what they are compared with.

    Parameters
    ----------
    issues
        Steps [I] after the warm-up at which forecasts were issued: lead 1 is this step, the one before it is the last
        that was assimilated.
    forecast, open_loop, observed
        [I, L, B].
    cost_before, cost
        [I, B], of the assimilations.
    """

    issues: np.ndarray
    forecast: np.ndarray
    open_loop: np.ndarray
    observed: np.ndarray
    cost_before: np.ndarray
    cost: np.ndarray

    def nse(self, simulated: np.ndarray) -> np.ndarray:
        """Return the Nash–Sutcliffe efficiency [L, B] of forecasts over all dates of issue."""
        from dmg.core.calc.metrics import Metrics

        leads = range(simulated.shape[1])
        return np.stack([Metrics(simulated[:, k].T, self.observed[:, k].T, names=["nse"]).nse for k in leads])


def hindcast(
    model: DplModel,
    data: Mapping[str, Any],
    observed: Tensor,
    error: Tensor,
    issues: Sequence[int],
    *,
    length: int = 60,
    leads: int = 10,
    static: str = "held",
    target: str | None = None,
    controls: Controls | None = None,
    batch: int = 20_000,
    **options: Any,
) -> Hindcast:
    """Issue forecasts in the past, each from a state that met the observations before it.

    Every forecast begins from the model's own run, not from the analysis before it, so that all of them are
    independent: site and date of issue are elements of one batch. Parameters are those of the open loop (the network
    sees forcings as observed), and so are forcings after the date of issue.

    Parameters
    ----------
    model
        A trained model.
    data
        Whole record with its warm-up, as for `DplModel.run`.
    observed, error
        [T - warmup, B]: observations (NaN where there are none) and the standard deviation of their errors.
    issues
        Steps after the warm-up at which forecasts are issued.
    length
        Steps that each assimilation looks back.
    leads
        Steps of each forecast.
    static
        ``held`` or ``last``; see `DplModel.run`.
    target
        Output that was observed; the first flux that the model declares if absent.
    controls
        What may be adjusted.
    batch
        Sites times dates of issue at once.
    options
        Passed on to `assimilate`.

    Raises
    ------
    DataError
        If a window does not lie within the record.
    """
    target = observable(model.phy_model, target)
    with torch.no_grad(), evaluating(model):
        whole = model.window(data, static=static)
        steps, sites = whole.forcing.shape[:2]
        issued = np.unique(np.asarray(issues, dtype=int))
        if not len(issued) or issued[0] < length or issued[-1] + leads > steps:
            raise DataError(
                f"the record of {steps} steps holds no window of {length} + {leads} steps around every date of issue",
                hint=f"issue from step {length} to {steps - leads}",
            )
        flow, states = _open_loop(model.phy_model, whole, issued - length, target)
    parts: list[tuple[Tensor, Tensor, Tensor]] = []
    together = max(1, batch // sites)
    for begin in range(0, len(issued), together):
        chunk = issued[begin : begin + together]
        start = _join(states[begin : begin + together])
        past = _windows(whole, start, chunk - length, length)
        of = _rows(chunk - length, length)
        found = assimilate(
            model,
            past,
            _columns(observed, of),
            _columns(error, of),
            target=target,
            controls=controls,
            **options,
        )
        with torch.no_grad(), evaluating(model):
            ahead = _windows(whole, found.state.process, chunk, leads)
            series, _ = model.run_window(ahead, [target])
        parts.append((series[target][..., 0], found.cost_before, found.cost))
    rows = issued[:, None] + np.arange(leads)
    return Hindcast(
        issues=issued,
        forecast=np.concatenate([_by_issue(p[0], sites) for p in parts]),
        open_loop=flow.cpu().numpy()[rows],
        observed=observed.cpu().numpy()[rows],
        cost_before=np.concatenate([p[1].cpu().numpy().reshape(-1, sites) for p in parts]),
        cost=np.concatenate([p[2].cpu().numpy().reshape(-1, sites) for p in parts]),
    )


def _open_loop(
    process: ProcessModel, whole: Window, starts: np.ndarray, target: str
) -> tuple[Tensor, list[ModelState]]:
    """Return the target [T, B] of the model's own run, and its full state before each of the steps."""
    flow, states, state, known = [], [], whole.start, 0
    wanted = list(dict.fromkeys([target, *process.routed]))
    for step in [*starts.tolist(), len(whole.forcing)]:
        if step > known:
            series, state = process.run(
                whole.forcing[known:step],
                whole.raw.window(known, step),
                state,
                attributes=whole.attributes,
                outputs=wanted,
                weights=whole.weights,
            )
            flow.append(series[target])
            known = step
        states.append(state)
    return torch.cat(flow), states[: len(starts)]


def _rows(starts: np.ndarray, length: int) -> Tensor:
    """Return the steps [length, I] of windows."""
    return torch.as_tensor(np.arange(length)[:, None] + starts)


def _columns(series: Tensor, rows: Tensor) -> Tensor:
    """Return what is [T, B, …] as [length, I * B, …]."""
    return series[rows.to(series.device)].flatten(1, 2)


def _windows(whole: Window, start: ModelState, starts: np.ndarray, length: int) -> Window:
    """Return windows of one length side by side, all sites of the first, then all of the next."""
    rows, copies = _rows(starts, length), len(starts)

    def repeat(values: Tensor) -> Tensor:
        return values.repeat(copies, *[1] * (values.ndim - 1))

    raw = replace(whole.raw, dynamic=_columns(whole.raw.dynamic, rows), static=repeat(whole.raw.static))
    return Window(
        forcing=_columns(whole.forcing, rows),
        attributes={name: repeat(values) for name, values in whole.attributes.items()},
        raw=raw,
        start=start,
        weights=None if whole.weights is None else repeat(whole.weights),
    )


def _join(states: Sequence[ModelState]) -> ModelState:
    first = states[0]
    return ModelState(
        {name: torch.cat([s.stores[name] for s in states]) for name in first.stores},
        {name: torch.cat([s.routing[name] for s in states], dim=1) for name in first.routing},
    )


def _by_issue(series: Tensor, sites: int) -> np.ndarray:
    """Return [L, I * B] as [I, L, B]."""
    return series.cpu().numpy().reshape(len(series), -1, sites).transpose(1, 0, 2)
