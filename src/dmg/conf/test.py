"""The configuration blocks ``test`` and ``sim``."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, Field, NonNegativeInt, PositiveInt, model_validator

from dmg.conf.period import Mask, Period
from dmg.errors import ConfigError


def _site_ids(value: object) -> object:
    return [str(site) for site in value] if isinstance(value, (list, tuple)) else value


class Test(Period):
    """Evaluation: period, batches, the sites held out."""

    __test__ = False

    name: Literal["temporal", "spatial"] | None = Field(None, description="Another name of `type`.")
    type: Literal["temporal", "spatial"] = Field(
        "temporal",
        description="temporal: the sites of the training in another period. spatial: one fold of a cross-validation in "
        "space; the sites of a group or region are kept out of the training and alone evaluated.",
    )
    extent: Literal["PUB", "PUR"] | None = Field(
        None, description="Spatial: PUB holds out a group of sites all over the map, PUR a region."
    )
    PUB_ids: list[int] = Field([], description="PUB: the group (column PUB_ID) that each fold holds out.")
    huc_regions: list[list[int]] = Field(
        [], description="PUR: the hydrologic units (column huc) that each fold holds out."
    )
    holdout_index: NonNegativeInt | None = Field(
        None, description="Spatial: which fold this run holds out, counted from 0 in PUB_ids or huc_regions."
    )
    batch_size: PositiveInt = Field(100, description="Sites per batch in evaluation.")
    mask: Mask = None
    test_epoch: Annotated[int, Field(ge=0)] = Field(
        0, description="Epoch whose weights modes test and sim load; 0 takes the best or newest there is."
    )
    warmup: Literal["before", "inside"] = Field(
        "before",
        description="Where the warm-up of the evaluation lies: before start_time (as far as the record allows, so "
        "that every day is scored) or inside the period (its first model.warmup days are not scored).",
    )
    holdout_sites: Annotated[Annotated[int, Field(ge=0)] | list[str] | None, BeforeValidator(_site_ids)] = Field(
        None,
        description="Sites that take no part in training and statistics but are evaluated: a number (drawn "
        "with the seed) or a list of site ids.",
    )

    @model_validator(mode="before")
    @classmethod
    def _name_is_type(cls, values: object) -> object:
        if isinstance(values, dict) and values.get("name") and not values.get("type"):
            return {**values, "type": values["name"]}
        return values

    @model_validator(mode="after")
    def _spatial_is_whole(self) -> Self:
        if self.type == "spatial":
            if self.extent is None:
                raise ConfigError("a spatial test needs test.extent", hint="PUB or PUR")
            if not self.folds:
                key = "PUB_ids" if self.extent == "PUB" else "huc_regions"
                raise ConfigError(f"a spatial test of extent {self.extent} needs test.{key}")
        return self

    @property
    def folds(self) -> list[list[int]]:
        """Groups that each fold of a spatial test holds out."""
        return [[group] for group in self.PUB_ids] if self.extent == "PUB" else self.huc_regions


class Sim(Period):
    """Simulation without targets."""

    batch_size: PositiveInt | None = Field(None, description="Sites per batch; null for test.batch_size.")
    max_memory: Annotated[float, Field(gt=0)] | None = Field(
        None,
        description="Gigabytes that a process may take: the simulation streams through memory in chunks of sites and "
        "time into simulation.zarr, and goes on there after an interruption. Null collects everything in memory and "
        "writes simulation.nc; for MsTrainer the default is 4.",
    )
    scheduler: str | None = Field(
        None,
        description="Stream on the workers of a Dask scheduler, tcp://HOST:PORT, or with `local` on processes of this "
        "machine; needs max_memory, of each worker.",
    )
    workers: PositiveInt | None = Field(
        None, description="Processes of the scheduler `local`; null for one per processor."
    )

    @model_validator(mode="after")
    def _scheduler_streams(self) -> Self:
        if self.scheduler is not None and self.max_memory is None:
            raise ConfigError(
                "sim.scheduler shares out a simulation that streams", hint="give sim.max_memory, in GB of each worker"
            )
        if self.workers is not None and self.scheduler != "local":
            raise ConfigError("sim.workers are processes of this machine", hint="set sim.scheduler=local as well")
        return self
