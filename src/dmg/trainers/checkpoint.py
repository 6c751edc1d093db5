"""Checkpoints of a training: one safetensors file, tensors as tensors and everything else as JSON in its header.

Loading one executes no code, and a checkpoint is either complete or not there.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from dmg.core.utils.atomic import atomic_write
from dmg.errors import RunError

_NAME = re.compile(r"trainer_state_ep(\d+)\.safetensors$")


def checkpoint_path(model_dir: Path, epoch: int) -> Path:
    """Return where the checkpoint of an epoch lies."""
    return model_dir / f"trainer_state_ep{epoch}.safetensors"


def find_checkpoints(model_dir: Path) -> dict[int, Path]:
    """Return the checkpoints of a directory by epoch, oldest first."""
    found = {int(m[1]): p for p in model_dir.glob("trainer_state_ep*") if (m := _NAME.search(p.name))}
    return dict(sorted(found.items()))


def save_checkpoint(model_dir: Path, epoch: int, state: Mapping[str, Any]) -> Path:
    """Write the checkpoint of an epoch, then remove older ones.

    Parameters
    ----------
    model_dir
        Directory of the weights.
    epoch
        Completed epochs.
    state
        Nested dicts, lists and tuples of tensors, arrays, numbers, text and None.

    Raises
    ------
    RunError
        If the state holds something else, or the disk is full; the older checkpoint is then still there.
    """
    path = write_tree(checkpoint_path(model_dir, epoch), state)
    for old, old_path in find_checkpoints(model_dir).items():
        if old != epoch:
            old_path.unlink()
    return path


def write_tree(path: Path, tree: Mapping[str, Any]) -> Path:
    """Write a tree of tensors, arrays, numbers and text atomically as one safetensors file."""
    tensors: dict[str, Tensor] = {}
    header = json.dumps(_encode(tree, "", tensors))
    with atomic_write(path) as tmp:
        save_file(tensors, tmp, metadata={"state": header, "format": "dmg-tree-1"})
    return path


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Return the state that a checkpoint (or another file of `write_tree`) holds, tensors on the CPU.

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
        raise RunError(
            f"not a checkpoint or state of this program: {error!r}",
            where=str(path),
            hint="remove the file and write it anew; a training without its checkpoint starts afresh",
        ) from error


def get_random_state() -> dict[str, Any]:
    """Return the states of the global generators of torch, numpy and Python."""
    name, keys, position, has_gauss, gauss = np.random.get_state()  # noqa: NPY002 (users' plug-ins draw from it)
    version, internal, gauss_next = random.getstate()
    return {
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
        "numpy": (name, keys.astype(np.int64), position, has_gauss, gauss),
        "python": (version, internal, gauss_next),
    }


def set_random_state(state: Mapping[str, Any]) -> None:
    """Continue the global generators from a state of `get_random_state`."""
    torch.set_rng_state(state["torch"])
    if state["cuda"] and torch.cuda.is_available():
        torch.cuda.set_rng_state_all(state["cuda"][: torch.cuda.device_count()])
    name, keys, *rest = state["numpy"]
    np.random.set_state((name, keys.numpy().astype(np.uint32), *rest))  # noqa: NPY002
    version, internal, gauss_next = state["python"]
    random.setstate((version, internal, gauss_next))


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
