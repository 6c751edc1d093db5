"""Running trained models over a period, batch by batch of sites, and what comes out of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor

from dmg.core.utils.evaluating import evaluating
from dmg.core.utils.processes import from_all, rank, world
from dmg.engine import Budget
from dmg.errors import RunError
from dmg.models.fingerprint import weights_digest
from dmg.models.full_state import FullState
from dmg.models.multimodels import ENSEMBLE
from dmg.trainers.progress import progress

if TYPE_CHECKING:
    import xarray as xr

    from dmg.core.data.batch import Batch
    from dmg.core.data.samplers import BaseSampler
    from dmg.models.model_handler import ModelHandler


@dataclass
class Simulation:
    """Series of many sites on one time axis.

    Parameters
    ----------
    sites
        Ids [N].
    times
        datetime64 [T]: the period without its warm-up.
    series
        Name to values [T, N], or [N] for what has no time.
    units
        Name to unit.
    static
        ``last`` or ``held``: what the static parameters were.
    outputs
        Name of a series to the name of the output it is; they differ where several models have one.
    descriptions
        Name of a series to what its model declares it to be.
    state
        Full state of the models after the last step.
    budgets
        Name of a model to its budget over the period, per site, if that was asked for.
    """

    sites: list[str]
    times: np.ndarray
    series: dict[str, np.ndarray]
    units: dict[str, str] = field(default_factory=dict)
    static: str = "held"
    outputs: dict[str, str] = field(default_factory=dict)
    descriptions: dict[str, str] = field(default_factory=dict)
    state: FullState | None = None
    budgets: dict[str, Budget] = field(default_factory=dict)


def simulate_sites(
    model: ModelHandler,
    dataset: Batch,
    sampler: BaseSampler,
    *,
    batch_size: int,
    static: str = "held",
    outputs: Sequence[str] | None = None,
    start: FullState | None = None,
    account: bool = False,
    description: str | None = "simulating",
) -> Simulation:
    """Run the models over all sites and time steps of a dataset, without gradient.

    Parameters
    ----------
    model
        The models; left in the mode (training or evaluation) in which they were.
    dataset
        Inputs; its first ``warmup`` steps spin the models up and are not part of the result.
    sampler
        Cuts the dataset into batches of sites.
    batch_size
        Sites per batch; any number gives the same result. Several processes take batches in turn, and all of them get
        the result of all.
    static
        ``last`` or ``held``.
    outputs
        Names of outputs to keep; None for all.
    start
        State to start from; the series then begin one step after it, without a warm-up.
    account
        Recompute the budgets in float64 too.
    description
        Text of the progress bar; None for no bar.

    Returns
    -------
    Simulation
        Targets in the output unit (the dataset's ``denorm_fn``), other fluxes and states in the unit their model
        declares. With several models the names are ``<model>_<output>``; those of their ensemble are plain.
    """
    made = {"fingerprint": model.fingerprint, "weights": weights_digest(model.models)}
    if start is not None:
        start.require(**made)
        dataset = dataset.select(times=slice(start.first_step(_times(dataset)), None))
    n_sites = dataset.n_sites
    sites = list(dataset.sites) if dataset.sites is not None else [str(i) for i in range(n_sites)]
    moment = {"time": _times(dataset)[-1], "step": _step(dataset, start), **made}
    begins = range(0, n_sites, batch_size)
    target_of = {n: target for m in model.models.values() for n, target in getattr(m, "target_of", {}).items()}
    parts: dict[int, _Part] = {}
    with evaluating(model), progress(n_sites, description, unit="site") as bar:
        for begin in begins[rank() :: world()]:
            end = min(begin + batch_size, n_sites)
            batch = sampler.get_validation_sample(dataset, begin, end)
            at = _state_sites(batch, sites[begin:end])
            before = None if start is None else start.of(at, model.device)
            result = model(batch, state=before, static=static, outputs=outputs, whole_state=True, account=account)
            found = _named(result, batch, outputs, target_of)
            labels = {_label(m, n, len(result)): n for m, named in result.items() for n in named}
            parts[begin] = _Part(
                found,
                {label: name for label, name in labels.items() if label in found},
                FullState.join([model.get_states()], at, **moment),
                {name: budget.map(Tensor.cpu) for name, budget in model.budget.items()},
            )
            bar.update((end - begin) * world())
    for others in from_all(parts):
        parts |= others
    joined = [parts[begin] for begin in begins]
    state_sites = [site for part in joined for site in part.state.sites]
    series = {name: np.concatenate([part.series[name] for part in joined], axis=-1) for name in joined[0].series}
    length = max((s.shape[0] for s in series.values() if s.ndim == 2), default=dataset.n_times)
    return Simulation(
        sites=sites,
        times=_times(dataset)[-length:],
        series=series,
        units=_units(model, dataset, [*series, *joined[0].outputs.values()]),
        static=static,
        outputs=joined[0].outputs,
        descriptions=_descriptions(model, joined[0].outputs),
        state=FullState.join([part.state.models for part in joined], state_sites, **moment),
        budgets={name: Budget.join([part.budgets[name] for part in joined]) for name in joined[0].budgets},
    )


@dataclass(frozen=True)
class _Part:
    """What came out of one batch of sites."""

    series: dict[str, np.ndarray]
    outputs: dict[str, str]
    state: FullState
    budgets: dict[str, Budget]


def _state_sites(batch: Batch, sites: list[str]) -> list[str]:
    """Return whose states the models have after a batch: those of the sites, or of the units that drain to them.

    A unit above several gauges may be there several times, each time with the same state.
    """
    upstream = batch.get("upstream")
    return sites if upstream is None else upstream.sites


def _named(
    result: dict[str, dict[str, Any]], batch: Batch, wanted: Sequence[str] | None, target_of: Mapping[str, str]
) -> dict[str, np.ndarray]:
    """Return the wanted outputs, [T, B] or [B], by name, targets and their quantiles in the output unit."""
    scale = batch.get("denorm_fn")
    found = {}
    for model_name, outputs in result.items():
        for name, tensor in outputs.items():
            if wanted is not None and name not in wanted:
                continue
            values = tensor.detach()
            if values.ndim == 3:
                values = values[..., 0]
            if values.shape[-1] != batch.n_sites:
                raise RunError(
                    f"'{name}' has values of {values.shape[-1]} units, the results are those of {batch.n_sites} gauges",
                    where="model.outputs",
                    hint="call the model itself for series of units",
                )
            target = target_of.get(name, name)
            if scale is not None and target in scale.names:
                values = scale(values, target)
            found[_label(model_name, name, len(result))] = values.cpu().numpy()
    return found


def _label(model_name: str, name: str, n_models: int) -> str:
    return name if n_models == 1 or model_name == ENSEMBLE else f"{model_name}_{name}"


def _times(dataset: Batch) -> np.ndarray:
    if dataset.times is not None:
        return dataset.times
    return np.datetime64("1970-01-01") + np.arange(dataset.n_times).astype("timedelta64[D]")


def _step(dataset: Batch, start: FullState | None) -> np.timedelta64:
    """Return the length of a time step; a single one has that of the state it started from, or is a day."""
    times = _times(dataset)
    if len(times) > 1:
        return times[1] - times[0]
    return np.timedelta64(1, "D") if start is None else start.step


def _units(model: ModelHandler, dataset: Batch, names: list[str]) -> dict[str, str]:
    """Return the unit of every output: of targets the output unit, of other fluxes and of states the declared one."""
    scale = dataset.get("denorm_fn")
    units = {}
    for model_name, coupled in model.models.items():
        process = getattr(coupled, "phy_model", None)
        declared = {d.name: d.unit for kind in ("states", "fluxes") for d in getattr(process, kind, ())}
        declared |= dict(getattr(process, "derived_units", {}))
        declared |= {p.name: p.unit for p in getattr(process, "parameter_table", ()) if p.name not in declared}
        if scale is not None:
            declared |= {name: unit for name, unit in scale.units.items() if unit}
        known = {**dataset.units, **declared}
        declared |= {n: known[t] for n, t in getattr(coupled, "target_of", {}).items() if t in known}
        for name, unit in {**dataset.units, **declared}.items():
            label = _label(model_name, name, len(model.models))
            units[label] = units[f"{label}_no_rout"] = units[f"{label}_process"] = unit
            units.setdefault(name, unit)
    return {name: units.get(name) or "1" for name in names}


def _descriptions(model: ModelHandler, outputs: dict[str, str]) -> dict[str, str]:
    """Return what the models declare their outputs to be."""
    declared: dict[str, str] = {}
    for coupled in model.models.values():
        process = getattr(coupled, "phy_model", None)
        declared |= {d.name: d.description for kind in ("states", "fluxes") for d in getattr(process, kind, ())}
    return {label: declared[name] for label, name in outputs.items() if declared.get(name)}


def to_dataset(simulation: Simulation, observed: dict[str, np.ndarray] | None = None) -> xr.Dataset:
    """Return a simulation as a CF dataset with dims (time, site).

    Parameters
    ----------
    simulation
        What was simulated.
    observed
        Target to observations [T, N] in the same unit and on the same axis; stored as ``<target>_obs``.
    """
    import xarray as xr

    from dmg.core.data.quantity import unit_text

    variables: dict[str, Any] = {}
    for name, values in simulation.series.items():
        dims = ("time", "site") if values.ndim == 2 else ("site",)
        description = simulation.descriptions.get(name, name.replace("_", " "))
        attributes = cf_attributes(simulation.outputs.get(name, name), simulation.units[name], description)
        variables[name] = (dims, values.astype(np.float32), attributes)
    for name, values in (observed or {}).items():
        attributes = {"units": unit_text(simulation.units[name]), "long_name": f"observed {name}"}
        variables[f"{name}_obs"] = (("time", "site"), values.astype(np.float32), attributes)
    return xr.Dataset(
        variables,
        coords={"time": simulation.times, "site": np.array(simulation.sites, dtype=object)},
        attrs={"title": "simulation of a differentiable model", "static_parameters": simulation.static},
    )


def cf_attributes(name: str, unit: str, description: str) -> dict[str, str]:
    """Return the CF attributes of an output."""
    from dmg.core.data.quantity import unit_text
    from dmg.core.data.vocabulary import cf_standard_name

    found = {"units": unit_text(unit), "long_name": description}
    known = cf_standard_name(name, unit)
    return found | ({"standard_name": known} if known else {})


def write_simulation(dataset: xr.Dataset, path: Path) -> None:
    """Write a simulation atomically as NetCDF with CF attributes."""
    from dmg.core.data.dataset import write_dataset

    write_dataset(dataset, path)
