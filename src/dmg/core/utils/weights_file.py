"""Weights of one model: where they lie, and how they are written."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from dmg.errors import RunError

if TYPE_CHECKING:
    from torch import nn


def weights_path(folder: str | Path, model_name: str, epoch: int) -> Path:
    """Return the file of a model's weights after an epoch."""
    return Path(folder) / f"{model_name.lower()}_ep{epoch}.safetensors"


def save_model(path: str | Path, model: nn.Module, model_name: str, epoch: int, make_dir: bool = True) -> Path:
    """Write the weights of a model atomically, as safetensors.

    Parameters
    ----------
    path
        Folder.
    model
        Any module.
    model_name, epoch
        Give the name of the file, ``<model_name in lower case>_ep<epoch>.safetensors``.
    make_dir
        Make the folder if it is not there.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    RunError
        If the folder is not there and is not to be made.
    """
    from safetensors.torch import save_file

    from dmg.core.utils.atomic import atomic_write

    target = weights_path(path, model_name, epoch)
    if make_dir:
        target.parent.mkdir(parents=True, exist_ok=True)
    elif not target.parent.is_dir():
        raise RunError(
            "there is no such folder for weights", where=str(target.parent), hint="make it, or make_dir=True"
        )
    weights = {key: value.detach().cpu().contiguous() for key, value in model.state_dict().items()}
    with atomic_write(target) as temporary:
        save_file(weights, temporary, metadata={"model": model_name, "epoch": str(epoch)})
    return target
