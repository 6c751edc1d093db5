"""Data: canonical datasets, loaders, samplers, normalisation."""

from __future__ import annotations

from dmg.lazy import attach

__getattr__, __dir__, __all__ = attach(
    __name__,
    {
        "Batch": "dmg.core.data.batch:Batch",
        "Normalisation": "dmg.core.data.normalisation:Normalisation",
        "TargetScale": "dmg.core.data.target_scale:TargetScale",
        "create_training_grid": "dmg.core.data.training_grid:create_training_grid",
        "load_json": "dmg.core.data.text_files:load_json",
        "loaders": "dmg.core.data.loaders",
        "samplers": "dmg.core.data.samplers",
        "txt_to_array": "dmg.core.data.text_files:txt_to_array",
    },
)
