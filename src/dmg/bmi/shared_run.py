"""Trained runs that the components of one process share: the weights are in memory once, and nobody changes them."""

from __future__ import annotations

from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any
from weakref import WeakValueDictionary

from dmg.errors import RunError

if TYPE_CHECKING:
    from dmg.trainers.run import Run

_runs: WeakValueDictionary[tuple[Any, ...], Run] = WeakValueDictionary()
_lock = Lock()


def shared_run(path: str | Path, *, epoch: int = 0, device: str = "cpu", dtype: str = "float32") -> Run:
    """Return a trained run with its weights; the same object for as long as a component uses it.

    Parameters
    ----------
    path
        Folder of a run, or file of weights.
    epoch
        Epoch of the weights of a run; 0 takes the best or newest.
    device
        Where the models live.
    dtype
        ``float32`` or ``float64``: precision of the models.

    Raises
    ------
    RunError
        If there is no run or no weights.
    """
    import torch

    from dmg.trainers import load_run

    path = Path(path).resolve()
    if not path.exists():
        raise RunError(
            "there is no trained model", where=str(path), hint="give the output_dir of a training as 'model'"
        )
    with _lock:
        key = (path, epoch, device, dtype, _files(path))
        run = _runs.get(key)
        if run is None:
            run = load_run(path, epoch=epoch, device=device)
            run.model.requires_grad_(False)
            _ = run.digest  # of the weights as they were trained
            run.model.to(getattr(torch, dtype))
            _runs[key] = run
        return run


def _files(path: Path) -> tuple[tuple[str, int, int], ...]:
    """Return what changes when a run is trained again: its files with time and size."""
    found = [path] if path.is_file() else [path / "config.yaml", *sorted((path / "model").glob("*.*"))]
    return tuple((p.name, s.st_mtime_ns, s.st_size) for p in found if p.is_file() for s in [p.stat()])
