"""The embedded sample at hourly steps: the same land and generator of weather, rivers that answer within hours."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from dmg.registry import samples
from hydrodl2.data.camels_names import CAMELS
from hydrodl2.data.sample_attributes import climate_attributes, land_attributes
from hydrodl2.data.sample_hours import HOURS, HourlyWeather, to_hours
from hydrodl2.data.sample_landscape import Landscape
from hydrodl2.data.sample_parameters import draw_parameters
from hydrodl2.data.sample_parts import NOISE, PREFIX, check_request, observe, site_names
from hydrodl2.data.sample_weather import generate_weather

if TYPE_CHECKING:
    import xarray as xr

SPIN_UP = 365
"""Days of weather before the first one."""

LARGE_RIVER = 3000.0
"""Area in km² from which on HBV 2.x have no regional flow; it lies above every site, which is its own gauge."""

_SERIES = {
    "prcp": ("mm h-1", "precipitation"),
    "tmean": ("degC", "air temperature"),
    "pet": ("mm h-1", "potential evapotranspiration"),
}


@samples.register("sample_hourly")
def generate_hourly_sample(
    sites: int = 12,
    start: str = "2000-10-01",
    end: str = "2003-09-30",
    seed: int = 0,
    noise: float = NOISE,
    gaps: bool = True,
) -> xr.Dataset:
    """Return the hourly sample as a canonical dataset; the same arguments give the same data.

    Parameters
    ----------
    sites, start, end, seed, noise, gaps
        As for `generate_sample`; gaps last about a day, and there is one in a month and a half.

    Returns
    -------
    xarray.Dataset
        Forcings ``prcp``, ``tmean``, ``pet`` (mm/h, °C); ``streamflow`` (mm/h, observed, with gaps) and
        ``streamflow_true``; attributes with the names of CAMELS; the true parameters of hourly HBV 2.0 as
        ``true_parBETA`` … ``true_route_tau``.

    Raises
    ------
    DataError
        If the last day comes before the first, or there is no site.
    """
    first, last = check_request(sites, start, end)
    return _generate(int(sites), first, last, int(seed), float(noise), bool(gaps)).copy(deep=True)


generate_hourly_sample.steps_per_day = HOURS


def hourly_parameters(land: Landscape, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Return the true parameters of hourly HBV 2.0 in their units, name to [N].

    Those that the daily sample has follow the land as there. Infiltration follows the sand, the hydrograph (in hours)
    the size of the basin; there is no regional flow, as the sites lie on large rivers.
    """
    found = {name: values for name, values in draw_parameters(land, rng).items() if not name.startswith("route_")}
    return found | {
        "parC": 0.02 + 0.1 * (1.0 - land.sand),
        "parRT": np.zeros(land.sites),
        "parAC": np.full(land.sites, 1250.0),
        "parF0": 150.0 + 1800.0 * land.sand,
        "parFMIN": 0.1 + 0.5 * land.sand,
        "parALPHA": 1.0 + 2.0 * land.relief,
        "route_a": 0.6 + 2.0 * land.size,
        "route_b": 0.5 + 3.0 * land.size,
        "route_tau": 0.5 + 6.0 * land.size,
    }


def simulate_hourly_truth(
    weather: HourlyWeather, parameters: dict[str, np.ndarray], upstream: np.ndarray, elevation: np.ndarray
) -> np.ndarray:
    """Return the streamflow [T, N] in mm/h that hourly HBV 2.0 makes of weather and parameters, each site a gauge."""
    import torch

    from hydrodl2.models.hbv.hbv_2_hourly import Hbv_2_hourly

    model = Hbv_2_hourly()

    def unit(table: Any) -> torch.Tensor:
        columns = [(parameters[p.name] - p.low) / (p.high - p.low) for p in table]
        return torch.from_numpy(np.stack(columns, axis=-1))

    forcing = torch.from_numpy(np.stack([getattr(weather, f.name) for f in model.forcings], axis=-1))
    steps, sites = forcing.shape[:2]
    x = {
        "x_phy": forcing,
        "ac_all": torch.from_numpy(upstream),
        "elev_all": torch.from_numpy(elevation),
        "areas": torch.ones(sites, dtype=forcing.dtype),
        "outlet_topo": torch.eye(sites, dtype=forcing.dtype),
    }
    static = unit(model.layout.static_parameters)
    with torch.no_grad():
        out = model(
            x,
            [forcing.new_empty(steps, sites, 0), static, unit(model.path_router.routing_parameters)],
            outputs=["streamflow"],
        )
    return out["streamflow"][..., 0].numpy()


@lru_cache(maxsize=2)
def _generate(sites: int, start: str, end: str, seed: int, noise: float, gaps: bool) -> xr.Dataset:
    import xarray as xr

    streams = [np.random.default_rng(s) for s in np.random.SeedSequence(seed).spawn(6)]
    land = Landscape.draw(sites, streams[0])
    days = np.arange(np.datetime64(start) - SPIN_UP, np.datetime64(end) + 1)
    weather = generate_weather(land, days, streams[1])
    parameters = hourly_parameters(land, streams[2])
    attributes = climate_attributes(weather.since(SPIN_UP), days[SPIN_UP:]) | land_attributes(land, streams[3])
    attributes["area_upstream"] = LARGE_RIVER + attributes["area_gages2"]
    hours = to_hours(weather, land, streams[5])
    flow = simulate_hourly_truth(hours, parameters, attributes["area_upstream"], land.elevation)[SPIN_UP * HOURS :]
    hours = hours.since(SPIN_UP * HOURS)
    times = np.datetime64(start, "h") + np.arange(len(flow))

    def series(values: np.ndarray, unit: str, text: str) -> Any:
        return ("time", "site"), values.astype(np.float32), {"units": unit, "long_name": text}

    variables = {name: series(getattr(hours, name), *about) for name, about in _SERIES.items()}
    variables["streamflow"] = series(observe(flow, noise, gaps, streams[4]), "mm h-1", "observed streamflow")
    variables["streamflow_true"] = series(flow, "mm h-1", "streamflow without error of observation")
    units = {**CAMELS.units, "area_upstream": "km2"}
    for name, values in attributes.items():
        variables[name] = "site", values.astype(np.float32), {"units": units.get(name, "1")}
    for name, (unit, text) in _texts().items():
        about = {"units": unit, "long_name": f"true {text}"}
        variables[PREFIX + name] = "site", parameters[name].astype(np.float32), about
    return xr.Dataset(
        variables,
        coords={"time": times.astype("datetime64[ns]"), "site": site_names(sites)},
        attrs={"title": "embedded hourly sample of synthetic basins", "seed": seed, "noise": noise},
    )


def _texts() -> dict[str, tuple[str, str]]:
    """Return unit and description of every parameter of hourly HBV 2.0."""
    from hydrodl2.models.hbv.hbv_2_hourly import Hbv_2_hourly
    from hydrodl2.routing import LaggedUnitHydrograph

    table = (*Hbv_2_hourly.parameter_table, *LaggedUnitHydrograph.routing_parameters)
    return {p.name: ("1" if p.unit == "-" else p.unit, p.description) for p in table}
