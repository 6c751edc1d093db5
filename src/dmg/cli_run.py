"""``dmg [run]``: compose, validate, then train, test or simulate."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from dmg._version import __version__
from dmg.errors import ConfigError, RunError

if TYPE_CHECKING:
    from omegaconf import DictConfig

    from dmg.conf.config import Config

EPILOG = """\
examples:
  dmg                                             train and test on the embedded sample
  dmg train.epochs=2 device=cpu exp_name=short    the same, with other settings
  dmg --config-name camels_531 observations.data_path=camels.zarr
  dmg --config-path my_conf --config-name my_run  your own files; packaged groups are found as well
  dmg mode=sim output_dir=output/…/run-…          simulate with a trained run

sub-commands (each has its own --help):
  dmg config show [overrides]    the configuration as a run would see it
  dmg config docs                every key, its type, default and meaning
  dmg data …                     write and inspect data sets
"""

#: What a run of each mode writes; a folder that has it already is not written into unasked.
RESULTS = {"test": ("metrics.json",), "sim": ("simulation.nc",)}

#: Files of an earlier training that ``overwrite`` removes.
EARLIER = ("model/*_ep*", "model/best.json", "training_log.csv", "metrics*.json", "simulation.nc", "run.json")


def parser() -> argparse.ArgumentParser:
    """Return the parser of a run's words."""
    made = argparse.ArgumentParser(
        prog="dmg",
        description="δMG: train, test and simulate differentiable models. Without a word it runs the packaged example.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add_config_options(made)
    made.add_argument("--version", action="version", version=f"dmg {__version__}")
    made.add_argument("-m", "--multirun", action="store_true", help=argparse.SUPPRESS)
    return made


def add_config_options(made: argparse.ArgumentParser) -> None:
    """Add the words that choose a configuration; the same for a run and for ``dmg config show``."""
    made.add_argument(
        "-cn", "--config-name", default="default", metavar="NAME", help="configuration, or path of a YAML file"
    )
    made.add_argument("-cp", "--config-path", default=None, metavar="DIR", help="folder of your configurations")
    made.add_argument("overrides", nargs="*", metavar="key=value", help="settings that replace those of the file")


def main(argv: Sequence[str]) -> int:
    """Run what the words ask for and return the exit code."""
    words = parser().parse_intermixed_args(list(argv))
    if words.multirun:
        raise ConfigError("--multirun: one call is one run", hint="write a loop of your shell around it")
    from dmg.conf.compose import compose

    config = settle(compose(words.config_name, words.config_path, words.overrides))
    try:
        execute(config)
    except KeyboardInterrupt:
        print(f"\ninterrupted; {_how_to_go_on(config, words)}", file=sys.stderr)
        return 130
    return 0


def settle(tree: DictConfig) -> Config:
    """Validate a composed tree and choose the folder of the run: an unnamed one bears date and time."""
    from dmg.conf.config import as_config

    config = as_config(tree)
    if any(tree.get(key) for key in ("output_dir", "out_path", "run_dir", "exp_name")):
        return config
    stamp = f"output/{config.name}/runs/run-{datetime.now():%Y-%m-%d_%H-%M-%S}"
    folder, number = stamp, 1
    while Path(folder).exists():
        number += 1
        folder = f"{stamp}-{number}"
    return as_config({**config.to_dict(), "output_dir": folder})


def execute(config: Config) -> None:
    """Run one validated configuration; the trainer writes the files.

    Raises
    ------
    DmgError
        For data that are missing or wrong, a folder that has results already, weights that are not there.
    """
    guard(config)
    needs_weights(config)

    from dmg.core.utils import import_trainer, print_config, set_randomseed

    logging.basicConfig(format="%(levelname)s: %(message)s", level=logging.INFO if config.verbose else logging.WARNING)
    print_config(config)
    set_randomseed(config.seed)
    trainer = import_trainer(config.trainer)(config, verbose=True)
    if config.mode == "sim":
        trainer.inference()
    if "train" in config.mode:
        if config.overwrite and not (config.train.resume or config.train.start_epoch):
            getattr(trainer, "train_dataset", None)  # data that cannot be read leave the earlier results alone
            clear(config)
        trainer.train()
    if "test" in config.mode:
        trainer.evaluate()
    print(f"results: {config.output_dir}")


def guard(config: Config) -> None:
    """Refuse a folder that has results which this run would replace.

    Raises
    ------
    RunError
        If there are some, and neither ``overwrite`` nor ``train.resume`` nor ``train.start_epoch`` is set.
    """
    folder = Path(str(config.output_dir))
    if folder.exists() and not folder.is_dir():
        raise RunError(f"{folder} is a file", hint="choose another output_dir")
    if not folder.is_dir() or config.overwrite:
        return
    if "train" in config.mode:
        if config.train.resume or config.train.start_epoch:
            return
        found = [path.name for path in folder.iterdir() if not path.name.startswith(".") and path.suffix != ".log"]
    else:
        found = [name for name in RESULTS[config.mode] if (folder / name).exists()]
    if found:
        raise RunError(
            f"{folder} has results already: {', '.join(sorted(found)[:5])}",
            hint="choose another exp_name or output_dir, or set overwrite=true"
            + (", or train.resume=true to continue" if "train" in config.mode else ""),
        )


def clear(config: Config) -> None:
    """Remove the results of an earlier training, of which a later test would take the newest weights.

    Raises
    ------
    ConfigError
        If the run starts from those very weights.
    """
    folder, own = Path(str(config.output_dir)), Path(str(config.model_dir))
    if config.pretrained_model_dir and Path(config.pretrained_model_dir).resolve() == own.resolve():
        raise ConfigError(
            f"overwrite=true would remove the weights in {own}, which pretrained_model_dir names",
            hint="choose another output_dir",
        )
    for pattern in EARLIER:
        for path in folder.glob(pattern):
            path.unlink()


def needs_weights(config: Config) -> None:
    """Refuse to test or simulate without trained weights.

    Raises
    ------
    ConfigError
        If neither the run's own ``model`` folder nor ``pretrained_model_dir`` is there.
    """
    pretrained = config.pretrained_model_dir
    if pretrained and not Path(pretrained).expanduser().exists():
        raise ConfigError(f"there is no folder {pretrained}", where="pretrained_model_dir")
    own = Path(str(config.model_dir))
    if "train" in config.mode or pretrained or (own.is_dir() and any(own.iterdir())):
        return
    raise ConfigError(
        f"mode: {config.mode} needs trained weights, and {own} has none",
        hint="give output_dir=<folder of a trained run>, or pretrained_model_dir=<that folder>/model",
    )


def _how_to_go_on(config: Config, words: argparse.Namespace) -> str:
    model = Path(str(config.model_dir))
    if "train" not in config.mode or not model.is_dir() or not any(model.glob("*_ep*")):
        return "nothing was trained yet" if "train" in config.mode else "run the same command again"
    kept = [w for w in words.overrides if not w.startswith(("output_dir=", "train.resume=", "exp_name=", "run_dir="))]
    name = [] if words.config_name == "default" else ["--config-name", words.config_name]
    path = [] if words.config_path is None else ["--config-path", words.config_path]
    command = ["dmg", *name, *path, *kept, f"output_dir={config.output_dir}", "train.resume=true"]
    return f"resume with: {' '.join(command)}"
