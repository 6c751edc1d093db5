"""The runs of an experiment: every model, fold and seed, each an ordinary configuration."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dmg.conf.compose import compose
from dmg.conf.config import as_config
from dmg.errors import ConfigError, did_you_mean
from dmg.registry import splits
from dmg.trainers.run_directory import RunDirectory

if TYPE_CHECKING:
    from dmg.conf.config import Config
    from dmg.conf.experiment import Experiment, Split
    from dmg.core.data.splits import SplitResult

FOLDERS = ("output_dir", "model_dir", "plot_dir", "sim_dir", "log_dir", "exp_name", "run_dir")
"""Keys of the folders of a run, which an experiment chooses itself."""


@dataclass(frozen=True)
class Member:
    """One run of an experiment.

    Attributes
    ----------
    model
        Name of the model in the experiment.
    fold
        What is held out; None where the test is in time only.
    seed
        Seed of the run.
    config
        The configuration of the run, its folder included.
    """

    model: str
    fold: int | None
    seed: int
    config: Config

    @property
    def name(self) -> str:
        """Path of the run below the folder of the experiment."""
        return member_folder(self.model, self.fold, self.seed)

    @property
    def files(self) -> RunDirectory:
        """Files of the run."""
        return RunDirectory.of(self.config)

    @property
    def is_finished(self) -> bool:
        """Whether the run was trained and evaluated to the end; the last thing that it writes says so."""
        return self.files.metrics.is_file() and "evaluate_s" in self.files.read_record().get("timings", {})


@dataclass(frozen=True)
class Plan:
    """An experiment with everything that its runs need.

    Attributes
    ----------
    experiment
        What is compared.
    root
        Folder of the experiment.
    members
        All runs, in the order in which they are done.
    events
        Tables of events that splits made.
    notes
        What a reader of the results has to know.
    """

    experiment: Experiment
    root: Path
    members: tuple[Member, ...]
    events: tuple[Path, ...] = ()
    notes: tuple[str, ...] = field(default=())

    def of(self, model: str) -> list[Member]:
        """Return the runs of a model."""
        return [member for member in self.members if member.model == model]


def member_folder(model: str, fold: int | None, seed: int) -> str:
    """Return the path of a run below the folder of its experiment."""
    return "/".join(["runs", model, *([] if fold is None else [f"fold_{fold}"]), f"seed_{seed}"])


def make_plan(
    experiment: Experiment,
    root: str | Path,
    overrides: Sequence[str] = (),
    config_name: str | None = None,
    config_dir: str | Path | None = None,
) -> Plan:
    """Return the runs of an experiment, validated; the tables of its splits are written into ``root/split``.

    The settings of the experiment come after the base configuration, those of the model after them, then those of the
    splits, fold and seed, and last the overrides.

    Parameters
    ----------
    experiment
        The experiment.
    root
        Its folder.
    overrides
        ``key=value`` for every run.
    config_name, config_dir
        Base configuration in place of the experiment's, and the folder of the user's configurations.

    Raises
    ------
    DmgError
        If a run's configuration or a split is wrong.
    """
    refuse_folders(overrides)
    root = Path(root)
    base = config_name or experiment.base

    def settled(model: str, settings: Mapping[str, Any], fold: int | None, seed: int) -> Config:
        folder = root / member_folder(model, fold, seed)
        own = {"name": model, "seed": seed, "output_dir": str(folder)}
        own |= {} if fold is None else {"test.holdout_index": fold}
        return as_config(compose(base, config_dir, relevant(overrides, settings), {**settings, **own}))

    parts: list[SplitResult] = []
    common = dict(experiment.settings)
    first_model, first_seed = next(iter(experiment.models)), experiment.seeds[0]
    for split in experiment.splits:
        settings = {**common, **experiment.models[first_model].settings}
        config = settled(first_model, settings, None, first_seed)
        parts.append(_apply_split(split, config, root / "split"))
        if parts[-1].events and config.model.output_unit != "mm/d":
            raise ConfigError("peaks are compared in mm/d", where="model.output_unit", hint="set it to mm/d")
        common |= parts[-1].settings

    members = []
    for seed in experiment.seeds:
        for model, contender in experiment.models.items():
            settings = {**common, **contender.settings}
            single = settled(model, settings, None, seed)
            if single.mode != "train_test":
                raise ConfigError(f"an experiment trains and tests; the mode is {single.mode}", where="mode")
            members += [
                Member(model, fold, seed, single if fold is None else settled(model, settings, fold, seed))
                for fold in _folds(single)
            ]
    return Plan(
        experiment,
        root,
        tuple(members),
        tuple(part.events for part in parts if part.events),
        tuple(note for part in parts for note in part.notes),
    )


def refuse_folders(overrides: Sequence[str]) -> None:
    """Refuse a folder for the single runs."""
    for text in overrides:
        if (key := text.partition("=")[0].lstrip("+~")) in (*FOLDERS, "seed", "test.holdout_index"):
            instead = {"seed": "experiment.seeds=[…]", "test.holdout_index": "every fold is a run"}.get(key)
            raise ConfigError(f"'{key}' is chosen by the experiment", hint=instead or "output_dir=… is its folder")


def _folds(config: Config) -> list[int | None]:
    return list(range(len(config.test.folds))) if config.test.type == "spatial" else [None]


def relevant(overrides: Sequence[str], settings: Mapping[str, Any]) -> list[str]:
    """Return the overrides that concern a run: none below a block that its model does not have."""
    absent = tuple(f"{key}." for key, value in settings.items() if value is None)
    return [text for text in overrides if not text.lstrip("+~").startswith(absent)] if absent else list(overrides)


def _apply_split(split: Split, config: Config, folder: Path) -> SplitResult:
    """Make a split of the sites that a configuration selects."""
    from dmg.core.data.loaders.site_data import SiteData

    function = splits.get(split.name)
    known = list(inspect.signature(function).parameters)[2:]
    for name in split.arguments:
        if name not in known:
            raise ConfigError(
                f"the split '{split.name}' takes no argument '{name}'",
                where="experiment.splits",
                hint=did_you_mean(name, known),
            )
    missing = [
        name
        for name, parameter in inspect.signature(function).parameters.items()
        if name in known and parameter.default is parameter.empty and name not in split.arguments
    ]
    if missing:
        raise ConfigError(f"the split '{split.name}' needs {', '.join(missing)}", where="experiment.splits")
    return function(SiteData(config), folder, **split.arguments)
