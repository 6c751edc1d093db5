"""Which weights a run starts from, evaluates or simulates with."""

from __future__ import annotations

import json
import logging
import re
from pathlib import Path
from typing import TYPE_CHECKING

from dmg.core.utils.atomic import write_text
from dmg.errors import RunError

if TYPE_CHECKING:
    from dmg.conf.config import Config
    from dmg.models.model_handler import ModelHandler

logger = logging.getLogger(__name__)

BEST = "best.json"
_WEIGHTS = re.compile(r"(?P<name>.+)_ep(?P<epoch>\d+)\.(safetensors|pt)$")


def saved_epochs(folder: str | Path, names: list[str]) -> list[int]:
    """Return the epochs, ascending, of which a folder has the weights of all these models."""
    by_name: dict[str, set[int]] = {name.lower(): set() for name in names}
    for path in Path(folder).glob("*_ep*") if Path(folder).is_dir() else ():
        match = _WEIGHTS.fullmatch(path.name)
        if match and match["name"].lower() in by_name:
            by_name[match["name"].lower()].add(int(match["epoch"]))
    return sorted(set.intersection(*by_name.values())) if by_name else []


def choose_epoch(folder: str | Path, names: list[str], epoch: int = 0) -> int:
    """Return the epoch to load: the one asked for, or for 0 the best by validation, else the newest.

    Raises
    ------
    RunError
        If the folder has no such weights; says which there are.
    """
    there = saved_epochs(folder, names)
    best = read_best(folder)
    if not epoch and best in there:
        return best
    if not epoch and there:
        return there[-1]
    if epoch in there:
        return epoch
    what = f"no weights of epoch {epoch}" if epoch else "no weights"
    raise RunError(
        f"there are {what} of {', '.join(names)}",
        where=str(folder),
        hint=f"there are epochs {', '.join(map(str, there))}; test.test_epoch (load_epoch to fine-tune) chooses one, "
        "0 takes the best or newest"
        if there
        else "train first (mode train), or set pretrained_model_dir to the folder 'model' of a trained run",
    )


def load_trained(handler: ModelHandler, config: Config) -> int:
    """Load the weights that ``mode`` test or sim runs with, and return their epoch.

    They come from ``pretrained_model_dir`` if it is given, else from ``model_dir``; ``test.test_epoch`` chooses.
    """
    folder = config.pretrained_model_dir or config.model_dir
    epoch = choose_epoch(folder, list(handler.models), config.test.test_epoch)
    handler.load_model(epoch, folder)
    logger.info("weights of epoch %d from %s", epoch, folder)
    return epoch


def load_pretrained(handler: ModelHandler, config: Config) -> int | None:
    """Load the weights that fine-tuning starts from; None without ``pretrained_model_dir``."""
    if not config.pretrained_model_dir:
        return None
    folder = config.pretrained_model_dir
    epoch = choose_epoch(folder, list(handler.models), config.load_epoch)
    handler.load_model(epoch, folder, new_ensemble=True)
    logger.info("fine-tuning starts from the weights of epoch %d in %s", epoch, folder)
    return epoch


def write_best(folder: str | Path, epoch: int, score: float) -> None:
    """Note which epoch validated best."""
    write_text(Path(folder) / BEST, json.dumps({"epoch": epoch, "median_nse": score}) + "\n")


def read_best(folder: str | Path) -> int | None:
    """Return the epoch that validated best, None if none was noted."""
    path = Path(folder) / BEST
    return int(json.loads(path.read_text(encoding="utf-8"))["epoch"]) if path.exists() else None
