"""Small things that runs need, each in a file that says what it is; loaded when first used."""

from __future__ import annotations

from dmg.lazy import attach

__getattr__, __dir__, __all__ = attach(
    __name__,
    {
        "Dates": "dmg.core.utils.dates:Dates",
        "PathWeightedAgg": "dmg.core.utils.path_weighted_agg:PathWeightedAgg",
        "RiverNetwork": "dmg.core.utils.river_network:RiverNetwork",
        "format_resample_interval": "dmg.core.utils.resample_interval:format_resample_interval",
        "import_data_loader": "dmg.core.utils.factory:import_data_loader",
        "import_data_sampler": "dmg.core.utils.factory:import_data_sampler",
        "import_phy_model": "dmg.core.utils.factory:import_phy_model",
        "import_trainer": "dmg.core.utils.factory:import_trainer",
        "initialize_config": "dmg.core.utils.initialize:initialize_config",
        "load_criterion": "dmg.models.criterion:load_criterion",
        "load_nn_model": "dmg.models.neural_networks:load_nn_model",
        "print_config": "dmg.core.utils.config_table:print_config",
        "reachability_matrix": "dmg.core.utils.reachability:reachability_matrix",
        "resolve_device": "dmg.core.utils.device:resolve_device",
        "save_model": "dmg.core.utils.weights_file:save_model",
        "set_randomseed": "dmg.core.utils.seed:set_randomseed",
        "timestep_resample": "dmg.core.utils.resample:timestep_resample",
    },
)
