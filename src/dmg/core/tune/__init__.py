"""Search for settings: an Optuna study over keys of the configuration (extra ``tune``)."""

from dmg.core.tune.search import Report, Search
from dmg.core.tune.space import apply_parameters, draw_parameters, restore_parameters

__all__ = ["Report", "Search", "apply_parameters", "draw_parameters", "restore_parameters"]
