"""``dmg [run]``: compose, validate, then train, test or simulate."""

from __future__ import annotations

import argparse
import logging
import os
import shlex
import sys
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from dmg._version import __version__
from dmg.errors import ConfigError, RunError

if TYPE_CHECKING:
    from omegaconf import DictConfig

    from dmg.conf.config import Config
    from dmg.trainers.base import BaseTrainer

EPILOG = """\
examples:
  dmg                                             train and test on the embedded sample
  dmg train.epochs=2 device=cpu exp_name=short    the same, with other settings
  dmg --config-name camels_531 observations.data_path=camels.zarr
  dmg --config-path my_conf --config-name my_run  your own files; packaged groups are found as well
  dmg experiment=camels_531 observations.data_path=camels.zarr
                                                  every model and seed of a benchmark, with table and figures
  dmg mode=test output_dir=RUN                    test again, with the settings and weights of a trained run
  dmg mode=sim output_dir=RUN sim.start_time=2009/01/01 sim.end_time=2009/12/31
                                                  simulate another period with it, into RUN/sim

sub-commands (each has its own --help):
  dmg config show [overrides]    the configuration as a run would see it
  dmg config docs                every key, its type, default and meaning
  dmg budget RUN                 what entered, left and stayed in the stores of a trained run
  dmg report RUN                 write report.html of a run anew
  dmg route RUN [overrides]      route a stored simulation of units through their river
  dmg data …                     write and inspect data sets
  dmg engine MODEL               what the fused engine makes of a process model
"""

#: Files of an earlier training that ``overwrite`` removes.
EARLIER = (
    *("model/*_ep*", "model/best.json", "training_log.csv", "metrics*.json", "simulation.nc", "sites.nc"),
    *("report.html", "curve.json", "run.json"),
)


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
        "-cn",
        "--config-name",
        metavar="NAME",
        help="configuration, or path of a YAML file (default: that of the trained run which mode=test or mode=sim "
        "names, else the packaged example)",
    )
    made.add_argument("-cp", "--config-path", default=None, metavar="DIR", help="folder of your configurations")
    made.add_argument("overrides", nargs="*", metavar="key=value", help="settings that replace those of the file")


def main(argv: Sequence[str]) -> int:
    """Run what the words ask for and return the exit code."""
    words = parser().parse_intermixed_args(list(argv))
    if words.multirun:
        raise ConfigError("--multirun: one call is one run", hint="write a loop of your shell around it")
    if any(text.startswith("experiment=") for text in words.overrides):
        from dmg.cli_experiment import run

        return run(words)
    with _processes():
        config = _agree(words)
        from dmg.core.utils.interruption import interruptible

        try:
            with interruptible():
                execute(config)
        except KeyboardInterrupt:
            print(f"\ninterrupted; {_how_to_go_on(config, words)}", file=sys.stderr)
            return 130
    return 0


def _by_torchrun() -> bool:
    return "TORCHELASTIC_RUN_ID" in os.environ


def _is_first() -> bool:
    """Whether this process, of those that ``torchrun`` started, is the one that writes and prints."""
    return not _by_torchrun() or os.environ.get("RANK") == "0"


def _processes() -> AbstractContextManager[None]:
    """Return the block in which this process is one of those that ``torchrun`` started; alone, it means nothing."""
    if not _by_torchrun():
        return nullcontext()  # a mistyped key is answered before torch is imported
    from dmg.core.utils.processes import joined

    return joined()


def _agree(words: argparse.Namespace) -> Config:
    """Return the configuration of the run; several processes take that of the first, and each its own device.

    Raises
    ------
    ConfigError
        If several processes shall draw the same numbers and no seed is given.
    """
    if not _by_torchrun():
        return settle(compose_words(words))
    from dmg.core.utils.processes import from_main, is_main, own_device, world

    config = from_main(settle(compose_words(words)) if is_main() else None)
    if world() > 1 and config.seed is None:
        raise ConfigError("several processes have to draw the same numbers", where="seed", hint="give one: seed=0")
    if world() > 1 and config.do_tune:
        raise ConfigError(
            "a search is one process",
            where="do_tune",
            hint="start several searches with one data base, tune.storage, to run trials side by side",
        )
    return config.model_copy(update={"device": own_device(config.device)})


def compose_words(words: argparse.Namespace) -> DictConfig:
    """Return the tree that the words choose; a test or simulation of a trained run starts from its settings."""
    from dmg.conf.compose import compose

    trained = None
    if words.config_name is None and words.config_path is None:
        trained = trained_run(words.overrides)
    if trained is None:
        return compose(words.config_name or "default", words.config_path, words.overrides)
    return compose_again(trained, words.overrides)


def compose_again(path: Path, overrides: Sequence[str]) -> DictConfig:
    """Return the tree in a file of a run, wherever it lies now, with overrides."""
    from dmg.conf.compose import compose
    from dmg.trainers.run_directory import elsewhere

    print(f"settings of {path}", file=sys.stderr)
    moved = [f"{key}={'null' if value is None else str(value).lower()}" for key, value in elsewhere().items()]
    return compose(str(path), None, [*moved, *overrides])


def trained_run(overrides: Sequence[str]) -> Path | None:
    """Return the configuration of the trained run that the words of a test or simulation name, if there is one."""
    given = dict(text.split("=", 1) for text in overrides if "=" in text)
    if given.get("mode") not in ("test", "sim", "simulation"):
        return None
    folders = [Path(given[key]).expanduser() for key in ("output_dir", "pretrained_model_dir") if given.get(key)]
    candidates = [at / "config.yaml" for folder in folders for at in (folder, folder.parent)]
    return next((path for path in candidates if path.is_file()), None)


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
    first = _is_first()
    if first:
        guard(config)
        needs_weights(config)

    import torch

    from dmg.core.utils import import_trainer, print_config, set_randomseed
    from dmg.core.utils.freed_memory import freed_memory_kept
    from dmg.core.utils.lock import alone_in

    level = logging.ERROR if not first else logging.INFO if config.verbose else logging.WARNING
    logging.basicConfig(format="%(levelname)s: %(message)s", level=level)
    if first:
        print_config(config)
    set_randomseed(config.seed)
    # Gradients that fade through a long warm-up become denormal numbers, on which processors are slow. Said before the
    # first work, because threads that exist already would not follow.
    torch.set_flush_denormal(True)
    written = config.sim_dir if config.mode == "sim" else config.output_dir
    try:
        with freed_memory_kept(), alone_in(str(written)) if first else nullcontext():
            if config.do_tune:
                _tune(config)
            elif config.multimodel.members:
                _average(config)
            else:
                _run_mode(config, import_trainer(config.trainer)(config, verbose=True))
    finally:
        torch.set_flush_denormal(False)
    if first:
        print(f"results: {written}")


def _tune(config: Config) -> None:
    from dmg.trainers.tune import tune

    tune(config)


def _average(config: Config) -> None:
    """Average trained runs; one process does."""
    from dmg.trainers.average import average_runs

    if _is_first():
        average_runs(config)


def _run_mode(config: Config, trainer: BaseTrainer) -> None:
    """Simulate, train and evaluate as ``mode`` says."""
    from dmg.core.utils.processes import is_main, wait_for_all

    if config.mode == "sim":
        trainer.inference()
    if "train" in config.mode:
        # Data that cannot be read end the run before it trains, writes or removes anything; the last of these writes.
        for name in ("eval_dataset", "train_dataset") if "test" in config.mode else ("train_dataset",):
            getattr(trainer, name, None)
        if config.overwrite and not (config.train.resume or config.train.start_epoch):
            if is_main():
                clear(config)
            wait_for_all()
        trainer.train()
    if "test" in config.mode:
        trainer.evaluate()


def guard(config: Config) -> None:
    """Refuse a folder that has results which this run would replace.

    Raises
    ------
    RunError
        If there are some, and neither ``overwrite`` nor ``train.resume`` nor ``train.start_epoch`` is set.
    """
    folder = Path(str(config.output_dir))
    require_writable(folder)
    if not folder.is_dir() or config.overwrite or (config.do_tune and (folder / "study.db").exists()):
        return
    if "train" in config.mode:
        if config.train.resume or config.train.start_epoch:
            return
        found = [path.name for path in folder.iterdir() if not path.name.startswith(".") and path.suffix != ".log"]
    else:
        name = "simulation.zarr" if config.streams else "simulation.nc"
        result = folder / "metrics.json" if config.mode == "test" else Path(str(config.sim_dir)) / name
        found = [str(result.relative_to(folder) if result.is_relative_to(folder) else result)] * result.exists()
    if found:
        raise RunError(
            f"{folder} has results already: {', '.join(sorted(found)[:5])}",
            hint=("choose another sim_dir" if config.mode == "sim" else "choose another exp_name or output_dir")
            + ", or set overwrite=true"
            + (", or train.resume=true to continue" if "train" in config.mode else ""),
        )


def require_writable(folder: Path) -> None:
    """Refuse, before any work is done, a folder that cannot be made or written into.

    Raises
    ------
    RunError
        If it, or the folder it would be made in, is a file or may not be written.
    """
    there = next(path for path in (folder, *folder.parents) if path.exists())
    hint = "choose another output_dir"
    if not there.is_dir():
        raise RunError(f"{there} is a file", where=f"output_dir: {folder}", hint=hint)
    if not os.access(there, os.W_OK | os.X_OK):
        raise RunError(f"{there} may not be written", where=f"output_dir: {folder}", hint=hint)


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
    if "train" in config.mode or config.multimodel.members or pretrained or (own.is_dir() and any(own.iterdir())):
        return
    raise ConfigError(
        f"mode: {config.mode} needs trained weights, and {own} has none",
        hint="give output_dir=<folder of a trained run>, or pretrained_model_dir=<that folder>/model",
    )


def _how_to_go_on(config: Config, words: argparse.Namespace) -> str:
    if config.do_tune:
        return f"go on with: {_command(words, config)}"
    model = Path(str(config.model_dir))
    if "train" not in config.mode or not model.is_dir() or not any(model.glob("*_ep*")):
        return "nothing was trained yet" if "train" in config.mode else "run the same command again"
    return f"resume with: {_command(words, config)} train.resume=true"


def _command(words: argparse.Namespace, config: Config) -> str:
    """Return the command of a run, with its folder."""
    kept = [w for w in words.overrides if not w.startswith(("output_dir=", "train.resume=", "exp_name=", "run_dir="))]
    name = [] if words.config_name is None else ["--config-name", words.config_name]
    path = [] if words.config_path is None else ["--config-path", words.config_path]
    return shlex.join(["dmg", *name, *path, *kept, f"output_dir={config.output_dir}"])
