"""The configuration block ``model``: coupling, process model, network."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field, NonNegativeInt, PositiveInt, field_validator

from dmg.conf.section import OpenSection, Section, as_list

Fraction = Annotated[float, Field(ge=0, lt=1)]
Unit = Literal["mm/d", "mm/h", "m3/s", "ft3/s"]
_or_empty = BeforeValidator(lambda value: [] if value is None else as_list(value))
Names = Annotated[list[str], _or_empty]


class PhyPart(Section):
    """One time step of a process model that runs at two; what is null is as in model.phy."""

    name: Annotated[list[str] | None, BeforeValidator(as_list)] = Field(
        None, description="Process model of this time step; null for the one that the coupled model names."
    )
    warmup: NonNegativeInt = Field(365, description="lof_model: days that are run before the first hour.")
    handover: Literal["detached", "attached"] | None = Field(
        None,
        description="lof_model: whether the gradient goes through the stores that the days hand to the hours; null for "
        "detached, as published.",
    )
    dynamic_params: dict[str, Names] | None = Field(
        None, description="As in model.phy; the same parameters must be dynamic at both time steps."
    )
    nmul: PositiveInt | None = Field(None, description="As in model.phy; the same at both time steps.")
    dy_drop: Fraction | None = Field(None, description="As in model.phy.")
    nearzero: Annotated[float, Field(gt=0)] | None = Field(None, description="As in model.phy.")
    routing: bool | None = Field(
        None, description="hif_model: route the runoff of a unit inside the unit before it flows to the gauges."
    )
    simulate_spatial_chunk_size: PositiveInt | None = Field(
        None, description="hif_model: units that are simulated at once; null for all."
    )
    simulate_temporal_chunk_size: PositiveInt | None = Field(
        None, description="hif_model: hours that are routed at once; null for all."
    )
    train_spatial_chunk_size: PositiveInt | None = Field(None, description="Kept for published files.")
    train_warmup: NonNegativeInt | None = Field(
        None, description="Kept for published files: chunks hand on what is still on its way, exactly."
    )
    warmup_states: bool | None = Field(None, description="Kept for published files.")
    cache_states: bool | None = Field(None, description="Kept for published files.")


class FluxNetwork(Section):
    """A network on a flux of the process model, inside its step."""

    role: Literal["multiply", "replace"] = Field(
        "multiply",
        description="multiply: the flux of the equations times a learned factor; replace: a learned share of the "
        "most that the flux can be.",
    )
    inputs: Annotated[list[str], BeforeValidator(as_list)] | dict[str, float] = Field(
        description="What it sees at every step: states, forcings, attributes, parameters, quotients of two "
        "(SM/parFC); or name to usual size, {SM: 200}.",
    )
    hidden: list[PositiveInt] = Field([16, 16], description="Widths of the hidden layers.")
    activation: Literal["tanh", "relu", "sigmoid", "softplus", "silu"] = Field("tanh", description="Of hidden layers.")
    monotone: dict[str, Literal["increasing", "decreasing"]] = Field(
        {}, description="Inputs with which the factor, or share, never falls (increasing) or never rises (decreasing)."
    )
    limit: Annotated[float, Field(gt=1)] = Field(
        4.0, description="Greatest factor of multiply; the least is 1 / limit."
    )


class Phy(OpenSection):
    """Process model; a plug-in may declare further options (class attribute ``options``)."""

    legacy: ClassVar[dict[str, str]] = {
        "warm_up_states": "warmup_states",
        "warm_up": "warmup",
        "model": "name",
    }

    name: Annotated[list[str], BeforeValidator(as_list)] = Field(
        min_length=1,
        description="Process model; several run side by side, each with a network of its own (see multimodel_type).",
    )
    dynamic_params: dict[str, Names] = Field(
        {},
        description="Parameters that vary in time, by model: {Hbv: [parBETA, parBETAET]}. Others are static.",
    )
    fixed_params: dict[str, dict[str, float]] = Field(
        {}, description="Parameters with a given value that nothing learns, by model: {Hbv: {parTT: 0.0}}."
    )
    global_params: dict[str, Names] = Field(
        {}, description="Parameters with one learned value for all sites, by model: {Hbv: [parCWH, parCFR]}."
    )
    nmul: PositiveInt = Field(1, description="Component simulations per site; their mean is the site's output.")
    warmup_states: bool = Field(
        True,
        description="In a direct call of the model, true spins the states up without gradient; false runs "
        "through the warm-up with gradient and drops it.",
    )
    warmup: NonNegativeInt | None = Field(None, description="Set from model.warmup.")
    dy_drop: Fraction = Field(
        0.0, description="Probability that a dynamic parameter of a site is held static in a training window."
    )
    routing: bool = Field(True, description="Route the runoff through the unit hydrograph.")
    router: str | None = Field(None, description="Router of the runoff; null for the model's own unit hydrograph.")
    comprout: bool = Field(False, description="Route every component before the mean instead of the mean.")
    nearzero: Annotated[float, Field(gt=0)] = Field(1e-5, description="Floor of stores that are divided by.")
    variables: Names = Field([], description="Order of the forcings in x_phy; empty for the model's own.")
    forcings: Names = Field(
        [], description="Forcings of the process model, matched by name; empty for those that it declares."
    )
    attributes: Names = Field([], description="Attributes of the process model, matched by name.")
    networks: dict[str, FluxNetwork] = Field(
        {}, description="Networks on fluxes inside the step, by flux, where the model offers that."
    )
    solver: Literal["implicit", "euler", "heun", "rk4"] | None = Field(
        None,
        description="How a model that gives a tendency is advanced: implicit (backward Euler, the default), or an "
        "explicit method of order 1, 2 or 4.",
    )
    substeps: PositiveInt | None = Field(None, description="Equal parts of an explicit step of a tendency; null for 1.")
    engine: str | None = Field(None, description="Set from engine.")
    lof_model: PhyPart | None = Field(
        None, description="Low frequency of a model of two time steps (Hbv_2_mts): the days before the hours."
    )
    hif_model: PhyPart | None = Field(None, description="High frequency of a model of two time steps: the hours.")
    ad_efficient: bool | None = Field(None, description="Kept for published files; the engine needs no such switch.")
    cache_states: bool | None = Field(None, description="Set from cache_states.")

    @field_validator("dynamic_params", mode="before")
    @classmethod
    def _none_dynamic(cls, value: Any) -> Any:
        return {} if value is None else value


class Coupling(OpenSection):
    """How network and process model are coupled; options of the delta model stand beside its name."""

    name: str | None = Field(
        None,
        description="Delta model: DplModel, ForcingCorrectionModel, ResidualModel, CorrectedModel …; null for that of "
        "the process model, which is DplModel.",
    )


class NnPart(Section):
    """Network of one of two time steps; what is null is as in model.nn."""

    hidden_size: PositiveInt | None = Field(None, description="As in model.nn.")
    lstm_hidden_size: PositiveInt | None = Field(None, description="As in model.nn.")
    mlp_hidden_size: PositiveInt | None = Field(None, description="As in model.nn.")
    dropout: Fraction | None = Field(None, description="As in model.nn.")
    lstm_dropout: Fraction | None = Field(None, description="As in model.nn.")
    mlp_dropout: Fraction | None = Field(None, description="As in model.nn.")


class Nn(OpenSection):
    """Network; a plug-in may declare further options (class attribute ``options``)."""

    legacy: ClassVar[dict[str, str]] = {"model": "name"}

    name: str = Field("LstmModel", description="Network class.")
    hidden_size: PositiveInt | None = Field(None, description="Width of the hidden layers.")
    dropout: Fraction | None = Field(None, description="Dropout probability.")
    activation: str | None = Field(None, description="MlpModel: activation of the hidden layers.")
    out_size: PositiveInt | None = Field(
        None, description="Targets of a network without process model; null for the number of train.target."
    )
    lstm_hidden_size: PositiveInt | None = Field(None, description="LstmMlpModel: width of the LSTM.")
    mlp_hidden_size: PositiveInt | None = Field(None, description="LstmMlpModel: width of the MLP.")
    lstm_dropout: Fraction | None = Field(None, description="LstmMlpModel: dropout of the LSTM.")
    mlp_dropout: Fraction | None = Field(None, description="LstmMlpModel: dropout of the MLP.")
    out_size1: PositiveInt | None = Field(None, description="LstmMlpModel: outputs of the LSTM; null asks the model.")
    out_size2: PositiveInt | None = Field(None, description="LstmMlpModel: outputs of the MLP; null asks the model.")
    lof_model: NnPart | None = Field(None, description="StackLstmMlpModel: the network of the days.")
    hif_model: NnPart | None = Field(None, description="StackLstmMlpModel: the network of the hours.")
    use_transfer: bool = Field(
        True, description="StackLstmMlpModel: the LSTM of the hours starts from a learned map of that of the days."
    )
    sub_batch_size: PositiveInt | None = Field(
        None, description="StackLstmMlpModel: units that pass the LSTM at once in evaluation; null for all."
    )
    forcings: Names = Field([], description="Forcings that the network sees.")
    attributes: Names = Field([], description="Attributes that the network sees.")
    cache_states: bool | None = Field(None, description="Set from cache_states.")


class Head(OpenSection):
    """What a network alone says of a target; arguments of the head stand beside its name."""

    name: str = Field(
        description="quantiles (levels, 0.5 among them; with PinballLoss) or normal (mean and variance, levels to "
        "report; with NormalNllLoss)."
    )


class Model(Section):
    """The coupled model: window, normalisation, process model, network."""

    legacy: ClassVar[dict[str, str]] = {"warm_up": "warmup", "phy_model": "phy", "nn_model": "nn"}

    rho: PositiveInt = Field(description="Length of the training window in steps, without the warm-up.")
    warmup: NonNegativeInt = Field(0, description="Warm-up steps before a window or period.")
    static: Literal["last", "held"] = Field(
        "held",
        description="Which output of the network is a static parameter in simulation: that of the last step, or "
        "that of the end of the spin-up, held. Training always takes the last; evaluation reports both.",
    )
    use_log_norm: Names = Field([], description="Variables normalised as log10(sqrt(x) + 0.1).")
    flow_regime: Literal["low", "high"] | None = Field(
        None, description="Normalise the target: high as it is, low on the log-sqrt scale; null not at all."
    )
    outputs: Names = Field(
        [],
        description="Fluxes and states that simulation.nc gets beside the targets; empty: none in a test, all fluxes "
        "in a simulation.",
    )
    output_unit: Unit = Field("mm/d", description="Unit of streamflow in results.")
    phy: Phy | None = Field(None, description="Process model; null for a pure network.")
    nn: Nn = Field(description="Network.")
    coupling: Coupling = Field(default_factory=Coupling, description="Coupling of the two.")
    head: Head | None = Field(
        None, description="Distribution of the targets that a network alone predicts; null for one number each."
    )

    @field_validator("warmup", mode="before")
    @classmethod
    def _no_warmup(cls, value: Any) -> Any:
        return 0 if value is None else value

    @field_validator("flow_regime", mode="before")
    @classmethod
    def _no_regime(cls, value: Any) -> Any:
        return None if value == "none" else value
