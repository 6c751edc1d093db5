"""What runs a kernel on a device."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from typing import Any

import torch


@dataclass(frozen=True)
class Backend:
    """The engine of a kind of device.

    Parameters
    ----------
    function
        Class of a kernel's functions: ``function(kernel, geometry, dtype, wanted=None, keep=False)``.
    lanes
        Elements of a block, by precision.
    kept_bytes
        Memory for states that a run forward keeps for the way back; if it does not hold those of every step, only
        every K-th step's are kept and the rest is computed again.
    """

    function: type[Any]
    lanes: dict[torch.dtype, int]
    kept_bytes: int


# Device type to the package that its kernels need.
PACKAGES = {"cpu": "llvmlite", "cuda": "triton"}


def reason_against(device: torch.device) -> str | None:
    """Return why there is no kernel for a device, None if there can be one."""
    if device.type not in PACKAGES:
        return f"there is no kernel for the device {device}"
    if find_spec(PACKAGES[device.type]) is None:
        return f"{PACKAGES[device.type]} is not installed, which kernels for the device {device} need"
    return None


@cache
def backend_for(kind: str) -> Backend:
    """Return the engine of a kind of device; what it needs is imported only now."""
    if kind == "cuda":
        from dmg.engine.gpu import LANES, GpuFunction

        return Backend(GpuFunction, LANES, 512 * 2**20)
    from dmg.engine.cpu import CpuFunction
    from dmg.engine.geometry import LANES

    return Backend(CpuFunction, LANES, 16 * 2**20)
