"""Checks of plug-in names, and of the arguments that a plug-in takes."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from dmg.conf.derive import is_timeless
from dmg.conf.observations import GEOGRAPHY
from dmg.errors import UnknownNameError, did_you_mean
from dmg.registry import (
    Registry,
    delta_models,
    heads,
    loaders,
    losses,
    networks,
    process_models,
    routers,
    samplers,
    trainers,
)

if TYPE_CHECKING:
    from dmg.conf.config import Config
    from dmg.conf.model import Phy

Problem = tuple[str, str | None]
#: Blocks of ``model.phy`` that list parameters by model.
BY_MODEL = ("dynamic_params", "fixed_params", "global_params")


def plugin_problems(config: Config) -> list[Problem]:
    """Return what is wrong with names of plug-ins and with their arguments."""
    problems: list[Problem] = []

    def find(registry: Registry, name: str, key: str) -> Any:
        try:
            return registry.get(name)
        except UnknownNameError as error:
            problems.append((f"{key}: {error.what}", error.hint))
            return None

    find(loaders, config.data_loader, "data_loader")
    find(samplers, config.data_sampler, "data_sampler")
    find(trainers, config.trainer, "trainer")
    network = find(networks, config.model.nn.name, "model.nn.name")
    if network is not None:
        read = {key for keys in getattr(network, "config_keys", {}).values() for key in keys}
        known = {*type(config.model.nn).model_fields, *read, *getattr(network, "options", ())}
        problems += _unknown(config.model.nn.arguments, known, "model.nn")
    if config.multimodel_type in ("nn_parallel", "nn_sequential"):
        weigher = find(networks, config.multimodel.name, "multimodel.name")
        read = {key for keys in getattr(weigher, "config_keys", {}).values() for key in keys}
        known = {*type(config.multimodel).model_fields, *read, *getattr(weigher, "options", ())}
        problems += _unknown(config.multimodel.arguments, known, "multimodel") if weigher is not None else []
        find(losses, config.multimodel.loss_function, "multimodel.loss_function")
    loss = find(losses, config.train.loss_function.name, "train.loss_function.name")
    if config.model.head is not None:
        head = find(heads, config.model.head.name, "model.head.name")
        problems += _unknown(config.model.head.arguments, head.options, "model.head") if head is not None else []
    if loss is not None:
        known = getattr(loss, "defaults", {})
        problems += _unknown(config.train.loss_function.arguments, known, "train.loss_function")
    phy = config.model.phy
    problems += _coupling_problems(config)
    if phy is not None:
        if phy.router is not None:
            find(routers, phy.router, "model.phy.router")
        models = {name: find(process_models, name, "model.phy.name") for name in phy.name}
        options = {key for m in models.values() if m is not None for key in getattr(m, "options", ())}
        if all(m is not None for m in models.values()):
            problems += _unknown(phy.arguments, options | set(type(phy).model_fields), "model.phy")
        for block in BY_MODEL:
            problems += _parameter_problems(block, getattr(phy, block), models)
        problems += _unsaid(phy.dynamic_params, models)
        problems += [
            p for name, model in models.items() if model is not None for p in _network_problems(name, model, phy)
        ]
        needed = {f.name for model in models.values() for f in forcings_of(model, phy)}
        problems += [p for name, model in models.items() for p in _forcing_problems(name, model, phy, needed)]
        problems += [p for name, model in models.items() for p in _attribute_problems(name, model, config)]
    return problems + _optimisation(config)


def _parameter_problems(block: str, by_model: Mapping[str, Iterable[str]], models: Mapping[str, Any]) -> list[Problem]:
    """Return what is wrong with the names of parameters in a block that lists them by model."""
    problems: list[Problem] = []
    for key, names in by_model.items():
        model = next((m for name, m in models.items() if m is not None and key in (name, m.__name__)), None)
        if model is None and (None in models.values() or key in process_models):
            continue  # a model whose name is wrong may be the one meant; another model's list waits for its turn
        if model is None:
            hint = did_you_mean(key, models)
            problems.append((f"model.phy.{block}: '{key}' is not among model.phy.name", hint))
        known = parameter_names(model)
        problems += [
            (f"model.phy.{block}.{key}: {key} has no parameter '{p}'", did_you_mean(p, known))
            for p in names
            if known and p not in known
        ]
    return problems


def _coupling_problems(config: Config) -> list[Problem]:
    """Return what is wrong with ``model.coupling``."""
    block, phy = config.model.coupling, config.model.phy
    if block.name is None:
        return _unknown(block.arguments, (), "model.coupling")
    if phy is None:
        return [("model.coupling: there is no process model to couple", "give model.phy, or leave the block out")]
    try:
        coupling = delta_models.get(block.name)
    except UnknownNameError as error:
        return [(f"model.coupling.name: {error.what}", error.hint)]
    fixed = {n: getattr(process_models.get(n), "coupling", None) for n in phy.name if n in process_models}
    problems = [
        (f"model.coupling.name: {name} is coupled by {own} only, not by {block.name}", "leave the block out")
        for name, own in fixed.items()
        if own not in (None, block.name)
    ]
    return problems + _unknown(block.arguments, getattr(coupling, "options", ()), "model.coupling")


def _network_problems(name: str, model: Any, phy: Phy) -> list[Problem]:
    """Return the fluxes of ``model.phy.networks`` on which a process model lets no network be put."""
    known = getattr(model, "adjustable", ())
    return [
        (
            f"model.phy.networks: no network can be put on '{flux}' of {name}",
            did_you_mean(flux, known) if known else "its step offers none of its fluxes",
        )
        for flux in phy.networks
        if flux not in known
    ]


def _unsaid(dynamic: Mapping[str, list[str]], models: Mapping[str, Any]) -> list[Problem]:
    """Return the models of which ``dynamic_params`` says nothing while it speaks of others that are not run."""
    unsaid = [n for n, m in models.items() if m is not None and not {n, m.__name__} & set(dynamic)]
    run = {n for n, m in models.items() if m is not None} | {m.__name__ for m in models.values() if m is not None}
    others = [key for key in dynamic if key in process_models and key not in run]
    return [
        (
            f"model.phy.dynamic_params speaks of {', '.join(others)}, but not of {name}",
            f"say which parameters vary in time: model.phy.dynamic_params.{name}="
            f"[{parameter_names(models[name])[0]}, …], or [] for none",
        )
        for name in unsaid
        if others and parameter_names(models[name])
    ]


def under_class_names(config: Config) -> Config:
    """Return the configuration with parameters by model under the name of the class too, where a process model looks.

    A plug-in may be registered under another name than its class has, and a configuration names the former.
    """
    phy = config.model.phy
    if phy is None:
        return config
    blocks = {block: dict(getattr(phy, block)) for block in BY_MODEL}
    for names in blocks.values():
        for name in phy.name:
            if name in names:
                names.setdefault(process_models.get(name).__name__, names[name])
    if all(names == getattr(phy, block) for block, names in blocks.items()):
        return config
    model = config.model.model_copy(update={"phy": phy.model_copy(update=blocks)})
    return config.model_copy(update={"model": model})


def with_own_forcings(config: Config) -> Config:
    """Return the configuration with the forcings that the process models declare, where it lists none.

    Data without a time axis name their own columns.
    """
    phy = config.model.phy
    if phy is None or phy.forcings or is_timeless(config.data_loader):
        return config
    declared = dict.fromkeys(f.name for name in phy.name for f in forcings_of(process_models.get(name), phy))
    own = list(phy.variables or declared)
    model = config.model.model_copy(update={"phy": phy.model_copy(update={"forcings": own})})
    return config.model_copy(update={"model": model})


def forcings_of(model: Any, phy: Phy) -> tuple[Any, ...]:
    """Return the forcings that a process model declares with the options of a block ``model.phy``."""
    if hasattr(model, "forcings_for"):
        return model.forcings_for({**phy.model_dump(), **phy.arguments})
    return getattr(model, "forcings", ())


def _forcing_problems(name: str, model: Any, phy: Phy, needed: set[str]) -> list[Problem]:
    """Compare ``model.phy.forcings`` with what a process model declares, and all of them need.

    ``variables`` gives the forcings other names.
    """
    declared = {need.name: need.unit for need in forcings_of(model, phy)}
    if not declared or not phy.forcings:
        return []
    if phy.variables and len(phy.variables) != len(phy.forcings):
        return [
            (
                f"model.phy.variables names {len(phy.variables)} forcings, model.phy.forcings {len(phy.forcings)}",
                "variables says, in order, which forcing of the model each of model.phy.forcings is",
            )
        ]
    given = phy.variables or phy.forcings
    missing = [f"'{n}' ({unit})" for n, unit in declared.items() if n not in given]
    problems = [(f"model.phy.forcings: {name} needs {', '.join(missing)}", None)] if missing else []
    if not phy.variables:
        extra = [n for n in given if n not in needed]
        hint = did_you_mean(extra[0], declared) if extra else None
        problems += [(f"model.phy.forcings: {name} has no forcing {', '.join(extra)}", hint)] if extra else []
    return problems


def _attribute_problems(name: str, model: Any, config: Config) -> list[Problem]:
    """Return the attributes of sites that a process model needs and the configuration does not name."""
    phy, obs = config.model.phy, config.observations
    if not hasattr(model, "attributes_for") or config.data_loader not in ("HydroLoader", "MsHydroLoader"):
        return []
    problems = []
    for need in model.attributes_for({**phy.model_dump(), **phy.arguments}):
        key = GEOGRAPHY.get(need.name)
        if need.name not in phy.attributes and not (key and getattr(obs, key)):
            where = f"name it with observations.{key}, or " if key else ""
            problems.append(
                (
                    f"{name} needs the attribute '{need.name}' ({need.unit}): {need.description}",
                    f"{where}list '{need.name}' in model.phy.attributes if the data have it under that name",
                )
            )
    return problems


def parameter_names(model: Any) -> list[str]:
    """Return the names of a process model's parameters, as far as its class declares them."""
    bounds = getattr(model, "parameter_bounds", None)
    if isinstance(bounds, dict):
        return list(bounds)
    return [p.name for p in getattr(model, "parameter_table", ())]


def _unknown(given: Iterable[str], known: Iterable[str], key: str) -> list[Problem]:
    known = list(known)
    none = "it takes no arguments"
    return [
        (f"unknown key '{key}.{name}'", did_you_mean(name, known) if known else none)
        for name in given
        if name not in known
    ]


def _optimisation(config: Config) -> list[Problem]:
    """Construct optimizer and scheduler once, on one number, so that wrong arguments show before the run."""
    import torch

    train = config.train
    made, problems = _construct(
        torch.optim.Optimizer,
        torch.optim,
        train.optimizer.name,
        "train.optimizer",
        {**train.optimizer.arguments},
        given={"params": [torch.nn.Parameter(torch.zeros(1))], "lr": train.lr},
    )
    if train.lr_scheduler is None or made is None:
        return problems
    _, more = _construct(
        torch.optim.lr_scheduler.LRScheduler,
        torch.optim.lr_scheduler,
        train.lr_scheduler.name,
        "train.lr_scheduler",
        train.lr_scheduler.arguments,
        given={"optimizer": made},
    )
    return problems + more


def _construct(
    base: type, module: Any, name: str, key: str, arguments: dict[str, Any], given: dict[str, Any]
) -> tuple[Any, list[Problem]]:
    """Construct a class of a module by name, or say why that cannot be."""
    known = [n for n, c in vars(module).items() if isinstance(c, type) and issubclass(c, base) and c is not base]
    known = [n for n in known if n not in {"SparseAdam", "LRScheduler", "_LRScheduler"}]  # it wants sparse gradients
    if name not in known:
        return None, [(f"{key}.name: unknown name '{name}' in {module.__name__}", did_you_mean(name, known))]
    cls = getattr(module, name)
    accepted = [p for p in inspect.signature(cls).parameters if p not in given]
    problems = _unknown(arguments, accepted, key)
    if "lr" in arguments:
        problems = [(f"'{key}.lr' is given beside 'train.lr'", "keep 'train.lr' only")]
    if problems:
        return None, [
            (f"{what} ({name} does not take it)" if "unknown" in what else what, hint) for what, hint in problems
        ]
    try:
        return cls(**given, **arguments), []
    except Exception as error:  # each class raises what it likes for a bad value
        return None, [(f"{key}: {name} refuses these arguments: {error}", f"{name} takes: {', '.join(accepted)}")]
