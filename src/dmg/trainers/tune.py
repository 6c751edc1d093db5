"""A search for settings: every trial is a training in a folder of its own, scored by its validation."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dmg.conf.config import as_config
from dmg.conf.derive import underived
from dmg.core.tune import Report, Search, apply_parameters, restore_parameters
from dmg.core.utils.atomic import atomic_write, write_text
from dmg.core.utils.seed import set_randomseed
from dmg.registry import trainers
from dmg.trainers.checkpoint import find_checkpoints
from dmg.trainers.run_directory import RunDirectory
from dmg.trainers.train import VALIDATION

if TYPE_CHECKING:
    from dmg.conf.config import Config


def tune(config: Config) -> dict[str, Any]:
    """Search for the settings whose training validates best, and write them.

    The folder of the run gets ``study.db``, the trials in ``trials/<number>``, ``trials.csv`` and ``best.yaml``, a
    configuration that trains with the best settings. Called again, it goes on where it was interrupted.

    Returns
    -------
    dict
        Key to value of the best trial.
    """
    folder = Path(str(config.output_dir))
    RunDirectory.of(config).begin(config)
    search = Search(config.tune, folder, config.seed)

    def train(number: int, parameters: dict[str, Any], report: Report) -> float:
        chosen = trial_config(config, parameters, folder / f"trials/{number:03d}")
        set_randomseed(chosen.seed)

        def watch(epoch: int, scalars: Mapping[str, float]) -> None:
            if VALIDATION in scalars:
                report(epoch, max(trainer.training.scores.values()))

        trainer = trainers.get(chosen.trainer)(chosen, watch=watch)
        trainer.train()
        return max(trainer.training.scores.values())

    try:
        search.run(train)
    finally:
        _write_table(search.table(), folder / "trials.csv")
    best = search.best
    parameters = restore_parameters(best.params, config.tune.space)
    write_text(folder / "best.yaml", _yaml(apply_parameters(_written(config), parameters)))
    shown = ", ".join(f"{key}={value}" for key, value in parameters.items())
    print(f"best of {len(search.done)} trials: {shown} (median NSE of the validation {best.value:.4f})")
    print(f"train with it: dmg --config-name {folder / 'best.yaml'} output_dir={folder / 'best'}")
    return parameters


def trial_config(config: Config, parameters: Mapping[str, Any], folder: Path) -> Config:
    """Return the configuration of one trial; it continues a training that was interrupted in its folder."""
    own = {"device": config.device, "mode": "train", "overwrite": False, "output_dir": str(folder)}
    plain = apply_parameters(_written(config) | own, parameters)
    plain["train"]["resume"] = bool(find_checkpoints(folder / "model"))
    return as_config(plain)


def _written(config: Config) -> dict[str, Any]:
    """Return the configuration as a user would write it, for a single training."""
    plain = underived(config.model_dump(mode="json"), config.name)
    plain.pop("output_dir", None)
    return plain | {"do_tune": False, "device": "auto", "exp_name": None, "run_dir": None}


def _yaml(tree: dict[str, Any]) -> str:
    import yaml

    return yaml.safe_dump(tree, sort_keys=False, allow_unicode=True)


def _write_table(rows: list[dict[str, Any]], path: Path) -> None:
    if not rows:
        return
    columns = list(dict.fromkeys(key for row in rows for key in row))
    with atomic_write(path) as tmp, tmp.open("w", encoding="utf-8", newline="") as handle:
        writer = csv.DictWriter(handle, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
