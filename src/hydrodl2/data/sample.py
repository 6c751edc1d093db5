"""The embedded sample: basins whose weather and land are made up and whose true parameters are known.

A seeded generator stands in for data that cannot be shipped. Weather and land are drawn, the land determines the
parameters of HBV, HBV makes the true flow of the weather, and the observations are the true flow with an error and
with gaps. A model that learns parameters from attributes can be held against the truth here, which no real basin
allows.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from dmg.registry import samples
from hydrodl2.data import sample_hourly  # the entry point of the samples names this module
from hydrodl2.data.camels_names import CAMELS
from hydrodl2.data.sample_attributes import climate_attributes, land_attributes
from hydrodl2.data.sample_landscape import Landscape
from hydrodl2.data.sample_parameters import draw_parameters
from hydrodl2.data.sample_parts import NOISE, PREFIX, check_request, observe, site_names
from hydrodl2.data.sample_weather import Weather, generate_weather

if TYPE_CHECKING:
    import xarray as xr

SPIN_UP = 730
"""Days of weather before the first one, so that the true stores are not those of a cold start."""

__all__ = ["generate_sample", "sample_hourly", "simulate_truth"]

_SERIES = {
    "prcp": ("mm d-1", "precipitation"),
    "tmean": ("degC", "mean air temperature"),
    "pet": ("mm d-1", "potential evapotranspiration after Hargreaves"),
    "dayl": ("s", "day length"),
    "srad": ("W m-2", "mean shortwave radiation of the daylight"),
    "vp": ("Pa", "vapour pressure"),
}


@samples.register("sample")
def generate_sample(
    sites: int = 100,
    start: str = "1988-10-01",
    end: str = "2008-12-31",
    seed: int = 0,
    noise: float = NOISE,
    gaps: bool = True,
) -> xr.Dataset:
    """Return the embedded sample as a canonical dataset; the same arguments give the same data.

    Parameters
    ----------
    sites
        Number of basins.
    start, end
        First and last day.
    seed
        Seed of everything that is drawn.
    noise
        Standard deviation of the logarithm of the multiplicative error of ``streamflow``.
    gaps
        Leave out spells of ``streamflow``, about a month in three years.

    Returns
    -------
    xarray.Dataset
        Forcings ``prcp``, ``tmean``, ``pet``, ``dayl``, ``srad``, ``vp``; ``streamflow`` (observed, with gaps) and
        ``streamflow_true``; attributes with the names of CAMELS; the true parameters as ``true_parBETA`` … and
        ``true_route_a``, ``true_route_b``.

    Raises
    ------
    DataError
        If the last day comes before the first, or there is no site.
    """
    first, last = check_request(sites, start, end)
    return _generate(int(sites), first, last, int(seed), float(noise), bool(gaps)).copy(deep=True)


def simulate_truth(weather: Weather, parameters: dict[str, np.ndarray]) -> np.ndarray:
    """Return the streamflow [T, N] in mm/d that HBV makes of weather and parameters (name to [N], in their units)."""
    import torch

    from dmg.engine import RawParameters
    from hydrodl2.models.hbv.hbv import Hbv

    # Listed as dynamic because HBV 1.0 has this parameter only then; its value is the same on every day.
    model = Hbv({"dynamic_params": {"Hbv": ["parBETAET"]}})
    bounds = {p.name: (p.low, p.high) for p in (*model.layout.parameters, *model.layout.routing)}

    def raw(name: str) -> torch.Tensor:
        low, high = bounds[name]
        return torch.logit(torch.from_numpy((parameters[name] - low) / (high - low)))

    static = [p.name for p in model.layout.static_parameters] + [p.name for p in model.layout.routing]
    forcing = torch.from_numpy(np.stack([getattr(weather, f.name) for f in model.forcings], axis=-1))
    steps, sites = forcing.shape[:2]
    dynamic = raw("parBETAET")[None, :, None].expand(steps, sites, 1)
    with torch.no_grad():
        fluxes, _ = model.run(
            forcing,
            RawParameters(dynamic, torch.stack([raw(name) for name in static], dim=-1)),
            outputs=["streamflow"],
        )
    return fluxes["streamflow"].numpy()


@lru_cache(maxsize=4)
def _generate(sites: int, start: str, end: str, seed: int, noise: float, gaps: bool) -> xr.Dataset:
    import xarray as xr

    # One stream for each part: a change in one of them leaves the others as they are.
    streams = [np.random.default_rng(s) for s in np.random.SeedSequence(seed).spawn(5)]
    land = Landscape.draw(sites, streams[0])
    days = np.arange(np.datetime64(start) - SPIN_UP, np.datetime64(end) + 1)
    weather = generate_weather(land, days, streams[1])
    parameters = draw_parameters(land, streams[2])
    flow = simulate_truth(weather, parameters)[SPIN_UP:]
    weather, days = weather.since(SPIN_UP), days[SPIN_UP:]
    attributes = climate_attributes(weather, days) | land_attributes(land, streams[3])
    observed = observe(flow, noise, gaps, streams[4])

    def series(values: np.ndarray, unit: str, text: str) -> Any:
        return ("time", "site"), values.astype(np.float32), {"units": unit, "long_name": text}

    variables = {name: series(getattr(weather, name), *about) for name, about in _SERIES.items()}
    variables["streamflow"] = series(observed, "mm d-1", "observed streamflow")
    variables["streamflow_true"] = series(flow, "mm d-1", "streamflow without error of observation")
    for name, values in attributes.items():
        variables[name] = "site", values.astype(np.float32), {"units": CAMELS.units.get(name, "1")}
    for name, (unit, text) in _parameter_texts().items():
        variables[PREFIX + name] = (
            "site",
            parameters[name].astype(np.float32),
            {"units": unit, "long_name": f"true {text}"},
        )
    return xr.Dataset(
        variables,
        coords={"time": days.astype("datetime64[ns]"), "site": site_names(sites)},
        attrs={"title": "embedded sample of synthetic basins", "seed": seed, "noise": noise},
    )


def _parameter_texts() -> dict[str, tuple[str, str]]:
    """Return unit and description of every parameter of HBV and its hydrograph."""
    from hydrodl2.models.hbv.hbv import Hbv

    table = (*Hbv.parameter_table, *Hbv.router_class.routing_parameters)
    return {p.name: ("1" if p.unit == "-" else p.unit, p.description) for p in table}
