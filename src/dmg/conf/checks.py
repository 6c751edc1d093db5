"""Checks of the whole tree: periods, names of variables and plug-ins, arguments of plug-ins."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from dmg.conf.derive import is_timeless
from dmg.conf.explain import join
from dmg.conf.observations import GEOGRAPHY
from dmg.conf.period import format_date, parse_date
from dmg.conf.plugins import plugin_problems
from dmg.errors import ConfigError, did_you_mean
from dmg.registry import heads, loaders, losses, networks, process_models, routers, samplers, samples

if TYPE_CHECKING:
    from dmg.conf.config import Config

Problem = tuple[str, str | None]


def check(config: Config) -> None:
    """Check what concerns more than one key.

    Raises
    ------
    ConfigError
        With every problem that was found, each with its keys and dates.
    """
    problems = [
        *_periods(config),
        *_window(config),
        *_variables(config),
        *_flow_regime(config),
        *_head(config),
        *_multimodel(config),
        *_tune(config),
        *plugin_problems(config),
        *_two_time_steps(config),
        *_units_apart(config),
        *_river(config),
    ]
    if problems:
        raise join(problems)


def _record(config: Config) -> tuple[str | None, str | None]:
    """Return first and last day of the record, as far as the configuration says them."""
    obs = config.observations
    first, last = obs.start_time, obs.end_time
    if obs.data_path is None and obs.sample is not None:
        first, last = first or obs.sample.start, last or obs.sample.end
    return first, last


def _periods(config: Config) -> list[Problem]:
    if is_timeless(config.data_loader):
        return []
    first, last = _record(config)
    problems: list[Problem] = []
    if first and last and parse_date(first) >= parse_date(last):
        problems.append((f"observations: start_time {first} is not before end_time {last}", "correct the dates"))
    for block in ("train", "valid", "test", "sim"):
        period = getattr(config, block)
        if period is None or (block == "sim" and config.mode != "sim"):
            continue
        record = f"the record of '{config.observations.name}', {first or '…'} to {last or '…'}"
        if first and period.start < parse_date(first):
            problems.append(
                (f"{block}.start_time {period.start_time} lies before {record}", f"{first} is the earliest")
            )
        if last and period.end > parse_date(last):
            problems.append((f"{block}.end_time {period.end_time} lies behind {record}", f"{last} is the latest"))
    return problems


def _window(config: Config) -> list[Problem]:
    """A training window is ``warmup + rho`` steps; its warm-up may reach before the training period.

    The time step of a store is known when it is read, and the loader checks then; until then only that of a record
    that is generated is.
    """
    obs = config.observations
    if "train" not in config.mode or obs.data_path or obs.name not in samples or is_timeless(config.data_loader):
        return []
    per_day = getattr(samples.get(obs.name), "steps_per_day", 1)
    rho, warmup, days = config.model.rho, config.model.warmup, config.train.days
    first, _ = _record(config)
    before = 0
    if first:
        before = min(-(-warmup // per_day), max(0, (config.train.start - parse_date(first)).days))
    if rho + warmup <= (days + before) * per_day:
        return []
    start = format_date(config.train.start - timedelta(days=before))
    unit = "days" if per_day == 1 else f"steps of {24 / per_day:g} h"
    return [
        (
            f"a training window of model.warmup {warmup} + model.rho {rho} = {rho + warmup} {unit} does not "
            f"fit into the {days + before} days from {start} to {config.train.end_time}",
            "shorten model.rho or model.warmup, or lengthen train.start_time … train.end_time",
        )
    ]


def _two_time_steps(config: Config) -> list[Problem]:
    """A process model of days and hours needs data, windows and a network of both, and the other way round."""
    phy = config.model.phy
    coupled = phy is not None and any(
        hasattr(process_models.get(n), "part_names") for n in phy.name if n in process_models
    )
    wanted = (
        ("data_loader", loaders, config.data_loader, "MtsHydroLoader"),
        ("data_sampler", samplers, config.data_sampler, "MtsHydroSampler"),
        ("model.nn.name", networks, config.model.nn.name, "StackLstmMlpModel"),
    )
    problems: list[Problem] = []
    for key, registry, name, fitting in wanted:
        if name in registry and getattr(registry.get(name), "two_time_steps", False) != coupled:
            what = "runs days and hours" if coupled else "has one time step"
            model = ", ".join(phy.name) if phy else "a network alone"
            hint = f"set {key}={fitting}" if coupled else "name a process model such as Hbv_2_mts"
            problems.append((f"{key}: {name} does not go with {model}, which {what}", hint))
    if coupled:
        problems += [
            (f"{key}: {hours} hours are no whole days, and a window begins at midnight", "give a multiple of 24")
            for key, hours in (("model.warmup", config.model.warmup), ("train.stride", config.train.stride or 0))
            if hours % 24
        ]
    return problems


def _units_apart(config: Config) -> list[Problem]:
    """Gauges that are not units need a sampler that brings their units, and a model that gathers them."""
    names = {"data_loader": (loaders, config.data_loader), "data_sampler": (samplers, config.data_sampler)}
    apart = {
        key: getattr(registry.get(name), "units_apart", False)
        for key, (registry, name) in names.items()
        if name in registry
    }
    if len(apart) < 2 or not any(apart.values()):
        return []
    problems: list[Problem] = []
    for key, fitting in (("data_loader", "MsHydroLoader"), ("data_sampler", "MsHydroSampler")):
        if not apart[key]:
            other = next(name for k, (_, name) in names.items() if k != key)
            problems.append((f"{key}: {names[key][1]} does not go with {other}", f"set {key}={fitting}"))
    phy = config.model.phy
    models = [process_models.get(n) for n in (phy.name if phy else ()) if n in process_models]
    if config.mode != "sim" and (not models or not all(getattr(m, "gathers_units", False) for m in models)):
        model = ", ".join(phy.name) if phy else "a network alone"
        problems.append(
            (
                f"model.phy.name: {model} does not bring the runoff of units to gauges, which MsHydroLoader asks for",
                "name a model such as Hbv_2",
            )
        )
    return problems


def _river(config: Config) -> list[Problem]:
    """A router through a river needs units, where they drain to, and what it reads of their reaches."""
    phy, obs = config.model.phy, config.observations
    name = phy.router if phy else None
    router = routers.get(name) if name in routers else None
    if not getattr(router, "needs_network", False) or config.data_loader not in loaders:
        return []
    if not getattr(loaders.get(config.data_loader), "units_apart", False):
        return [
            (
                f"model.phy.router: {name} routes through the river between units, of which {config.data_loader} knows "
                "nothing",
                "set data_loader=MsHydroLoader, or a router of single sites such as GammaUnitHydrograph",
            )
        ]
    alone = config.mode == "sim" and obs.topology_path is None
    options = [GEOGRAPHY[key] for key in router.reads if key in GEOGRAPHY]
    missing = [f"observations.{option}" for option in options if not getattr(obs, option)]
    if alone or not missing:
        return []
    return [(f"model.phy.router: {name} needs {' and '.join(missing)}", "name the attributes of the store")]


def _flow_regime(config: Config) -> list[Problem]:
    if config.model.phy is None or config.model.flow_regime is None:
        return []
    return [
        (
            f"model.flow_regime: {config.model.flow_regime} normalises the target of a network alone; "
            f"{', '.join(config.model.phy.name)} is trained on physical values",
            "set model.flow_regime=null; a loss such as NseLogBatchLoss or RmseCombLoss gives low flows more weight",
        )
    ]


def _head(config: Config) -> list[Problem]:
    """A distribution is that of a network alone, and a loss has to be one that scores it."""
    loss = config.train.loss_function.name
    if loss not in losses:
        return []
    head, scored = config.model.head, getattr(losses.get(loss), "scores", "point")
    if head is None:
        fitting = next((n for n in heads.names() if heads.get(n).kind == scored), scored)
        text = f"train.loss_function: {loss} scores a distribution, and model.head names none"
        return [] if scored == "point" else [(text, f"set model.head={fitting}")]
    problems: list[Problem] = []
    if config.model.phy is not None:
        models = ", ".join(config.model.phy.name)
        problems.append(
            (
                f"model.head: {head.name} is what a network alone says of its targets; {models} computes them",
                "set model.head=null; `dropout_ensemble` and `Conformal` of dmg.uncertainty work with any model",
            )
        )
    if head.name in heads and heads.get(head.name).kind != scored:
        fitting = [n for n in losses.names() if getattr(losses.get(n), "scores", "point") == heads.get(head.name).kind]
        problems.append(
            (
                f"train.loss_function: {loss} does not train model.head: {head.name}",
                f"set train.loss_function={' or '.join(fitting)}",
            )
        )
    return problems


def _multimodel(config: Config) -> list[Problem]:
    """An ensemble has several members, and one whose weights alone are trained has members that are trained."""
    kind, settings = config.multimodel_type, config.multimodel
    if kind is None:
        return []
    problems: list[Problem] = []
    if settings.members:
        if kind != "avg" or config.mode != "test":
            problems.append(
                (
                    f"multimodel.members are averaged, but multimodel_type is {kind} and mode {config.mode}",
                    "set multimodel_type=avg and mode=test, or leave multimodel.members empty",
                )
            )
        return problems
    models = config.model.phy.name if config.model.phy else []
    if len(models) < 2:
        problems.append(
            (
                f"multimodel_type: {kind} combines several models, and model.phy.name has {len(models)}",
                "name several, as in model.phy.name=[Hbv, Hbv_1_1p], or average trained runs with multimodel.members",
            )
        )
    if kind == "nn_sequential" and "train" in config.mode and not config.pretrained_model_dir:
        problems.append(
            (
                "multimodel_type: nn_sequential trains the weights of members that are trained already",
                "train them first (multimodel_type=none), then give pretrained_model_dir=<that run>/model",
            )
        )
    for key in ("forcings", "attributes"):
        known = getattr(config.model.nn, key)
        problems += [
            (f"multimodel.{key}: '{name}' is not among model.nn.{key}", did_you_mean(name, known))
            for name in getattr(settings, key)
            if name not in known
        ]
    return problems


def _tune(config: Config) -> list[Problem]:
    """A search needs something to vary, and a score that is neither of the training nor of the test."""
    from dmg.conf.compose import check_key

    if not config.do_tune:
        return []
    problems: list[Problem] = []
    if "train" not in config.mode:
        problems.append((f"do_tune: true trains, and mode is {config.mode}", "set mode=train"))
    if config.valid is None:
        problems.append(
            (
                "do_tune: true scores each trial by its validation, and there is no block 'valid'",
                "give valid.start_time and valid.end_time between training and test",
            )
        )
    if not config.tune.space:
        problems.append(
            (
                "do_tune: true varies the keys of tune.space, which is empty",
                "tune.space.train.lr='{low: 0.001, high: 0.1}'",
            )
        )
    for key in config.tune.space:
        try:
            check_key(key)
        except ConfigError as error:
            problems.append((f"tune.space: {error.what}", error.hint))
    return problems


def _variables(config: Config) -> list[Problem]:
    obs, model = config.observations, config.model
    problems: list[Problem] = []
    for block, part in (("phy", model.phy), ("nn", model.nn)):
        if part is None:
            continue
        for kind, known in (("forcings", obs.all_forcings), ("attributes", obs.all_attributes)):
            names = getattr(part, kind)
            problems += [
                (
                    f"model.{block}.{kind}: '{name}' is not among observations.all_{kind}",
                    did_you_mean(name, known),
                )
                for name in names
                if known and name not in known
            ]
            if len(set(names)) < len(names):
                twice = sorted({name for name in names if names.count(name) > 1})
                problems.append((f"model.{block}.{kind} names {', '.join(twice)} twice", "name each once"))
    problems += [
        (f"train.target_weights: '{name}' is not among train.target", did_you_mean(name, config.train.target))
        for name in config.train.target_weights
        if name not in config.train.target
    ]
    return problems
