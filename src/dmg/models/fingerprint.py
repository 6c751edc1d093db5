"""What a model is, as plain data: a state or a weight file of another model is known by the first difference."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from torch import nn

from dmg.engine import ProcessModel

if TYPE_CHECKING:
    from dmg.conf.config import Config

Fingerprint = dict[str, Any]


def fingerprint(models: Mapping[str, nn.Module], config: Config | None = None) -> Fingerprint:
    """Return what decides the meaning of states and weights.

    Parameters
    ----------
    models
        Name to a coupled model, a network wrapper or a process model.
    config
        Their configuration: names of the inputs of the network, in their order.

    Returns
    -------
    dict
        Of dicts, lists, numbers and text, as JSON has them; equal for models that states and weights can be exchanged
        between.
    """
    found: Fingerprint = {"models": {name: _model(model) for name, model in models.items()}}
    if config is not None:
        block = config.model
        found["inputs"] = {"forcings": list(block.nn.forcings), "attributes": list(block.nn.attributes)}
    return found


def weights_digest(models: Mapping[str, nn.Module]) -> str:
    """Return a hash of the weights: of use to notice a state that other weights made."""
    digest = hashlib.sha256()
    for name, model in models.items():
        for key, value in model.state_dict().items():
            digest.update(f"{name}.{key}".encode())
            digest.update(value.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def as_json(tree: Fingerprint) -> Fingerprint:
    """Return a tree as it comes back from a file: tuples are lists there, and numbers have one form."""
    return json.loads(json.dumps(tree))


def first_difference(
    there: Any, here: Any, path: str = "", words: tuple[str, str] = ("in the file", "in the model")
) -> str | None:
    """Return in words the first difference between a fingerprint in a file and one in memory; None if they are equal.

    Parameters
    ----------
    there, here
        The two; what is compared goes from the class of a model to its parameters, states and weights.
    path
        Where in the whole they stand.
    words
        What the two are called.
    """
    in_file, in_model = words
    if isinstance(there, Mapping) and isinstance(here, Mapping):
        for key in here:
            if key not in there:
                return f"{_at(path, key)} is {in_model}, not {in_file}"
            found = first_difference(there[key], here[key], _at(path, key), words)
            if found:
                return found
        return next((f"{_at(path, key)} is {in_file}, not {in_model}" for key in there if key not in here), None)
    if there == here:
        return None
    if _is_list(there) and _is_list(here) and _named(there) and _named(here):
        return first_difference(dict(there), dict(here), path, words) or f"the order of {path} is another"
    return f"{path} is {_text(there)} {in_file}, {_text(here)} {in_model}"


def _model(model: nn.Module) -> Fingerprint:
    process = model if isinstance(model, ProcessModel) else getattr(model, "phy_model", None)
    found: Fingerprint = {"process": None if process is None else _process(process)}
    if hasattr(model, "target_names"):
        found["targets"] = list(model.target_names)
        found |= {"head": model.head.description} if model.head.width > 1 else {}
    if hasattr(model, "member_names"):
        found["members"] = list(model.member_names)
    network = getattr(model, "nn_model", None)
    if network is not None:
        found["network"] = {"class": type(network).__name__, "weights": _shapes(network)}
    parts = ("phy_model", "nn_model")
    own = {name: shape for name, shape in _shapes(model).items() if not name.startswith(parts)}
    if network is not None and process is not None and own:
        found["coupling"] = {"class": type(model).__name__, "weights": own}
    return found


def _process(model: nn.Module) -> Fingerprint:
    found: Fingerprint = {"class": type(model).__name__, "weights": _shapes(model)}
    if not isinstance(model, ProcessModel):
        return found | {part: _process(getattr(model, part)) for part in getattr(model, "part_names", ())}
    layout, router = model.layout, model.router
    inside = {
        flux: {"role": n.role, "inputs": list(n.network.declared.names)} for flux, n in model.flux_networks.items()
    }
    found |= {"networks": inside} if inside else {}
    supplied, shared = {p.name for p in layout.parameters}, model.global_parameters.table
    found |= {"global": {n: [p.low, p.high, p.unit] for n, p in shared.items()}} if shared else {}
    return found | {
        "time step": model.dt,
        "components": layout.components,
        "forcings": [[f.name, f.unit] for f in model.forcings],
        "attributes": [[a.name, a.unit] for a in model.attributes],
        "parameters": [[p.name, [p.low, p.high, p.unit]] for p in layout.parameters],
        "fixed": {p.name: p.default for p in model.parameter_table if p.name not in {*supplied, *shared}},
        "dynamic": list(layout.dynamic),
        "link": layout.link,
        "states": [[s.name, [s.unit, s.size]] for s in model.states],
        "routing": router
        and {
            "class": type(router).__name__,
            "length": router.length,
            "routed": list(model.routed),
            "parameters": [[p.name, [p.low, p.high, p.unit]] for p in layout.routing],
        },
    }


def _shapes(module: nn.Module) -> dict[str, list[int]]:
    return {name: list(value.shape) for name, value in module.state_dict().items()}


def _at(path: str, key: str) -> str:
    """Return where a part stands; ``models`` goes without saying."""
    return key if path in ("", "models") else f"{path}: {key}"


def _is_list(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str)


def _named(items: Sequence[Any]) -> bool:
    """Whether a list is one of names with values, whose order counts."""
    return all(_is_list(item) and len(item) == 2 and isinstance(item[0], str) for item in items)


def _text(value: Any) -> str:
    return ", ".join(str(v) for v in value) or "empty" if _is_list(value) else str(value)
