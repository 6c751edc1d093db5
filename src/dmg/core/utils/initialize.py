"""From a composed configuration to the dict that a run works with."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from omegaconf import DictConfig

    from dmg.conf.config import Config


def initialize_config(config: dict[str, Any] | DictConfig | Config, make_dirs: bool = True) -> dict[str, Any]:
    """Validate a configuration and return its plain dict.

    Parameters
    ----------
    config
        A Hydra tree, a dict with the published keys, or a validated configuration.
    make_dirs
        Create the folders of the run.

    Returns
    -------
    dict
        The published keys, the device as torch names it, and the derived keys ``train_time``, ``test_time``,
        ``sim_time``, ``all_time``, ``experiment_time`` (first and last day), ``output_dir``, ``model_dir``,
        ``plot_dir``, ``sim_dir``, ``log_dir``.

    Raises
    ------
    ConfigError
        If the configuration cannot be run as it stands.
    """
    from dmg.conf.config import as_config
    from dmg.conf.published import published

    checked = as_config(config)
    if make_dirs:
        make_folders(checked)
    return published(checked)


def make_folders(config: Config) -> None:
    """Create the folders of a run that every run fills; the others are made when something is written there."""
    for folder in (config.output_dir, config.model_dir, config.plot_dir):
        Path(str(folder)).mkdir(parents=True, exist_ok=True)
