"""A tiny embedded sample and a configuration of δHBV on it."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest
import xarray as xr

SAMPLE = {"sites": 8, "start": "1990/10/01", "end": "1993/09/30", "seed": 0}

_CONFIG: dict[str, Any] = {
    "mode": "train_test",
    "seed": 7,
    "device": "cpu",
    "train": {
        "start_time": "1991/10/01",
        "end_time": "1992/09/30",
        "target": ["streamflow"],
        "optimizer": {"name": "Adam"},
        "lr": 0.01,
        "loss_function": {"name": "RmseLoss"},
        "batch_size": 4,
        "epochs": 1,
    },
    "test": {"start_time": "1992/10/01", "end_time": "1993/09/30", "batch_size": 4},
    "model": {
        "rho": 60,
        "warmup": 30,
        "phy": {
            "name": ["Hbv"],
            "nmul": 2,
            "dynamic_params": {"Hbv": ["parBETA", "parBETAET"]},
            "forcings": ["prcp", "tmean", "pet"],
        },
        "nn": {
            "name": "LstmModel",
            "hidden_size": 8,
            "forcings": ["prcp", "tmean", "pet"],
            "attributes": ["p_mean", "aridity", "frac_snow", "soil_depth_statsgo", "slope_mean"],
        },
    },
    "observations": {
        "name": "sample",
        "sample": SAMPLE,
        "area_name": "area_gages2",
        "prcp_mean_name": "p_mean",
    },
}


@pytest.fixture
def sample() -> xr.Dataset:
    """Eight sites over three years; a copy, free to be damaged."""
    from hydrodl2.data.sample import generate_sample

    return generate_sample(**SAMPLE)


@pytest.fixture
def config(tmp_path) -> dict[str, Any]:
    """A plain configuration of δHBV on `sample`, free to be changed; results belong into ``tmp_path``."""
    return deepcopy(_CONFIG) | {"output_dir": str(tmp_path / "out")}
