"""The configuration block ``train`` and what hangs on it: optimizer, scheduler, loss."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import BeforeValidator, Field, PositiveFloat, PositiveInt, field_validator, model_validator

from dmg.conf.period import Mask, Period
from dmg.conf.section import OpenSection, Section, as_list
from dmg.errors import ConfigError

Branch = Literal["network", "process", "correction", "ensemble"]
"""Parts of the models that are trained apart."""


class Optimizer(OpenSection):
    """Optimizer of ``torch.optim``, with its arguments beside the name."""

    name: str = Field("Adadelta", description="Any class of torch.optim; its arguments stand beside the name.")


class Scheduler(OpenSection):
    """Learning-rate scheduler of ``torch.optim.lr_scheduler``, with its arguments beside the name."""

    name: str = Field(
        description="Any class of torch.optim.lr_scheduler, stepped once per epoch; arguments stand beside the name."
    )


class LossFunction(OpenSection):
    """Training loss, with its arguments beside the name."""

    legacy: ClassVar[dict[str, str]] = {"model": "name"}

    name: str = Field(description="Name of a loss; its arguments (eps, alpha, beta …) stand beside the name.")


class Stage(Section):
    """Some epochs in which only parts of the models are trained."""

    train: Annotated[list[Branch], BeforeValidator(as_list)] = Field(
        min_length=1,
        description="What is trained: network (parameters of the process model), process (weights inside it: networks "
        "on fluxes, global parameters), correction (of forcing or output), ensemble; the rest is frozen.",
    )
    epochs: PositiveInt | None = Field(None, description="For how many epochs; null, for the last stage, to the end.")


class Train(Period):
    """Training: period, target, optimisation."""

    legacy: ClassVar[dict[str, str]] = {"grad_threshold": "grad_clip", "learning_rate": "lr"}

    target: Annotated[list[str], BeforeValidator(as_list)] = Field(
        min_length=1, description="Variables to learn from; one name or a list."
    )
    target_weights: dict[str, Annotated[float, Field(ge=0)]] = Field(
        {}, description="Weight of each target in the loss; 1 where not given."
    )
    optimizer: Optimizer = Field(default_factory=Optimizer, description="Optimizer and its arguments.")
    lr: PositiveFloat = Field(description="Learning rate.")
    branch_lr: dict[Branch, PositiveFloat] = Field(
        {}, description="Learning rates of parts of the models, {process: 0.001}; lr for the others."
    )
    stages: list[Stage] = Field(
        [],
        description="Training in stages, one after the other: [{epochs: 5, train: [network]}, {train: [process]}]; "
        "after the last of them everything is trained.",
    )
    lr_scheduler: Scheduler | None = Field(None, description="Scheduler and its arguments; null for none.")
    loss_function: LossFunction = Field(description="Loss and its arguments.")
    batch_size: PositiveInt = Field(description="Windows per minibatch, of all processes together.")
    max_units: PositiveInt | None = Field(
        None,
        description="MsHydroSampler: units above the gauges of a minibatch, at most; it takes fewer gauges where there "
        "are more. Null for no limit.",
    )
    epochs: PositiveInt = Field(description="Epochs; training ends after this one.")
    iterations: PositiveInt | None = Field(
        None,
        description="Minibatches per epoch; null for the number that sees a day of a site with 99 % probability.",
    )
    stride: PositiveInt | None = Field(
        None,
        description="Steps between the starts that a training window can have; null for 1, and for MtsHydroSampler 24.",
    )
    start_epoch: Annotated[int, Field(ge=0)] = Field(
        0, description="Continue after this epoch, from the checkpoint saved there; 0 starts afresh."
    )
    resume: bool = Field(False, description="Continue exactly from the newest checkpoint in output_dir.")
    save_epoch: PositiveInt = Field(1, description="A checkpoint is saved after every so many epochs.")
    grad_clip: Annotated[float, Field(ge=0)] = Field(0.0, description="Largest global norm of the gradient; 0 is off.")
    mask: Mask = None
    accumulate: PositiveInt = Field(
        1,
        description="Minibatches whose gradients are averaged before the optimizer takes a step, for batches larger "
        "than memory; an epoch keeps its number of minibatches.",
    )
    precision: Literal["float32", "bf16"] = Field(
        "float32",
        description="Arithmetic of the networks in training; bf16 is faster where the processor has it. Process "
        "models, losses, weights and evaluation are float32 in any case.",
    )
    max_bad_batches: PositiveInt = Field(
        20, description="So many minibatches in a row with non-finite loss or gradient end the run."
    )

    @model_validator(mode="after")
    def _lbfgs_adds_nothing(self) -> Self:
        if self.accumulate > 1 and self.optimizer.name == "LBFGS":
            raise ConfigError(
                "train.accumulate: LBFGS evaluates every minibatch several times and cannot add them up",
                hint="raise train.batch_size, or choose another optimizer",
            )
        return self

    @field_validator("stages")
    @classmethod
    def _only_the_last_is_open(cls, stages: list[Stage]) -> list[Stage]:
        if any(stage.epochs is None for stage in stages[:-1]):
            raise ConfigError(
                "train.stages: a stage without epochs goes on to the end, and others follow it",
                hint="say for how many epochs",
            )
        return stages

    def trained_in(self, epoch: int) -> list[str] | None:
        """Return which parts of the models an epoch (from 1) trains; None for all of them."""
        end = 0
        for stage in self.stages:
            end += stage.epochs or self.epochs
            if epoch <= end:
                return list(stage.train)
        return None

    @field_validator("lr_scheduler", mode="before")
    @classmethod
    def _no_scheduler(cls, value: Any) -> Any:
        # Published files keep step_size and gamma listed while the name is null.
        name = value.get("name") if isinstance(value, dict) else value
        if name is None or (isinstance(name, str) and name.lower() == "none"):
            return None
        return value

    @field_validator("grad_clip", mode="before")
    @classmethod
    def _no_clip(cls, value: Any) -> Any:
        return 0.0 if value is None else value


class Valid(Period):
    """Validation during training: median NSE, early stopping, best checkpoint."""

    batch_size: PositiveInt | None = Field(None, description="Sites per batch; null for test.batch_size.")
    mask: Mask = None
    every: PositiveInt = Field(1, description="Validate after every so many epochs.")
    patience: PositiveInt | None = Field(
        None, description="Stop after so many validations without improvement; null never stops early."
    )
