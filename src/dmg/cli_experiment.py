"""``dmg experiment=NAME``: the runs of an experiment, and their table."""

from __future__ import annotations

import argparse
import shlex
import sys
from pathlib import Path
from typing import Any

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


def show(words: argparse.Namespace) -> int:
    """Print an experiment as resolved, what all its runs share, and what each has for itself; runs nothing.

    Splits, which read the data, are not made: with them every run is done for every fold.
    """
    import yaml

    from dmg.conf.experiment import read_experiment
    from dmg.experiments import make_plan

    name, folder, own, rest = _sort(words.overrides)
    experiment = read_experiment(name, words.config_path, own)
    root = folder or f"output/experiments/{Path(name).stem}"
    plan = make_plan(experiment.model_copy(update={"splits": []}), root, rest, words.config_name, words.config_path)
    runs = {member.name: _flat(member.config.model_dump(mode="json")) for member in plan.members}
    keys = dict.fromkeys(key for settings in runs.values() for key in settings)
    absent = object()
    shared = [key for key in keys if len({repr(settings.get(key, absent)) for settings in runs.values()}) == 1]
    first = next(iter(runs.values()))
    shown = {
        "experiment": experiment.model_dump(mode="json"),
        "shared": {key: first[key] for key in shared},
        "runs": {run: {k: v for k, v in settings.items() if k not in shared} for run, settings in runs.items()},
    }
    times = ", each of them for every fold of the splits" if experiment.splits else ""
    print(f"# {len(runs)} runs{times}; `{shlex.join(['dmg', *words.overrides])}` does them.")
    print(yaml.safe_dump(shown, sort_keys=False, allow_unicode=True, default_flow_style=False), end="")
    return 0


def _flat(tree: dict[str, Any], path: str = "") -> dict[str, Any]:
    """Return the values of a tree by dotted key; folders of the run, which its name says, are left out."""
    found: dict[str, Any] = {}
    for key, value in tree.items():
        if path == "" and key.endswith("_dir"):
            continue
        if isinstance(value, dict) and value:
            found |= _flat(value, f"{path}{key}.")
        else:
            found[path + key] = value
    return found


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
