"""Small things that runs need, each in a file that says what it is; loaded when first used."""

from __future__ import annotations

from importlib import import_module
from typing import Any

_HOMES = {
    "Dates": "dmg.core.utils.dates",
    "format_resample_interval": "dmg.core.utils.resample_interval",
    "import_data_loader": "dmg.core.utils.factory",
    "import_data_sampler": "dmg.core.utils.factory",
    "import_phy_model": "dmg.core.utils.factory",
    "import_trainer": "dmg.core.utils.factory",
    "initialize_config": "dmg.core.utils.initialize",
    "load_criterion": "dmg.models.criterion",
    "load_nn_model": "dmg.models.neural_networks",
    "print_config": "dmg.core.utils.config_table",
    "resolve_device": "dmg.core.utils.device",
    "save_model": "dmg.core.utils.weights_file",
    "set_randomseed": "dmg.core.utils.seed",
    "timestep_resample": "dmg.core.utils.resample",
}

__all__ = [
    "Dates",
    "format_resample_interval",
    "import_data_loader",
    "import_data_sampler",
    "import_phy_model",
    "import_trainer",
    "initialize_config",
    "load_criterion",
    "load_nn_model",
    "print_config",
    "resolve_device",
    "save_model",
    "set_randomseed",
    "timestep_resample",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(_HOMES)
