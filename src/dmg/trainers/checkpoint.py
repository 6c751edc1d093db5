"""Checkpoints of a training, and the random numbers that they keep."""

from __future__ import annotations

import random
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from dmg.core.utils.tensor_tree import read_tree, write_tree

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
    path = write_tree(checkpoint_path(model_dir, epoch), state, {"format": "dmg-tree-1"})
    for old, old_path in find_checkpoints(model_dir).items():
        if old != epoch:
            old_path.unlink()
    return path


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Return the state that a checkpoint holds, tensors on the CPU.

    Raises
    ------
    RunError
        If the file is damaged or no such file.
    """
    return read_tree(
        path,
        "a checkpoint of this program",
        "remove the file and write it anew; a training without its checkpoint starts afresh",
    )


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
