"""Run the members of an experiment one after the other; what is finished is not done again."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dmg.core.utils.atomic import write_text
from dmg.errors import RunError
from dmg.experiments.columns import published_columns
from dmg.experiments.summary import summarise
from dmg.registry import loaders
from dmg.trainers.run_directory import RunDirectory, read_config
from dmg.trainers.train import differences

if TYPE_CHECKING:
    from dmg.conf.config import Config
    from dmg.experiments.plan import Member, Plan

#: Keys that may differ between a run and its continuation: they change where and how it is computed, not what.
_FREE = {"device", "gpu_id", "engine", "verbose", "overwrite", "logging"}


def run_plan(plan: Plan, execute: Callable[[Config], None]) -> Path:
    """Do what is left of an experiment, and write its table and figures.

    A member that is finished is left as it is; one that was interrupted continues from its checkpoint.

    Parameters
    ----------
    plan
        The runs.
    execute
        Runs one configuration: trains, tests and writes the files of the run.

    Returns
    -------
    Path
        The table, Markdown.

    Raises
    ------
    RunError
        If a member was run with other settings.
    DataError
        If forcing or published scores are not as the experiment needs them.
    """
    experiment = plan.experiment
    wanted = [m for m in plan.members if not experiment.only or m.model in experiment.only]
    for member in plan.members:
        require_same_settings(member)
    _write_record(plan)
    open_members = [m for m in wanted if not m.is_finished or m.config.overwrite] if experiment.run else []
    _require_records(open_members)
    # What the table cannot be made with shows before the first run, not after the last.
    published_columns(experiment.published, experiment.published_dir)
    done = len(wanted) - len(open_members)
    for number, member in enumerate(open_members, start=done + 1):
        print(f"run {number}/{len(wanted)}: {member.name}", flush=True)
        execute(_continued(member.config))
    return summarise(plan)


def require_same_settings(member: Member) -> None:
    """Refuse a folder with a run of other settings: the table would not be what it says.

    Raises
    ------
    RunError
        With the keys that differ.
    """
    then = read_config(member.files.config)
    if then is None or member.config.overwrite:
        return
    changed = differences(_comparable(then), _comparable(member.config))
    if changed:
        raise RunError(
            f"{member.name} was run with other settings: {', '.join(changed)}",
            where=str(member.config.output_dir),
            hint="restore the settings, choose another output_dir, or do everything anew with overwrite=true",
        )


def _comparable(config: Config) -> dict[str, Any]:
    plain = {key: value for key, value in config.model_dump(mode="json").items() if key not in _FREE}
    plain["train"] = {key: value for key, value in plain["train"].items() if key != "resume"}
    return {key: value for key, value in plain.items() if not key.endswith("_dir")}


def _continued(config: Config) -> Config:
    """Return the configuration of a run that continues where its folder has a beginning."""
    began = RunDirectory.of(config).config.is_file() and not config.overwrite
    return config.model_copy(update={"train": config.train.model_copy(update={"resume": began})})


def _require_records(members: list[Member]) -> None:
    """Read the data of the first run of every model before the first one trains: forcing may end too early."""
    first = {member.model: member for member in reversed(members)}
    for member in first.values():
        _ = loaders.get(member.config.data_loader)(member.config).eval_dataset


def _write_record(plan: Plan) -> None:
    import yaml

    text = yaml.safe_dump(plan.experiment.model_dump(mode="json"), sort_keys=False, allow_unicode=True)
    write_text(plan.root / "experiment.yaml", text)
    listed = [{"run": m.name, "model": m.model, "fold": m.fold, "seed": m.seed} for m in plan.members]
    write_text(plan.root / "members.json", json.dumps(listed, indent=1) + "\n")
