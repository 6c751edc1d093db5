"""The schema of an experiment: models, seeds and splits whose runs are compared with each other and with others'."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import BeforeValidator, Field, NonNegativeInt, PositiveFloat, ValidationError, model_validator

from dmg.conf.compose import PACKAGED, compose
from dmg.conf.explain import explain
from dmg.conf.section import OpenSection, Section, as_list
from dmg.errors import ConfigError, did_you_mean

FOLDER = PACKAGED / "experiment"
"""The packaged experiments."""


class Contender(Section):
    """A model of an experiment."""

    label: str = Field(description="Name in table and figures.")
    settings: dict[str, Any] = Field(
        {}, description="Values by dotted key of the run's configuration, as on the command line."
    )


class Ensemble(Section):
    """The mean of the simulations of several models."""

    label: str = Field(description="Name in table and figures.")
    models: list[str] = Field(min_length=2, description="Models of the experiment.")


class Split(OpenSection):
    """A way to separate training from test, with its arguments beside the name."""

    name: str = Field(description="random, regions, table, extremes, or that of a plug-in.")


class Published(Section):
    """Scores that somebody else published, for the table and the figures."""

    label: str = Field(description="Name in table and figures.")
    forcing: str = Field(description="Forcing that they were reached with.")
    split: str = Field(description="Sites and periods.")
    source: str = Field("", description="Where they were published.")
    sites: NonNegativeInt | None = Field(None, description="Number of sites.")
    scores: dict[str, float] = Field({}, description="Median over the sites by metric.")
    peaks: dict[str, float] = Field({}, description="Median relative error of annual peaks by class of return period.")
    path: str | None = Field(
        None, description="CSV with one row per site, read from published_dir; without that folder it is left out."
    )
    site_column: str = Field("site", description="Column with the site ids.")
    columns: dict[str, str] = Field({}, description="Column by metric.")


class Peaks(Section):
    """Errors of annual peaks by return period."""

    bins: list[PositiveFloat] = Field(
        [5, 25, 50, 100], min_length=1, description="Return periods in years that separate the classes."
    )


class Experiment(Section):
    """A list of runs and their summary."""

    title: str = Field(description="Heading of the table.")
    base: str = Field("camels_531", description="Configuration of every run; --config-name replaces it.")
    settings: dict[str, Any] = Field({}, description="Values by dotted key for every run.")
    models: dict[str, Contender] = Field(min_length=1, description="The models, by the name of their folder.")
    only: Annotated[list[str], BeforeValidator(as_list)] = Field(
        [], description="Models to run in this call; empty for all. The table has whatever is finished."
    )
    seeds: list[NonNegativeInt] = Field([111111], min_length=1, description="Every model is trained with each.")
    splits: list[Split] = Field([], description="Separations of training from test, applied one after the other.")
    ensembles: dict[str, Ensemble] = Field({}, description="Means of models (and of their seeds).")
    forcing: str | None = Field(None, description="Name of the forcing in the table; null for that of the store.")
    metrics: list[str] = Field(
        ["nse", "kge", "corr", "flv", "flv_abs", "fhv", "fhv_abs", "rmse_low", "rmse_high"],
        description="Metrics of the table; the first is drawn as distributions and maps.",
        min_length=1,
    )
    peaks: Peaks = Field(default_factory=Peaks, description="Classes of the errors of annual peaks.")
    curves: bool = Field(
        False,
        description="Score the test with the weights of every saved epoch (train.save_epoch), and draw it against the "
        "CPU time of the training.",
    )
    published: list[Published] = Field([], description="Published scores beside ours.")
    published_dir: str | None = Field(None, description="Folder of published scores by site.")
    run: bool = Field(True, description="false: only write table and figures of what is finished.")

    @model_validator(mode="after")
    def _known_models(self) -> Self:
        groups = {"only": self.only, **{f"ensembles.{key}.models": e.models for key, e in self.ensembles.items()}}
        for key, names in groups.items():
            for name in names:
                if name not in self.models:
                    raise ConfigError(f"{key}: there is no model '{name}'", hint=did_you_mean(name, self.models))
        for name in self.models:
            if Path(name).name != name:
                raise ConfigError(f"models: '{name}' cannot be the name of a folder")
        if repeated := {seed for seed in self.seeds if self.seeds.count(seed) > 1}:
            raise ConfigError(f"seeds: {', '.join(map(str, sorted(repeated)))} is there twice")
        return self


def read_experiment(name: str, config_dir: str | Path | None = None, overrides: Sequence[str] = ()) -> Experiment:
    """Return an experiment by its name or by the path of its file.

    Parameters
    ----------
    name
        Name of a file in ``config_dir/experiment`` or of a packaged one, or a path.
    config_dir
        Folder of the user's configurations.
    overrides
        ``key=value`` for keys of the experiment.

    Raises
    ------
    ConfigError
        For a file, a key or a value that is wrong.
    """
    from omegaconf import OmegaConf

    own = Path(config_dir).expanduser() / "experiment" if config_dir else None
    is_path = len(Path(name).parts) > 1 or Path(name).suffix in {".yaml", ".yml"}
    folder = own if own is not None and own.is_dir() else FOLDER
    tree = compose(name, None if is_path else folder, overrides, root=Experiment, packaged=FOLDER)
    try:
        return Experiment.model_validate(OmegaConf.to_container(tree, resolve=True))
    except ValidationError as error:
        raise explain(error, Experiment) from None
