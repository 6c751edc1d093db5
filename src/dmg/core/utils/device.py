"""Choice of the computing device."""

from __future__ import annotations

from dmg.errors import ConfigError


def resolve_device(device: str = "auto", gpu_id: int = 0) -> str:
    """Return the torch name of a device: ``cpu``, ``cuda:<n>`` or ``mps``.

    Parameters
    ----------
    device
        ``auto`` (a CUDA device where there is one, then the CPU), ``cpu``, ``cuda``, ``cuda:<n>`` or ``mps``.
    gpu_id
        Number of the GPU that ``auto`` and ``cuda`` mean.

    Raises
    ------
    ConfigError
        If this machine lacks the device.
    """
    import torch

    if device == "cpu":
        return device
    if device == "mps":
        if not torch.backends.mps.is_available():
            raise ConfigError("device: mps is asked for, but this machine has none", hint="set device=auto")
        return device
    found = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if device == "auto" and not found:
        return "cpu"
    number = int(device.partition(":")[2] or gpu_id)
    if number >= found:
        what = f"device: cuda:{number} is asked for, but " + (
            f"there are only {found}" if found else "there is no CUDA device"
        )
        raise ConfigError(what, hint="set device=auto (or cpu), or a smaller gpu_id")
    return f"cuda:{number}"
