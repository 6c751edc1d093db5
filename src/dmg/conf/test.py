"""The configuration blocks ``test`` and ``sim``."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, PositiveInt

from dmg.conf.period import Period


def _site_ids(value: object) -> object:
    return [str(site) for site in value] if isinstance(value, (list, tuple)) else value


class Test(Period):
    """Evaluation: period, batches, the sites held out."""

    __test__ = False

    name: Literal["temporal"] | None = Field(None, description="Kind of test: another period than the training's.")
    type: Literal["temporal"] = Field("temporal", description="Kind of test, as `name`.")
    batch_size: PositiveInt = Field(description="Sites per batch in evaluation.")
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


class Sim(Period):
    """Simulation without targets."""

    batch_size: PositiveInt | None = Field(None, description="Sites per batch; null for test.batch_size.")
