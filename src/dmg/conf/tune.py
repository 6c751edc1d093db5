"""The configuration block ``tune``: which keys are searched, how, and for how long."""

from __future__ import annotations

from typing import Any, ClassVar, Literal, Self

from pydantic import Field, PositiveFloat, PositiveInt, field_validator, model_validator

from dmg.conf.section import Section
from dmg.errors import ConfigError

_SPACE = {"low", "high", "log", "step", "choices"}


class Space(Section):
    """Values that a searched key can take: a range, or a list."""

    low: float | int | None = Field(None, description="Least value; whole numbers make the range one of whole numbers.")
    high: float | int | None = Field(None, description="Greatest value.")
    log: bool = Field(False, description="Draw on a logarithmic scale.")
    step: float | int | None = Field(None, description="Distance between values of the range.")
    choices: list[Any] | None = Field(None, description="The values themselves, instead of a range.")

    @model_validator(mode="before")
    @classmethod
    def _list(cls, values: Any) -> Any:
        return {"choices": values} if isinstance(values, list) else values

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if self.choices is not None:
            if not self.choices or self.low is not None or self.high is not None:
                raise ConfigError("a list of choices is not empty, and has no range beside it")
            return self
        if self.low is None or self.high is None or self.low >= self.high:
            raise ConfigError("a range needs low below high", hint="{low: 0.001, high: 0.1, log: true}, or a list")
        if self.log and (self.low <= 0 or self.step is not None):
            raise ConfigError("a logarithmic range begins above 0 and has no step")
        return self


class Tune(Section):
    """Search for settings (``do_tune: true``): each trial is a training, scored by its validation."""

    legacy: ClassVar[dict[str, str]] = {"num_samples": "trials"}

    space: dict[str, Space] = Field(
        {},
        description="Key of the configuration to its values: {train.lr: {low: 0.001, high: 0.1, log: true}, "
        "model.nn.hidden_size: [32, 64, 128]}; blocks may be nested.",
    )
    trials: PositiveInt = Field(
        20, description="Trainings, those that were pruned and those of an earlier call included."
    )
    timeout: PositiveFloat | None = Field(None, description="Begin no trial after so many hours of this call.")
    cpu_timeout: PositiveFloat | None = Field(
        None, description="Begin no trial once all before it, of earlier calls too, took so many hours of CPU time."
    )
    sampler: Literal["tpe", "random"] = Field(
        "tpe", description="tpe learns from the trials before (after `startup`); random draws each for itself."
    )
    startup: PositiveInt = Field(
        5, description="Trials that are drawn at random, and are not pruned, at the beginning."
    )
    pruner: Literal["median", "none"] | None = Field(
        "median", description="median ends a trial whose best score is below the median of the others at that epoch."
    )
    warmup_epochs: int = Field(1, ge=0, description="Epochs that a trial gets before it can be pruned.")
    storage: str | None = Field(
        None,
        description="Data base of the study as SQLAlchemy names it; null for study.db (SQLite) in output_dir. Several "
        "calls with one data base share the trials.",
    )

    @field_validator("space", mode="before")
    @classmethod
    def _flat(cls, value: Any) -> Any:
        return dict(_flatten(value)) if isinstance(value, dict) else value

    @field_validator("pruner", mode="before")
    @classmethod
    def _none(cls, value: Any) -> Any:
        return None if value == "none" else value


def _flatten(tree: dict[str, Any], path: str = "") -> list[tuple[str, Any]]:
    """Return dotted keys and their spaces: ``tune.space.train.lr=…`` on the command line nests blocks."""
    found = []
    for key, value in tree.items():
        at = f"{path}.{key}" if path else str(key)
        if isinstance(value, dict) and not set(value) <= _SPACE:
            found += _flatten(value, at)
        else:
            found.append((at, value))
    return found
