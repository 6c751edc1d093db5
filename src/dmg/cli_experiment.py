"""``dmg experiment=NAME``: the runs of an experiment, and their table."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from dmg.cli_run import execute, require_writable
from dmg.errors import ConfigError


def run(words: argparse.Namespace) -> int:
    """Run what is left of an experiment and return the exit code.

    Overrides below ``experiment.`` change the experiment, ``output_dir`` is its folder, all others go to every run.
    """
    from dmg.conf.experiment import read_experiment
    from dmg.core.utils.interruption import interruptible
    from dmg.experiments import make_plan, run_plan

    name, folder, own, rest = _sort(words.overrides)
    root = Path(folder or f"output/experiments/{Path(name).stem}").expanduser()
    require_writable(root)
    plan = make_plan(read_experiment(name, words.config_path, own), root, rest, words.config_name, words.config_path)
    try:
        with interruptible():
            table = run_plan(plan, execute)
    except KeyboardInterrupt:
        print("\ninterrupted; the same command continues where it ended", file=sys.stderr)
        return 130
    print(table.read_text(encoding="utf-8"))
    print(f"results: {root}")
    return 0


def _sort(overrides: list[str]) -> tuple[str, str | None, list[str], list[str]]:
    """Return name and folder of the experiment, overrides of it, and overrides of its runs."""
    name, folder = "", None
    own: list[str] = []
    rest: list[str] = []
    for text in overrides:
        key, _, value = text.partition("=")
        if key == "experiment":
            if name:
                raise ConfigError(f"two experiments are named: {name} and {value}", hint="one call is one experiment")
            name = value
        elif key == "output_dir":
            folder = value
        elif key.startswith("experiment."):
            own.append(text.removeprefix("experiment."))
        else:
            rest.append(text)
    if not name:
        raise ConfigError("experiment= needs a name", hint="for example experiment=camels_531")
    return name, folder, own, rest
