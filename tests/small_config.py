"""A small configuration of δHBV, which tests change by keys such as ``train__lr``."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

FORCINGS = ["prcp", "tmean", "pet"]
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
        "phy": {"name": ["Hbv"], "nmul": 2, "dynamic_params": {"Hbv": ["parBETA"]}, "forcings": FORCINGS},
        "nn": {"name": "LstmModel", "hidden_size": 8, "forcings": FORCINGS, "attributes": []},
    },
    "observations": {},
}


def hbv_config(**changes: Any) -> dict[str, Any]:
    """Return the configuration, a copy, with some keys changed or added."""
    return changed(_CONFIG, **changes)


def changed(config: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """Return a copy of a configuration with dotted keys (``train__lr``) set."""
    config = deepcopy(config)
    for key, value in changes.items():
        *blocks, last = key.split("__")
        at = config
        for block in blocks:
            at = at.setdefault(block, {})
        at[last] = value
    return config
