"""What a host may read and set beside inputs and outputs: stores of the model, its static parameters, attributes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import numpy as np
import torch
from torch import Tensor

from dmg.bmi.stream import Stream
from dmg.bmi.variable import Computed
from dmg.engine import ModelState, Parameter, ProcessModel
from dmg.errors import DataError

_EDGE = 1e-6
"""Share of the bounds of a parameter that a logistic link cannot reach."""


Write = Callable[[np.ndarray], None]


def own_variables(stream: Stream, accounted: Callable[[Write], Write], grid_of: Callable[[int], int]) -> list[Computed]:
    """Return the variables that a host may read and set beside inputs and outputs.

    Parameters
    ----------
    stream
        What is run.
    accounted
        Makes of a way to set something one after which the account of water knows.
    grid_of
        Returns the grid of so many values.
    """
    process, batch, found = stream.process, stream.units, []
    for name in dict.fromkeys(n for key in ("c_nn", "c_phy") for n in batch.names.get(key, ())):
        write = accounted(partial(stream.set_attribute, name))
        unit = batch.units.get(name) or "1"
        found.append(Computed(name, unit, stream.nodes, partial(stream.attribute, name), write))
    for state in process.states if process else ():
        size, read = store_size(stream, state.name), partial(store_values, stream, state.name)
        write = accounted(partial(set_store, stream, state.name))
        found.append(Computed(state.name, state.unit or "1", size, read, write, grid=grid_of(size)))
    for name, parameter in (static_parameters(process) if process else {}).items():
        size, read = parameter_size(stream, name), partial(parameter_values, stream, name)
        write = accounted(partial(set_parameter, stream, name))
        unit = "1" if parameter.unit in ("", "-") else parameter.unit
        found.append(Computed(name, unit, size, read, write, grid=grid_of(size)))
    return found


def store_values(stream: Stream, name: str) -> np.ndarray:
    """Return a store, nodes first, then components, then entries of a vector; NaN before it is known."""
    (state,) = stream.state.values()
    store = state.process.stores.get(name)
    if store is None:
        return np.full(store_size(stream, name), np.nan)
    return store.double().cpu().numpy()


def store_size(stream: Stream, name: str) -> int:
    """Return the number of values of a store."""
    declared = next(s for s in stream.process.states if s.name == name)
    return stream.nodes * stream.process.layout.components * declared.size


def set_store(stream: Stream, name: str, values: np.ndarray) -> None:
    """Replace a store.

    Raises
    ------
    DataError
        If it is not known yet.
    """
    ((model, state),) = stream.state.items()
    stores = dict(state.process.stores)
    if name not in stores:
        raise DataError(f"'{name}' starts from a parameter, which is known after the first update")
    stores[name] = torch.from_numpy(values).to(stores[name]).reshape(stores[name].shape)
    stream.state = {model: replace(state, process=ModelState(stores, state.process.routing))}


def static_parameters(process: ProcessModel) -> dict[str, Parameter]:
    """Return the parameters that do not vary in time, those of the router included."""
    return {p.name: p for p in (*process.layout.static_parameters, *process.layout.routing)}


def parameter_values(stream: Stream, name: str) -> np.ndarray:
    """Return a static parameter in its unit, nodes first, then components; NaN before it is known."""
    (state,) = stream.state.values()
    channels = _channels(stream.process, name)
    if state.static is None:
        return np.full(stream.nodes * len(channels), np.nan)
    declared = static_parameters(stream.process)[name]
    raw = state.static[:, channels].double()
    unit = torch.sigmoid(raw) if stream.process.layout.link == "logistic" else raw
    return (declared.low + unit * (declared.high - declared.low)).cpu().numpy()


def parameter_size(stream: Stream, name: str) -> int:
    """Return the number of values of a static parameter."""
    return stream.nodes * len(_channels(stream.process, name))


def set_parameter(stream: Stream, name: str, values: np.ndarray) -> None:
    """Replace a static parameter by values in its unit.

    Raises
    ------
    DataError
        If they are out of its bounds, or the parameters are not known yet.
    """
    ((model, state),) = stream.state.items()
    declared = static_parameters(stream.process)[name]
    if state.static is None:
        raise DataError(
            f"'{name}' cannot be set before it is known",
            hint="after a cold start the network gives it at the first update; a spin-up or a state has it",
        )
    unit = (values - declared.low) / (declared.high - declared.low)
    if unit.min() < -1e-9 or unit.max() > 1 + 1e-9:
        raise DataError(
            f"'{name}' is between {declared.low:g} and {declared.high:g} {declared.unit}, "
            f"{values.min():g} to {values.max():g} was given",
            hint="nothing was changed",
        )
    raw = torch.from_numpy(unit)
    if stream.process.layout.link == "logistic":
        raw = torch.logit(raw, eps=_EDGE)
    static: Tensor = state.static.clone()
    static[:, _channels(stream.process, name)] = raw.to(static).reshape(stream.nodes, -1)
    stream.state = {model: replace(state, static=static)}


def _channels(process: ProcessModel, name: str) -> list[int]:
    """Return where a parameter stands among the raw static ones."""
    layout = process.layout
    names, m = [p.name for p in layout.static_parameters], layout.components
    if name in names:
        first = names.index(name) * m
        return list(range(first, first + m))
    return [len(names) * m + [p.name for p in layout.routing].index(name)]
