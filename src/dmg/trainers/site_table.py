"""What is known of the evaluated sites and what was learned for them: places, parameters."""

from __future__ import annotations

from collections.abc import Container
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dmg.core.post.plot_parameters import site_means
from dmg.core.utils.atomic import atomic_write

if TYPE_CHECKING:
    import xarray as xr

    from dmg.trainers.trainer import Trainer

PLACES = (("lat", "lon"), ("latitude", "longitude"), ("gauge_lat", "gauge_lon"))
"""Names that latitude and longitude of sites have in a store; the first pair that is there counts."""
TRUE = "true_"
"""What stands before the name of a parameter whose true value the data know."""


def site_table(trainer: Trainer) -> xr.Dataset:
    """Return places and learned parameters of the evaluated sites, over (site).

    Parameters are in their units, with their bounds as ``valid_min`` and ``valid_max``, averaged over the period and
    the components; of several models they are named ``<model>_<parameter>``. A true value has the prefix ``true_``.
    """
    import xarray as xr

    variables: dict[str, Any] = {}
    for name, coupled in trainer.model.models.items():
        layout = getattr(getattr(coupled, "phy_model", None), "layout", None)
        if layout is None or not hasattr(coupled, "physical_parameters"):
            continue
        declared = {p.name: p for p in (*layout.parameters, *layout.routing)}
        true = site_values(trainer, [f"{TRUE}{parameter}" for parameter in declared])
        prefix = f"{name}_" if len(trainer.model.models) > 1 else ""
        for parameter, values in learned_parameters(trainer, name).items():
            about = declared[parameter]
            attributes = {"units": about.unit or "1", "long_name": about.description or parameter}
            attributes |= {"valid_min": float(about.low), "valid_max": float(about.high)}
            variables[prefix + parameter] = ("site", values.astype(np.float32), attributes)
            if f"{TRUE}{parameter}" in true:
                known = true[f"{TRUE}{parameter}"].astype(np.float32)
                variables[f"{TRUE}{prefix}{parameter}"] = ("site", known, {"units": attributes["units"]})
    places = site_values(trainer, places_in(getattr(trainer.loader, "data", None)))
    coords: dict[str, Any] = {"site": np.array(trainer.eval_dataset.sites, dtype=object)}
    units = (("lat", "latitude", "degrees_north"), ("lon", "longitude", "degrees_east"))
    for (short, standard, unit), values in zip(units, places.values(), strict=False):
        coords[short] = ("site", values.astype(np.float64), {"standard_name": standard, "units": unit})
    return xr.Dataset(variables, coords, {"title": "learned parameters, means over the period and the components"})


def write_site_table(table: xr.Dataset, path: Path) -> None:
    """Write a table of `site_table` atomically as NetCDF."""
    with atomic_write(path) as temporary:
        table.to_netcdf(temporary, engine="h5netcdf")


def places_in(data: Container[str] | None) -> list[str]:
    """Return the names that latitude and longitude have in the data, none if they have no places."""
    return list(next((pair for pair in PLACES if data is not None and all(name in data for name in pair)), ()))


def site_values(trainer: Trainer, names: list[str]) -> dict[str, np.ndarray]:
    """Return static variables of the evaluated sites that the data have, whether or not the model uses them."""
    data = getattr(trainer.loader, "data", None)
    if data is None:
        return {}
    position = {site: i for i, site in enumerate(data.sites)}
    sites = trainer.eval_dataset.sites or []
    if not all(site in position for site in sites):
        return {}
    rows = [position[site] for site in sites]
    everywhere = np.ones(len(data.sites), dtype=bool)
    return {name: data.attribute(name, everywhere)[rows] for name in names if name in data}


def learned_parameters(trainer: Trainer, name: str) -> dict[str, np.ndarray]:
    """Return the parameters that a model learned, [N], averaged over time and components, batch by batch of sites.

    Those of a gauge are means of the units above it by area.
    """
    coupled, data = trainer.model.models[name], trainer.eval_dataset
    size, parts = trainer.config.test.batch_size, {}
    for begin in range(0, data.n_sites, size):
        batch = trainer.sampler.get_validation_sample(data, begin, min(begin + size, data.n_sites))
        found = coupled.physical_parameters(batch, static=trainer.config.model.static)
        upstream = batch.get("upstream")
        for parameter, values in found.items():
            if upstream is None:
                means = site_means(values, batch.n_sites)
            else:
                means = upstream.at_gauges(site_means(values, len(upstream.sites)))
            parts.setdefault(parameter, []).append(means)
    return {parameter: np.concatenate(pieces) for parameter, pieces in parts.items()}
