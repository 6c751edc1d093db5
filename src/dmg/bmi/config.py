"""The configuration of a BMI component: which trained model, which catchments, how it starts, what it exchanges."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import (
    BeforeValidator,
    Field,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    ValidationError,
    model_validator,
)

from dmg.conf.explain import explain
from dmg.conf.period import Date
from dmg.conf.section import Section
from dmg.errors import ConfigError

Schema = TypeVar("Schema", bound=Section)
PATHS = ("model", "attributes", "spin_up", "state")


class Catchment(Section):
    """One catchment, or one unit of a river network."""

    id: Annotated[str, BeforeValidator(str)] = Field(
        description="Id, as in the files of attributes, series and states."
    )
    lat: float | None = Field(None, description="Latitude in degrees north.")
    lon: float | None = Field(None, description="Longitude in degrees east.")
    area_km2: PositiveFloat | None = Field(None, description="Area in km²; needed for outputs in m3 s-1.")
    attributes: dict[str, float] = Field(
        {},
        description="Attributes that the model reads, in the units in which it was trained; they precede the file's.",
    )


class Exchanged(Section):
    """How a variable is called by the host and in which unit; null for the name and unit of the vocabulary."""

    variable: str = Field(description="Name in δMG: a forcing, an output or a state of the model.")
    name: str | None = Field(None, description="Name for the host.")
    units: str | None = Field(None, description="Unit for the host, as UDUNITS reads it.")

    @model_validator(mode="before")
    @classmethod
    def _named(cls, values: Any) -> Any:
        return {"variable": values} if isinstance(values, str) else values


class Derived(Section):
    """A forcing that is computed from what the host supplies."""

    method: str = Field(description="Formula, by its name for `dmg data --derive`, such as pet_priestley_taylor.")
    without: list[str] = Field(
        [], description="Variables that the host does not supply, although hosts know them: the formula does without."
    )

    @model_validator(mode="before")
    @classmethod
    def _named(cls, values: Any) -> Any:
        return {"method": values} if isinstance(values, str) else values


class BmiConfig(Section):
    """Everything that decides a component. Paths are relative to the file of the configuration."""

    model: str = Field(description="Folder of a trained run (its output_dir), or a file of weights.")
    epoch: NonNegativeInt = Field(0, description="Epoch of the weights of a run; 0 takes the best or newest.")
    device: str = Field("cpu", description="cpu, cuda, or auto.")
    dtype: Literal["float32", "float64"] = Field(
        "float32", description="Precision of the model; what the host sees is float64 in any case."
    )
    threads: PositiveInt | None = Field(
        None, description="Threads of the process for arithmetic; null leaves them as they are."
    )
    catchments: list[Catchment] = Field(min_length=1, description="Catchments; one, or many in one component.")
    attributes: str | None = Field(
        None, description="Canonical store (NetCDF or Zarr, dimension site) with the attributes of the catchments."
    )
    members: PositiveInt = Field(
        1, description="Ensemble members of every catchment; nodes are ordered by member, then by catchment."
    )
    start_time: Date = Field("2000/01/01", description="What time 0 of the clock means.")
    time_step_seconds: PositiveFloat | None = Field(
        None, description="Time step of the host; null for that of the model, which must be a multiple of it."
    )
    model_time_step_seconds: PositiveFloat | None = Field(
        None, description="Time step of a model without process model; null for a day."
    )
    spin_up: str | None = Field(
        None, description="Canonical store with the forcings before start_time, run through at the start."
    )
    state: str | None = Field(
        None, description="State to start from: of `dmg` (model_states.safetensors), or a saved payload of a component."
    )
    clock: Literal["hot_start", "resume"] = Field(
        "hot_start",
        description="What restoring a payload does with the clock: hot_start leaves it, so that a new run starts at 0; "
        "resume goes on with the time of the payload.",
    )
    inputs: list[Exchanged] = Field([], description="Inputs whose name or unit for the host is another.")
    derive: dict[str, Derived] = Field(
        {}, description="Forcings that the host does not supply, with the formula: {pet: pet_hargreaves}."
    )
    show: Literal["repeat", "end"] = Field(
        "repeat",
        description="What fluxes show under a host that steps finer than the model: `repeat` the rate of the newest "
        "model step in each of its steps, `end` all of it in the host step that completes it, and then nothing.",
    )
    outputs: list[Exchanged] = Field(
        [], description="Outputs to publish; empty for all those of the model that the vocabulary has a name for."
    )

    @model_validator(mode="after")
    def _one_start(self) -> Self:
        if self.spin_up and self.state:
            raise ConfigError("there are two starts, spin_up and state", hint="give one of them, or none to start cold")
        ids = [c.id for c in self.catchments]
        if len(set(ids)) < len(ids):
            raise ConfigError("catchments: an id is there twice", hint="one entry for each catchment")
        return self


def read_bmi_config(path: str | Path, schema: type[Schema] = BmiConfig) -> Schema:
    """Return the configuration of a component in a YAML file, its paths made absolute.

    Raises
    ------
    ConfigError
        If there is no such file, it is no YAML mapping, or a key or value is wrong; names the key.
    """
    import yaml

    path = Path(path).expanduser()
    if not path.is_file():
        raise ConfigError("there is no configuration of the component", where=str(path), hint="give a YAML file")
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"not a YAML file: {error}", where=str(path)) from error
    if not isinstance(values, dict):
        raise ConfigError("not a YAML mapping of keys to values", where=str(path), hint="begin with 'model: FOLDER'")
    for key in PATHS:
        if isinstance(given := values.get(key), str):
            values[key] = str((path.parent / Path(given).expanduser()).resolve())
    try:
        return schema.model_validate(values)
    except ValidationError as error:
        found = explain(error, schema)
        raise ConfigError(found.what, where=str(path), hint=found.hint) from None
