"""Several processes that train, evaluate and simulate as one; started by ``torchrun``.

Every process draws the same global batch from the same seed, computes the sites that are its own, and has its
predictions and gradients added to those of the others: the numbers are those of one process, to rounding. The same
calls do nothing where there is one process only.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn

from dmg.engine.site_share import SiteShare, site_share
from dmg.errors import ConfigError

Value = TypeVar("Value")


def launched() -> bool:
    """Whether ``torchrun`` started this process among others."""
    return "TORCHELASTIC_RUN_ID" in os.environ and int(os.environ.get("WORLD_SIZE", "1")) > 1


@contextmanager
def joined() -> Iterator[None]:
    """Join the processes that ``torchrun`` started, for the block; alone, do nothing.

    Tensors on a GPU travel by NCCL, everything else by gloo. A process takes the GPU of its local rank.
    """
    if not launched() or dist.is_initialized():
        yield
        return
    cuda = torch.cuda.is_available()
    if cuda:
        torch.cuda.set_device(local_rank() % torch.cuda.device_count())
    dist.init_process_group("cpu:gloo,cuda:nccl" if cuda else "gloo")
    try:
        yield
    finally:
        dist.destroy_process_group()


def world() -> int:
    """Number of processes."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def rank() -> int:
    """Number of this process, from 0."""
    return dist.get_rank() if world() > 1 else 0


def local_rank() -> int:
    """Number of this process on its machine, from 0."""
    return int(os.environ.get("LOCAL_RANK", "0"))


def is_main() -> bool:
    """Whether this process is the one that writes and prints."""
    return rank() == 0


def own_device(device: str) -> str:
    """Return the device of this process for that of the run: GPUs are dealt out by local rank.

    Raises
    ------
    ConfigError
        If there are fewer GPUs than processes on this machine.
    """
    if world() == 1 or not device.startswith("cuda"):
        return device
    found = torch.cuda.device_count()
    if local_rank() >= found:
        raise ConfigError(
            f"process {local_rank()} of this machine has no GPU: there are {found}",
            where="device",
            hint=f"torchrun --nproc-per-node {found}, or device=cpu",
        )
    return f"cuda:{local_rank()}"


def from_main(value: Value) -> Value:
    """Return the main process's value; the others' is not looked at."""
    if world() == 1:
        return value
    held = [value]
    dist.broadcast_object_list(held, src=0, device=torch.device("cpu"))
    return held[0]


def from_all(value: Value) -> list[Value]:
    """Return the values of all processes, by rank."""
    if world() == 1:
        return [value]
    held: list[Any] = [None] * world()
    dist.all_gather_object(held, value)
    return held


def wait_for_all() -> None:
    """Go on when every process has come this far."""
    from_all(None)


def own_share(total: int) -> SiteShare:
    """Return which of the sites of a batch this process computes: runs of sites as equal as can be.

    Raises
    ------
    ConfigError
        If there are fewer sites than processes.
    """
    n, me = world(), rank()
    if total < n:
        raise ConfigError(
            f"{n} processes cannot share a minibatch of {total} sites",
            where="train.batch_size",
            hint="it is the size of the minibatch of all processes together: raise it, or start fewer processes",
        )
    return SiteShare(total * me // n, total * (me + 1) // n, total)


def gather_sites(values: Tensor) -> Tensor:
    """Return the values [T, B, …] of the whole batch from the part that each process holds.

    The gradient that reaches a process is that of its own part. Where no batch is being shared the values are returned
    as they are.
    """
    share = site_share()
    return values if share is None else _Gather.apply(values, share)


class _Gather(torch.autograd.Function):
    """Columns of all processes side by side: an all-reduced sum of parts that are zero elsewhere."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, share: SiteShare) -> Tensor:
        ctx.share = share
        whole = values.new_zeros(values.shape[0], share.total, *values.shape[2:])
        whole[:, share.sites] = values
        dist.all_reduce(whole)
        return whole

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return gradient[:, ctx.share.sites], None


def sum_gradients(parameters: Iterable[nn.Parameter]) -> None:
    """Add up the gradients of all processes, in one message."""
    if world() == 1:
        return
    gradients = [p.grad for p in parameters if p.grad is not None]
    if not gradients:
        return
    flat = torch.cat([g.reshape(-1) for g in gradients])
    dist.all_reduce(flat)
    for gradient, summed in zip(gradients, flat.split([g.numel() for g in gradients]), strict=True):
        gradient.copy_(summed.view_as(gradient))


def same_weights(module: nn.Module) -> None:
    """Give every process the main process's weights."""
    if world() == 1:
        return
    with torch.no_grad():
        for value in module.state_dict().values():
            dist.broadcast(value, src=0)
