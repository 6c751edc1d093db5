"""The configuration block ``multimodel``: how several models become one prediction."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field, PositiveFloat, PositiveInt

from dmg.conf.model import Fraction, Names
from dmg.conf.section import OpenSection


class MultiModel(OpenSection):
    """Ensemble: the network that weighs its members, or the trained runs that are averaged."""

    legacy: ClassVar[dict[str, str]] = {"model": "name"}

    members: Names = Field(
        [],
        description="Folders of evaluated runs (other seeds, forcings, models) whose simulations multimodel_type avg "
        "averages in mode test.",
    )
    name: str = Field(
        "LstmModel",
        description="Class of the network that gives the weights (nn_parallel, "
        "nn_sequential); its arguments stand beside the name.",
    )
    hidden_size: PositiveInt = Field(64, description="Width of its hidden layers.")
    dropout: Fraction = Field(0.0, description="Its dropout probability.")
    forcings: Names = Field([], description="Forcings that it sees, of those of model.nn; empty for all of them.")
    attributes: Names = Field([], description="Attributes that it sees, of those of model.nn; empty for all of them.")
    learning_rate: PositiveFloat | None = Field(None, description="Its learning rate; null for train.lr.")
    scaling_function: Literal["softmax", "sigmoid"] = Field(
        "softmax",
        description="From its output to weights: softmax over the models, or sigmoid, each for itself.",
    )
    mosaic: bool = Field(False, description="Take, at every site and step, the model with the largest weight alone.")
    use_rb_loss: bool = Field(True, description="Sigmoid: add a penalty on sums of the weights outside of a range.")
    loss_function: str = Field("RangeBoundLoss", description="That penalty.")
    loss_factor: Annotated[float, Field(ge=0)] = Field(1.0, description="Weight of the penalty in the loss.")
    loss_lower_bound: float = Field(0.9, description="Sum of the weights from which on nothing is added.")
    loss_upper_bound: float = Field(1.1, description="Sum of the weights up to which nothing is added.")
