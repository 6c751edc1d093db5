"""Weights of one model: where they lie, how they are written and read."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from dmg.errors import RunError

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

FORMAT, VERSION = "dmg-weights", 1
_WHAT = "a whole file of weights"
_HINT = "copy or train it anew"


def weights_path(folder: str | Path, model_name: str, epoch: int) -> Path:
    """Return the file of a model's weights after an epoch."""
    return Path(folder) / f"{model_name.lower()}_ep{epoch}.safetensors"


def save_model(
    path: str | Path,
    model: nn.Module,
    model_name: str,
    epoch: int,
    make_dir: bool = True,
    about: Mapping[str, str] | None = None,
) -> Path:
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
    about
        More for the header of the file: what is needed to use the weights.

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
        head = {"format": FORMAT, "version": str(VERSION), "model": model_name, "epoch": str(epoch)}
        save_file(weights, temporary, metadata={**(about or {}), **head})
    return target


def weights_about(path: Path) -> dict[str, str]:
    """Return what a file of `save_model` says of its weights; nothing for published files.

    Raises
    ------
    RunError
        If the file is damaged, or another version wrote it.
    """
    from dmg.core.utils.tensor_tree import read_about

    if path.suffix != ".safetensors":
        return {}
    about = read_about(path, _WHAT, _HINT)
    if about.get("format") == FORMAT and about.get("version") != str(VERSION):
        raise RunError(
            f"the file of weights has version {about.get('version')}, this program reads version {VERSION}",
            where=str(path),
            hint="use the version of the program that wrote it",
        )
    return about


def read_weights(path: Path, device: torch.device | str = "cpu") -> dict[str, Tensor]:
    """Return the weights in a file by name: of this program, or a published ``.pt``, read without executing code.

    Raises
    ------
    RunError
        If the file is damaged or holds something else than named tensors.
    """
    import torch
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        if path.suffix == ".safetensors":
            return load_file(path, device=str(device))
        weights = torch.load(path, map_location=device, weights_only=True)
    except SafetensorError as error:
        raise RunError(f"not {_WHAT}: {error!r}", where=str(path), hint=_HINT) from error
    except Exception as error:  # PyTorch raises what comes to hand on bytes that are no file of its own
        raise RunError(
            f"not {_WHAT}: {type(error).__name__} {str(error).partition(chr(10))[0]}",
            where=str(path),
            hint="a published file is what torch.save(model.state_dict(), …) writes; a whole model, which is code, is "
            "not loaded",
        ) from error
    if not isinstance(weights, Mapping) or not all(isinstance(v, torch.Tensor) for v in weights.values()):
        found = (
            f"a mapping of {', '.join(map(str, weights))}" if isinstance(weights, Mapping) else type(weights).__name__
        )
        raise RunError(
            f"the file holds no named tensors but {found[:100]}",
            where=str(path),
            hint="a published file is what torch.save(model.state_dict(), …) writes",
        )
    return dict(weights)
