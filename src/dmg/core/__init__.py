"""Data, metrics, plots, logging and small utilities around the models."""

from __future__ import annotations

from dmg.lazy import attach

__getattr__, __dir__, __all__ = attach(
    __name__,
    {
        "Dates": "dmg.core.utils.dates:Dates",
        "calc": "dmg.core.calc",
        "data": "dmg.core.data",
        "format_resample_interval": "dmg.core.utils.resample_interval:format_resample_interval",
        "logging": "dmg.core.logging",
        "post": "dmg.core.post",
        "timestep_resample": "dmg.core.utils.resample:timestep_resample",
        "utils": "dmg.core.utils",
    },
)
