"""Trees of tensors, numbers and text in one safetensors file: tensors as such, everything else as JSON in its header.

Reading one executes no code, and a file is either complete or not there.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load, save, save_file
from torch import Tensor

from dmg.core.utils.atomic import atomic_write
from dmg.errors import RunError


def write_tree(path: Path, tree: Mapping[str, Any], about: Mapping[str, str]) -> Path:
    """Write a tree atomically as one file.

    Parameters
    ----------
    path
        The file.
    tree
        Nested dicts, lists and tuples of tensors, arrays, numbers, text and None.
    about
        What is said of the file in its header: its format first of all.

    Raises
    ------
    RunError
        If the tree holds something else, or the disk is full.
    """
    tensors: dict[str, Tensor] = {}
    header = json.dumps(_encode(tree, "", tensors))
    with atomic_write(path) as tmp:
        save_file(tensors, tmp, metadata={"state": header, **about})
    return path


def tree_bytes(tree: Mapping[str, Any], about: Mapping[str, str]) -> bytes:
    """Return a tree as the bytes that `write_tree` would write."""
    tensors: dict[str, Tensor] = {}
    header = json.dumps(_encode(tree, "", tensors))
    return save(tensors, metadata={"state": header, **about})


def bytes_tree(data: bytes, what: str, where: str, hint: str) -> tuple[dict[str, str], dict[str, Any]]:
    """Return what is said of a tree, and the tree, from its bytes.

    Raises
    ------
    RunError
        If they are not those of a tree.
    """
    try:
        tensors = load(data)
        about = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")]).get("__metadata__") or {}
        return about, _decode(json.loads(about["state"]), tensors)
    except (SafetensorError, KeyError, ValueError) as error:
        raise RunError(f"not {what}: {error!r}", where=where, hint=hint) from error


def read_about(path: Path, what: str, hint: str) -> dict[str, str]:
    """Return what the header of a safetensors file says of it.

    Parameters
    ----------
    path
        The file.
    what, hint
        What the file should be, and what to do if it is not: for the message.

    Raises
    ------
    RunError
        If the file is damaged, or of another kind.
    """
    try:
        with safe_open(path, framework="pt") as handle:
            return handle.metadata() or {}
    except SafetensorError as error:
        raise RunError(f"not {what}: {error!r}", where=str(path), hint=hint) from error


def read_tree(path: Path, what: str, hint: str) -> dict[str, Any]:
    """Return the tree that a file of `write_tree` holds, tensors on the CPU.

    Raises
    ------
    RunError
        If the file is damaged or no such file.
    """
    try:
        with safe_open(path, framework="pt") as handle:
            header = json.loads((handle.metadata() or {})["state"])
            tensors = {key: handle.get_tensor(key) for key in handle.keys()}  # noqa: SIM118 (not a dict)
        return _decode(header, tensors)
    except (SafetensorError, KeyError, ValueError) as error:
        raise RunError(f"not {what}: {error!r}", where=str(path), hint=hint) from error


def _encode(value: Any, path: str, tensors: dict[str, Tensor]) -> Any:
    """Return what JSON can hold of a value; tensors go to `tensors` under their path."""
    if isinstance(value, np.ndarray):
        value = torch.from_numpy(value)
    if isinstance(value, Tensor):
        # A copy: two entries that share memory (tied weights) may not share it in the file.
        tensors[path] = value.detach().cpu().clone().contiguous()
        return {"tensor": path}
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, Mapping):
        return {"dict": [[k, _encode(v, f"{path}/{k}", tensors)] for k, v in value.items()]}
    if isinstance(value, list | tuple):
        kind = "list" if isinstance(value, list) else "tuple"
        return {kind: [_encode(v, f"{path}/{i}", tensors) for i, v in enumerate(value)]}
    raise RunError(
        f"a checkpoint cannot hold {type(value).__name__}",
        where=path,
        hint="optimizers and schedulers whose state is made of numbers and tensors can be checkpointed",
    )


def _decode(value: Any, tensors: Mapping[str, Tensor]) -> Any:
    if not isinstance(value, dict):
        return value
    ((kind, content),) = value.items()
    if kind == "tensor":
        return tensors[content]
    if kind == "dict":
        return {k: _decode(v, tensors) for k, v in content}
    items = [_decode(v, tensors) for v in content]
    return items if kind == "list" else tuple(items)
