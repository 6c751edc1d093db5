"""Configurations and tutorials, and the two functions that they begin with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from dmg.errors import ConfigError, did_you_mean

__all__ = ["load_config", "take_data_sample"]

_HERE = Path(__file__).resolve().parent


def load_config(path: str | Path, overrides: Sequence[str] = ()) -> dict[str, Any]:
    """Compose and validate a configuration file.

    Parameters
    ----------
    path
        A YAML file, from where you stand or, failing that, from this package: ``'../example/conf/config_dhbv.yaml'``,
        ``'conf/config_dhbv.yaml'`` and ``'config_dhbv'`` all work from any folder.
    overrides
        Settings such as ``'train.epochs=2'`` that replace those of the file.

    Returns
    -------
    dict
        The published keys and the derived ones (see ``dmg.core.utils.initialize_config``). No folder is made.

    Raises
    ------
    ConfigError
        If there is no such file, or if the configuration cannot be run as it stands.
    """
    from dmg.conf.compose import compose
    from dmg.core.utils.initialize import initialize_config

    file = _find(Path(path).expanduser())
    return initialize_config(compose(file.stem, file.parent, overrides), make_dirs=False)


def take_data_sample(
    config: Mapping[str, Any], dataset_dict: Mapping[str, Any], days: int = 730, basins: int = 100
) -> Mapping[str, Any]:
    """Return the first days and basins of a dataset, as a model takes them.

    Parameters
    ----------
    config
        Configuration; it gives the warm-up and the device.
    dataset_dict
        Dataset of a loader: series [time, basin, variable], attributes [basin, attribute].
    days, basins
        Numbers to take; all where there are fewer.

    Returns
    -------
    mapping
        Of the kind of ``dataset_dict``, float32 tensors on the device of the configuration. The series begin at the
        first day. The target lacks the warm-up, so that it lines up with the output of the model.

    Raises
    ------
    ConfigError
        If the days do not exceed the warm-up.
    """
    from dmg.conf.config import as_config
    from dmg.core.data.batch import Batch

    checked = as_config(config)
    warmup = checked.model.warmup
    if days <= warmup:
        raise ConfigError(
            f"{days} days leave nothing behind a warm-up of {warmup}", hint="take more days or shorten model.warmup"
        )
    if isinstance(dataset_dict, Batch):
        sample = dataset_dict.select(sites=slice(0, basins), times=slice(0, days)).to(checked.device)
        if "target" in sample:
            # Counted from the end: a target that lacks the warm-up already stays as it is.
            sample["target"] = sample["target"][-max(sample.n_times - warmup, 1) :]
        return sample
    return {key: _cut(key, value, days, basins, warmup, checked.device) for key, value in dataset_dict.items()}


def _cut(key: str, value: Any, days: int, basins: int, warmup: int, device: str) -> Any:
    """Return the sample of one entry of a plain dict; what is no array is handed on."""
    import numpy as np
    import torch

    if not isinstance(value, (np.ndarray, torch.Tensor)):
        return value
    value = torch.as_tensor(value)
    first = warmup if key == "target" else 0
    value = value[first:days, :basins] if value.ndim == 3 else value[:basins]
    return (value.float() if value.is_floating_point() else value).to(device)


def _find(path: Path) -> Path:
    """Return the file that a path means, from where the user stands or from this package."""
    named = path if path.suffix in {".yaml", ".yml"} else path.with_name(path.name + ".yaml")
    inside = Path(*[part for part in named.parts if part not in {"..", "."}]) if not named.is_absolute() else named
    if inside.parts[:1] == ("example",):
        inside = Path(*inside.parts[1:])
    for candidate in (named, _HERE / inside, _HERE / "conf" / inside):
        if candidate.is_file():
            return candidate.resolve()
    known = [file.stem for file in (_HERE / "conf").glob("*.yaml")]
    raise ConfigError(f"there is no file {named}", where=f"from {Path.cwd()}", hint=did_you_mean(named.stem, known))
