"""Keys that follow from others: what process model and network read from their own block, the folders of a run."""

from __future__ import annotations

from pathlib import PurePath
from typing import Any

from dmg.errors import ConfigError

FOLDERS = {"model_dir": "model", "plot_dir": "plots", "sim_dir": "sim", "log_dir": "logs"}
TIMELESS = "1970/01/01"
"""The day of samples that have none."""
HANDED_DOWN = {"phy": ("cache_states", "warmup", "engine"), "nn": ("cache_states",)}
"""Keys of the blocks ``model.phy`` and ``model.nn`` that are set from keys of the same name above them."""


def hand_down(values: dict[str, Any]) -> dict[str, Any]:
    """Give ``model.phy`` and ``model.nn`` the keys that process models and networks read from their own block.

    Raises
    ------
    ConfigError
        If a block has another value already: a dict in which only one of the two was changed.
    """
    model = values.get("model")
    if not isinstance(model, dict):
        return values
    model = _renamed(model, {"warm_up": "warmup", "phy_model": "phy", "nn_model": "nn"})
    sources = {
        "cache_states": ("cache_states", values.get("cache_states") or False),
        "warmup": ("model.warmup", model.get("warmup") or 0),
        "engine": ("engine", values.get("engine") or "auto"),
    }
    for name, keys in HANDED_DOWN.items():
        if isinstance(model.get(name), str):
            model[name] = {"name": model[name]}  # a plug-in given by name alone
        if not isinstance(model.get(name), dict):
            continue
        block = _renamed(model[name], {"warm_up": "warmup"}) if name == "phy" else dict(model[name])
        for key in keys:
            source, value = sources[key]
            if block.get(key) not in (None, value):
                raise ConfigError(
                    f"'{source}' is {value!r} but 'model.{name}.{key}' is {block[key]!r}",
                    hint=f"'model.{name}.{key}' is set from '{source}': give both the same value, or '{source}' only",
                )
            block[key] = value
        model[name] = block
    return {**values, "model": model}


def is_timeless(loader: str | None) -> bool:
    """Return whether a loader of that name reads samples without a time axis."""
    from dmg.registry import loaders

    return bool(loader) and loader in loaders and getattr(loaders.get(loader), "timeless", False)


def without_time(values: dict[str, Any]) -> dict[str, Any]:
    """Give periods and windows, which mean nothing there, to the configuration of a loader without a time axis."""
    from dmg.registry import loaders

    name = values.get("data_loader")
    if not is_timeless(name):
        return values
    day = {"start_time": TIMELESS, "end_time": TIMELESS}
    values = {**loaders.get(name).goes_with, **{key: value for key, value in values.items() if value is not None}}
    for block in ("train", "test"):
        if isinstance(values.get(block), dict):
            values[block] = day | values[block]
    if values.get("mode") in ("sim", "simulation") or values.get("sim"):
        values["sim"] = day | (values.get("sim") or {})
    if isinstance(values.get("model"), dict):
        values["model"] = {"rho": 1} | values["model"]
    return values


def folders(values: dict[str, Any], family: str) -> dict[str, Any]:
    """Derive the folders of a run from ``output_dir``; a ``model_dir`` elsewhere becomes ``pretrained_model_dir``."""
    output = values.get("output_dir") or values.get("run_dir")
    output = str(output or f"output/{family}/experiments/{values.get('exp_name') or 'default'}").rstrip("/") or "/"
    derived = {key: f"{output}/{sub}" for key, sub in FOLDERS.items()}
    given = {key: str(values[key]).rstrip("/") for key in FOLDERS if values.get(key)}
    if len(given) == len(FOLDERS) and len({PurePath(path).parent for path in given.values()}) == 1:
        given = {}  # derived earlier, from this output_dir or from one that was changed since
    own = given.pop("model_dir", derived["model_dir"])
    pretrained = values.get("pretrained_model_dir") or (own if own != derived["model_dir"] else None)
    return {**values, "output_dir": output, **derived, **given, "pretrained_model_dir": pretrained}


def underived(values: dict[str, Any], family: str) -> dict[str, Any]:
    """Return the plain dict of a configuration as a user would write it: without what `hand_down` and `folders` add."""
    unnamed = folders({key: values.get(key) for key in ("run_dir", "exp_name")}, family)
    derived = folders({"output_dir": values["output_dir"]}, family) | {"output_dir": unnamed["output_dir"]}
    names = (*FOLDERS, "output_dir", "pretrained_model_dir")
    plain = {key: value for key, value in values.items() if key not in names or value != derived[key]}
    model = dict(plain["model"])
    for name, keys in HANDED_DOWN.items():
        if model[name] is not None:
            model[name] = {key: value for key, value in model[name].items() if key not in keys}
    return {**plain, "model": model}


def _renamed(block: dict[str, Any], legacy: dict[str, str]) -> dict[str, Any]:
    """Rename the keys of a block whose present spelling is not there too (a conflict is the schema's to report)."""
    return {legacy[k] if k in legacy and legacy[k] not in block else k: v for k, v in block.items()}
