"""HBV 2.0 in the unit catchments of a nation: the process model alone, and a simulation from store to store."""

from __future__ import annotations

import resource
import tempfile
import time
from pathlib import Path
from typing import Any

import torch

UNITS, DAYS, COMPONENTS = 180_000, 365, 4
DYNAMIC = ["parBETA", "parK0", "parBETAET"]
FORCINGS = ["prcp", "tmean", "pet"]
ATTRIBUTES = [
    "aridity", "catchsize", "clay_frac", "elev_mean", "frac_forest", "frac_snow", "geol_permeability", "gvf_max",
    "high_prec_freq", "lai_max", "low_prec_freq", "p_mean", "p_seasonality", "pet_mean", "sand_frac", "slope_mean",
    "soil_depth_pelletier", "soil_porosity", "uparea",
]  # fmt: skip
AT_ONCE = 20_000
MAX_MEMORY = 3.5


def physics() -> dict[str, Any]:
    """Run the process model over blocks of units, and count what its runs take, best of three."""
    from dmg.engine import RawParameters
    from hydrodl2.models.hbv.hbv_2 import Hbv_2

    model = Hbv_2({"nmul": COMPONENTS, "dynamic_params": {"Hbv_2": DYNAMIC}})
    draw = torch.Generator().manual_seed(0)
    widths = len(model.layout.dynamic_channels), len(model.layout.static_channels)

    def block() -> tuple[Any, ...]:
        forcing = torch.rand(DAYS, AT_ONCE, 3, generator=draw) * torch.tensor([8.0, 25.0, 4.0])
        raw = (torch.rand(*shape, generator=draw) for shape in ((DAYS, AT_ONCE, widths[0]), (AT_ONCE, widths[1])))
        known = {"ac_all": 3000.0 * torch.rand(AT_ONCE, generator=draw), "elev_all": torch.full((AT_ONCE,), 500.0)}
        return forcing - torch.tensor([0.0, 5.0, 0.0]), RawParameters(*raw), known

    def run(forcing: torch.Tensor, raw: RawParameters, known: dict[str, torch.Tensor]) -> tuple[float, float]:
        wall, cpu = time.perf_counter(), time.process_time()
        with torch.no_grad():
            model.run(forcing, raw, attributes=known, outputs=["streamflow"])
        return time.perf_counter() - wall, time.process_time() - cpu

    run(*block())  # compiles the kernel
    wall = cpu = 0.0
    for _ in range(UNITS // AT_ONCE):
        inputs = block()
        best = [min(times) for times in zip(*(run(*inputs) for _ in range(3)), strict=True)]
        wall, cpu = wall + best[0], cpu + best[1]
    return {
        "wall_s": round(wall, 2),
        "cpu_s": round(cpu, 2),
        "ns": round(1e9 * cpu / (UNITS * DAYS * COMPONENTS), 2),
    }


def simulation(units: int = UNITS, river: bool = False) -> dict[str, Any]:
    """Simulate a store of so many units with a network and HBV 2.0 into another store, untrained.

    Parameters
    ----------
    units
        How many.
    river
        Route them through the river between them.
    """
    from dmg.trainers import MsTrainer
    from hydrodl2.data.national import write_national

    with tempfile.TemporaryDirectory(prefix="national") as folder:
        path = write_national(Path(folder) / f"units_{units}.zarr", units, days=DAYS)
        config = _trained(Path(folder), path, river)
        wall, cpu = time.perf_counter(), time.process_time()
        MsTrainer(config).inference()
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    each = round(1e6 * cpu / units)
    return {
        "units": units,
        "wall_s": round(wall, 1),
        "cpu_s": round(cpu, 1),
        "us_per_unit": each,
        "peak_gb": round(peak / 1e9, 2),
    }


def _trained(folder: Path, path: Path, river: bool) -> dict[str, Any]:
    """Return the configuration of the simulation; weights are random, statistics those of a small store."""
    from dmg import ModelHandler, as_config
    from dmg.core.data.loaders import HydroLoader
    from hydrodl2.data.national import write_national

    period = {"start_time": "2000/01/01", "end_time": "2000/12/30"}
    config: dict[str, Any] = {
        "mode": "train",
        "device": "cpu",
        "data_loader": "MsHydroLoader",
        "data_sampler": "MsHydroSampler",
        "trainer": "MsTrainer",
        "output_dir": str(folder / "small"),
        "train": period
        | {"target": ["streamflow"], "lr": 0.1, "loss_function": {"name": "RmseLoss"}, "batch_size": 1, "epochs": 1},
        "test": period | {"batch_size": 1000},
        "sim": period | {"max_memory": MAX_MEMORY},
        "model": {
            "rho": 365,
            "outputs": ["streamflow"],
            "phy": {
                "name": ["Hbv_2"],
                "nmul": COMPONENTS,
                "dynamic_params": {"Hbv_2": DYNAMIC},
                "forcings": FORCINGS,
                "routing": True,
                "router": "MuskingumCunge" if river else None,
            },
            "nn": {
                "name": "LstmMlpModel",
                "lstm_hidden_size": 64,
                "mlp_hidden_size": 256,
                "dropout": 0.0,
                "forcings": FORCINGS,
                "attributes": ATTRIBUTES,
            },
        },
        "observations": {
            "name": "national",
            "data_path": str(write_national(folder / "small.zarr", 500, days=DAYS)),
            "subbasin_area_name": "catchsize",
            "upstream_area_name": "uparea",
            "elevation_name": "elev_mean",
            "reach_length_name": "lengthkm",
            "reach_slope_name": "slope",
        },
    }
    small = as_config(config)
    HydroLoader(small).save_normalisation()
    ModelHandler(small).save_model(1)
    observations = config["observations"] | {"data_path": str(path), "topology_path": str(path) if river else None}
    folders = {"output_dir": str(folder / "run"), "pretrained_model_dir": str(folder / "small" / "model")}
    return config | folders | {"mode": "sim", "observations": observations}
