"""What the models see of catchments beside the weather: attributes, areas and elevations, in one batch of one step."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from dmg.bmi.derived_inputs import derive_series, known_attributes
from dmg.bmi.stream import physics_of
from dmg.conf.period import parse_date
from dmg.core.data.upstream import HOURS
from dmg.core.data.vocabulary import known_unit
from dmg.errors import ConfigError, DataError

if TYPE_CHECKING:
    import xarray as xr

    from dmg.bmi.config import BmiConfig
    from dmg.core.data.batch import Batch
    from dmg.trainers.run import Run

_PLACES = {
    "upstream_area_name": "km2",
    "subbasin_area_name": "km2",
    "area_name": "km2",
    "elevation_name": "m",
    "prcp_mean_name": "mm d-1",
}
"""Keys of ``observations`` that name an attribute, with the unit that it is asked for in."""


def input_units(run: Run) -> dict[str, str]:
    """Return the forcings that the models of a run read, process and network, with their units."""
    block = run.config.model
    names = dict.fromkeys([*(block.phy.forcings if block.phy else ()), *block.nn.forcings])
    declared = {f.name: f.unit for model in _processes(run) for f in model.forcings}
    trained = run.normalisation.about.get("units", {})
    return {name: declared.get(name) or trained.get(name) or known_unit(name) or "1" for name in names}


def attribute_units(run: Run) -> dict[str, str]:
    """Return the attributes that the models of a run read, and those that its data are scaled with, with units."""
    block, data = run.config.model, run.config.observations
    declared = {a.name: a.unit for model in _processes(run) for a in model.attributes}
    declared |= {name: unit for key, unit in _PLACES.items() if (name := getattr(data, key))}
    trained = run.normalisation.about.get("units", {})
    placed = [name for key in _PLACES if (name := getattr(data, key))]
    names = dict.fromkeys([*(block.phy.attributes if block.phy else ()), *block.nn.attributes, *placed])
    return {name: declared.get(name) or trained.get(name) or known_unit(name) or "1" for name in names}


def sites_dataset(run: Run, config: BmiConfig, series: xr.Dataset | None = None) -> xr.Dataset:
    """Return a canonical dataset of the catchments with all attributes that the models read.

    Parameters
    ----------
    run
        The trained run.
    config
        Attributes of a catchment in the configuration precede those of the file ``attributes``, these those of the
        series.
    series
        Forcings before the start; two steps of made-up ones if absent, for the attributes alone.

    Raises
    ------
    ConfigError
        If an attribute is missing; names it and the catchments.
    """
    import xarray as xr

    ids = [c.id for c in config.catchments]
    stores = [store for store in (attribute_store(config), series) if store is not None]
    variables: dict[str, Any] = {}
    for name, read in attribute_units(run).items():
        values, unit = np.full(len(ids), np.nan), read
        for store in stores:
            if name in store and store[name].dims == ("site",):
                values, unit = store[name].values.astype(np.float64), store[name].attrs.get("units", unit)
                break
        inline = {i: c.attributes[name] for i, c in enumerate(config.catchments) if name in c.attributes}
        if inline and len(inline) < len(ids) and stores and name in stores[0]:
            raise ConfigError(
                f"'{name}' is given for some catchments and in the file for others",
                where="catchments",
                hint="give it in one place: the units may differ",
            )
        for i, value in inline.items():
            values[i], unit = value, read
        if missing := [c for c, value in zip(ids, values, strict=True) if not np.isfinite(value)]:
            raise ConfigError(
                f"the model reads the attribute '{name}', which {len(missing)} catchments do not have: "
                f"{', '.join(missing[:10])}",
                where="catchments[].attributes, attributes",
                hint=f"give it [{unit}] under catchments[].attributes, or a file of attributes",
            )
        variables[name] = ("site", values, {"units": unit})
    if series is not None:
        return series.drop_vars([n for n in variables if n in series]).assign(variables)
    # A loader of two time steps makes days of hours.
    steps = 2 * HOURS if two_time_steps(run) else 2
    start = np.datetime64(parse_date(config.start_time), "ns")
    for name, unit in input_units(run).items():
        variables[name] = (("time", "site"), np.ones((steps, len(ids)), dtype=np.float32), {"units": unit})
    return xr.Dataset(variables, coords={"time": start + np.arange(steps) * model_step(run, config), "site": ids})


def spin_up_dataset(run: Run, config: BmiConfig) -> xr.Dataset | None:
    """Return the forcings before the start with the attributes of the catchments; None without a spin-up."""
    series = _of(config.spin_up, [c.id for c in config.catchments], "spin_up")
    if series is None:
        return None
    attributes = known_attributes(config.catchments, attribute_store(config))
    return sites_dataset(run, config, derive_series(series, config.derive, attributes))


def attribute_store(config: BmiConfig) -> xr.Dataset | None:
    """Return the attributes of the catchments in the file, in their order; None without one."""
    return _of(config.attributes, [c.id for c in config.catchments], "attributes")


def nodes_of(batch: Batch, members: int) -> Batch:
    """Return a batch with the catchments of every ensemble member, member after member."""
    if members == 1:
        return batch
    rows = np.tile(np.arange(batch.n_sites), members)
    found = batch.select(sites=rows)
    if (upstream := batch.get("upstream")) is not None:
        units, _, topology, paths = upstream.above(rows)
        hourly, daily = (part.select(sites=units) for part in (upstream.hourly, upstream.daily))
        found["upstream"] = replace(upstream, hourly=hourly, daily=daily, outlet_topo=topology, paths=paths)
    return found


def model_step(run: Run, config: BmiConfig) -> np.timedelta64:
    """Return the time step of the models: that of the process model, or what the configuration says of a network.

    Raises
    ------
    ConfigError
        If both speak and differ.
    """
    given = config.model_time_step_seconds
    steps = {round(model.dt * 86400) for model in _processes(run)}
    if len(steps) > 1 or (given is not None and steps and steps != {given}):
        raise ConfigError(
            f"the process models step by {', '.join(map(str, sorted(steps)))} s",
            where="model_time_step_seconds",
            hint="leave it out for a run with a process model",
        )
    return np.timedelta64(round(steps.pop() if steps else given or 86400), "s")


def two_time_steps(run: Run) -> bool:
    """Return whether the models of a run go by days first and by hours after them."""
    return any(hasattr(getattr(m, "phy_model", None), "hif_model") for m in run.model.models.values())


def _processes(run: Run) -> list[Any]:
    return [process for m in run.model.models.values() if (process := physics_of(m)) is not None]


def _of(path: str | None, ids: list[str], key: str) -> xr.Dataset | None:
    """Return the catchments of a store, in their order; None without a store."""
    from dmg.core.data.dataset import open_dataset

    if path is None:
        return None
    store = open_dataset(path)
    known = {str(site): i for i, site in enumerate(store["site"].values)}
    if missing := [site for site in ids if site not in known]:
        raise DataError(
            f"the file has no {len(missing)} of the catchments: {', '.join(missing[:10])}",
            where=f"{key}: {path}",
            hint="its dimension 'site' has the ids of the catchments",
        )
    return store.isel(site=[known[site] for site in ids])
