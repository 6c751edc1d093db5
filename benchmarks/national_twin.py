"""A twin experiment on the Delaware: roughness that is known, learned back from discharge at the gauges.

The truth is a smooth function of upstream area and slope; a small network of the same two is trained on daily discharge
at the segments with gauges, which the truth made. Runoff of the units is that of a linear reservoir under the observed
precipitation of 1979.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np

DATA = Path(__file__).parents[2] / "shared" / "data" / "river_networks" / "pywatershed_drb"
KM2_PER_ACRE, MM_PER_INCH, SEGMENTS_FROM = 0.0040468564, 25.4, 1
DAYS, ITERATIONS, RATE, NOISE = 60, 150, 0.05, 0.05


def twin() -> dict[str, Any]:
    """Return the error of the learned roughness, from discharge without error and with one."""
    import torch
    import xarray as xr

    from dmg.core.utils import RiverNetwork
    from hydrodl2.routing import MuskingumCunge

    if not DATA.exists():
        raise SystemExit(f"the Delaware network is not at {DATA}")
    torch.manual_seed(0)
    land, channel = (xr.open_dataset(DATA / f"parameters_{name}.nc") for name in ("dis_both", "PRMSChannel"))
    drains = channel["hru_segment"].values >= SEGMENTS_FROM  # some units by the sea drain into none
    into = channel["hru_segment"].values[drains] - SEGMENTS_FROM
    units = land["hru_area"].values[drains] * KM2_PER_ACRE
    network = RiverNetwork(land["tosegment"].values - SEGMENTS_FROM)
    area = network.accumulate(np.bincount(into, units, len(network)))
    slope = np.maximum(land["seg_slope"].values, 1e-4)
    router = MuskingumCunge(network, land["seg_length"].values, slope, 0.2, minimum_slope=1e-4, nonnegative=True)
    gauges = torch.from_numpy(np.unique(land["poi_gage_segment"].values - SEGMENTS_FROM))
    rain = xr.open_dataset(DATA / "prcp.nc")["prcp"].values[:DAYS, drains] * MM_PER_INCH
    inflow = torch.from_numpy(runoff(rain) * units / 86.4) @ torch.eye(len(network), dtype=torch.float64)[into]
    inflow = inflow.float()
    about = np.stack([np.log(area + 1.0), np.log(slope)], axis=1)
    about = torch.from_numpy((about - about.mean(0)) / about.std(0)).float()
    true = torch.from_numpy(0.05 * ((area + 10.0) / 1000.0) ** -0.12 * (slope / 1e-3) ** 0.1).float()

    def discharge(n: torch.Tensor) -> torch.Tensor:
        geometry = {"q_spatial": torch.full_like(n, 0.3), "p_spatial": torch.full_like(n, 21.0)}
        return router(inflow, {"n": n} | geometry)[0][:, gauges]

    with torch.no_grad():
        seen = discharge(true)
    found: dict[str, Any] = {"segments": len(network), "gauges": len(gauges), "iterations": ITERATIONS}
    cpu = time.process_time()
    for name, noise in (("", 0.0), ("noisy_", NOISE)):
        observed = seen * torch.exp(noise * torch.randn_like(seen))
        network_of_n = torch.nn.Sequential(torch.nn.Linear(2, 16), torch.nn.Tanh(), torch.nn.Linear(16, 1))
        optimizer = torch.optim.Adam(network_of_n.parameters(), RATE)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, ITERATIONS)
        for _ in range(ITERATIONS):
            n = 0.015 * (0.25 / 0.015) ** torch.sigmoid(network_of_n(about)[:, 0])
            loss = ((discharge(n) - observed) / seen.std(0)).square().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
        error = 100.0 * ((n - true).abs() / true).detach()
        found |= {
            f"{name}median": round(float(error.median()), 2),
            f"{name}p90": round(float(error.quantile(0.9)), 2),
            f"{name}within_10": round(100.0 * float((error < 10.0).float().mean()), 1),
        }
    return found | {"cpu_s": round(time.process_time() - cpu, 1)}


def runoff(rain: np.ndarray) -> np.ndarray:
    """Return what a linear reservoir makes of precipitation, mm/d [T, U]."""
    store, found = np.full(rain.shape[1], 30.0), np.empty(rain.shape)
    for day, today in enumerate(rain):
        store = store + 0.6 * today
        found[day] = 0.08 * store
        store = store - found[day]
    return found
