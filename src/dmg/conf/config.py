"""The schema of a run's configuration, and the way from a dict to it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, NonNegativeInt, ValidationError, field_validator, model_validator

from dmg.conf.derive import folders, hand_down, without_time
from dmg.conf.explain import explain
from dmg.conf.model import Model
from dmg.conf.multimodel import MultiModel
from dmg.conf.observations import Observations
from dmg.conf.section import Section
from dmg.conf.test import Sim, Test
from dmg.conf.train import Train, Valid
from dmg.conf.tune import Tune
from dmg.errors import ConfigError

if TYPE_CHECKING:
    from omegaconf import DictConfig

MEMORY_OF_UNITS = 4.0
"""Gigabytes that a simulation of the units of a river network may take, if the configuration does not say."""

DERIVED_TIMES = ("train_time", "test_time", "sim_time", "all_time", "experiment_time")


class Config(Section):
    """Everything that decides a run. Attributes have the published names of the keys."""

    legacy: ClassVar[dict[str, str]] = {
        "random_seed": "seed",
        "out_path": "output_dir",
        "model_path": "model_dir",
        "load_state_dir": "load_state_path",
        "simulation": "sim",
        "delta_model": "model",
        "logger": "logging",
    }

    name: str = Field("dmg", description="Name of the family of runs; results go to output/<name>/….")
    exp_name: str | None = Field(
        None,
        description="Name of this experiment; null for an unnamed run, whose folder bears date and time.",
    )
    run_dir: str | None = Field(None, description="Folder of this run, instead of output/<name>/….")
    mode: Literal["train", "test", "train_test", "sim"] = Field("train_test", description="What the run does.")
    do_tune: bool = Field(False, description="Search for settings as the block tune says, instead of one training.")
    overwrite: bool = Field(False, description="Write into the folder of a named experiment that has results already.")
    multimodel_type: Literal["avg", "nn_parallel", "nn_sequential"] | None = Field(
        None,
        description="How several models (model.phy.name, multimodel.members) become one: avg is their mean; "
        "nn_parallel trains them and a network that weighs them together; nn_sequential trains that network alone, "
        "with members from pretrained_model_dir; null (or none) leaves them side by side.",
    )
    seed: NonNegativeInt | None = Field(
        0, description="Seed of every random number; null for a run that cannot be repeated."
    )
    logging: Literal["json", "tensorboard", "wandb"] | None = Field(
        "json",
        description="How the course of training is logged in log_dir beside training_log.csv: json (one object per "
        "epoch in metrics.jsonl), tensorboard, wandb (Weights & Biases; offline by WANDB_MODE=offline), or null for "
        "not at all.",
    )
    cache_states: bool = Field(
        False,
        description="Write the states after the last step of a test or simulation to model_states.safetensors; "
        "load_state_path starts another one there.",
    )
    device: Annotated[str, Field(pattern=r"^(auto|cpu|mps|cuda(:\d+)?)$")] = Field(
        "auto", description="auto (cuda where there is one, then cpu), cpu, cuda or mps."
    )
    gpu_id: NonNegativeInt = Field(0, description="Number of the GPU for `cuda`.")
    engine: Literal["auto", "eager", "fused"] = Field("auto", description="Engine of the process model.")
    verbose: bool = Field(False, description="Say more.")
    data_loader: str = Field("HydroLoader", description="Loader class.")
    data_sampler: str = Field("HydroSampler", description="Sampler class.")
    trainer: str = Field("Trainer", description="Trainer class.")
    output_dir: str | None = Field(
        None,
        description="Folder for all results; null for output/<name>/… where the run is started.",
    )
    model_dir: str | None = Field(
        None,
        description="Weights and normalisation, output_dir/model; another folder is taken as pretrained_model_dir.",
    )
    pretrained_model_dir: str | None = Field(
        None, description="Folder with weights and normalisation to test, simulate with, or fine-tune."
    )
    plot_dir: str | None = Field(None, description="Plots; output_dir/plots.")
    sim_dir: str | None = Field(
        None, description="Where mode sim writes simulation.nc or simulation.zarr, and gauges.nc; output_dir/sim."
    )
    log_dir: str | None = Field(None, description="Logs; output_dir/logs.")
    load_state_path: str | None = Field(None, description="State file to start a test or simulation from.")
    load_epoch: NonNegativeInt = Field(0, description="Epoch of the pretrained weights; 0 takes the best or newest.")
    train: Train = Field(description="Training.")
    valid: Valid | None = Field(None, description="Validation during training; null for none.")
    test: Test = Field(description="Evaluation.")
    sim: Sim | None = Field(None, description="Simulation; needed by mode sim.")
    model: Model = Field(description="The coupled model.")
    multimodel: MultiModel = Field(default_factory=MultiModel, description="The ensemble.")
    tune: Tune = Field(default_factory=Tune, description="Search for settings.")
    observations: Observations = Field(default_factory=Observations, description="The data set.")

    @model_validator(mode="before")
    @classmethod
    def _settle(cls, values: Any) -> Any:
        if not isinstance(values, dict):
            return values
        values = cls.present_spelling({key: v for key, v in values.items() if key not in DERIVED_TIMES})
        if trained := values.pop("trained_model", None):
            values.setdefault("pretrained_model_dir", trained)
        if values.get("trainer") == "MsTrainer" and isinstance(values.get("sim"), dict):
            values["sim"] = {"max_memory": MEMORY_OF_UNITS, **values["sim"]}
        family = cls._folder_name(str(values.get("name") or cls.model_fields["name"].default))
        return folders(hand_down(without_time(values)), family)

    @field_validator("name", mode="before")
    @classmethod
    def _folder_name(cls, value: Any) -> Any:
        # `${model.nn.name}-${model.phy.name}` prints a list as ['Hbv'].
        return value.translate(str.maketrans("", "", "[]'\" ")) if isinstance(value, str) else value

    @field_validator("mode", mode="before")
    @classmethod
    def _old_mode(cls, value: Any) -> Any:
        return "sim" if value == "simulation" else value

    @field_validator("logging", "multimodel_type", mode="before")
    @classmethod
    def _none_is_null(cls, value: Any) -> Any:
        return None if value in ("none", "") else value

    @field_validator("data_loader", "data_sampler", "trainer", "load_epoch", mode="before")
    @classmethod
    def _default_plugin(cls, value: Any, info: Any) -> Any:
        return cls.model_fields[info.field_name].default if value is None else value

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if self.mode == "sim" and self.sim is None:
            raise ConfigError("mode: sim needs the block 'sim'", hint="give sim.start_time and sim.end_time")
        return self

    @property
    def streams(self) -> bool:
        """Whether a simulation streams through memory into a Zarr store."""
        return self.sim is not None and self.sim.max_memory is not None

    @property
    def train_time(self) -> list[str]:
        """First and last day of training."""
        return self.train.span

    @property
    def test_time(self) -> list[str]:
        """First and last day of the evaluation."""
        return self.test.span

    @property
    def sim_time(self) -> list[str] | None:
        """First and last day of the simulation, if there is one."""
        return self.sim.span if self.sim else None

    @property
    def all_time(self) -> list[str]:
        """First and last day that any period of the configuration has."""
        periods = [p for p in (self.train, self.valid, self.test, self.sim) if p is not None]
        first, last = min(periods, key=lambda p: p.start), max(periods, key=lambda p: p.end)
        return [first.start_time, last.end_time]

    @property
    def experiment_time(self) -> list[str]:
        """First and last day of what ``mode`` runs over."""
        if self.mode == "sim" and self.sim:
            return self.sim.span
        if self.mode == "train_test":
            first = min(self.train, self.test, key=lambda p: p.start)
            last = max(self.train, self.test, key=lambda p: p.end)
            return [first.start_time, last.end_time]
        return self.train.span if self.mode == "train" else self.test.span

    def to_dict(self) -> dict[str, Any]:
        """Return the plain dict with the published keys and the derived ones; ``as_config`` reads it back."""
        derived = {key: getattr(self, key) for key in DERIVED_TIMES}
        return {**self.model_dump(mode="json"), **derived}


def as_config(config: dict[str, Any] | DictConfig | Config) -> Config:
    """Validate a configuration and return it as a typed, frozen object.

    Parameters
    ----------
    config
        A ``Config`` (returned as it is), a Hydra tree, or a dict with the published keys; derived keys and
        legacy spellings are accepted, so that what ``initialize_config`` returned can be changed and handed
        back.

    Raises
    ------
    ConfigError
        For unknown keys (with the closest known one), wrong values, periods outside the record, unknown names
        of plug-ins, arguments that a plug-in does not take, and a device that this machine lacks.
    """
    if isinstance(config, Config):
        return config
    if not isinstance(config, dict):
        from omegaconf import OmegaConf
        from omegaconf.errors import OmegaConfBaseException

        try:
            config = OmegaConf.to_container(config, resolve=True)
        except OmegaConfBaseException as error:
            raise ConfigError(f"the configuration cannot be resolved: {error}") from error
    from dmg.conf.checks import check
    from dmg.conf.plugins import under_class_names, with_own_forcings
    from dmg.core.utils.device import resolve_device

    try:
        checked = Config.model_validate(config)
    except ValidationError as error:
        raise explain(error, Config) from None
    check(checked)
    checked = with_own_forcings(under_class_names(checked))
    return checked.model_copy(update={"device": resolve_device(checked.device, checked.gpu_id)})
