"""Several devices, one process each, that torchrun starts: what they share and what each takes.

Every process holds the whole data and draws for whole batches, then takes its own rows, so that numbers do
not depend on how many there are, up to rounding and the batches that batch norm sees. With one process, or
none started, all functions here do nothing.

    torchrun --standalone --nproc-per-node 4 script.py

whose first line of work is ``device = join()`` and whose last one is ``leave()``.
"""

from __future__ import annotations

import inspect
import os
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch import distributed as group


def join() -> torch.device:
    """Enter the group that torchrun's environment describes, if any; return the device of this process.

    The group talks by nccl where there is CUDA, else by gloo.
    """
    cuda = torch.cuda.is_available()
    local = int(os.environ.get("LOCAL_RANK", "0"))
    if cuda:
        torch.cuda.set_device(local)
    if int(os.environ.get("WORLD_SIZE", "1")) > 1 and not group.is_initialized():
        group.init_process_group("nccl" if cuda else "gloo")
    return torch.device("cuda", local) if cuda else torch.device("cpu")


def leave() -> None:
    """Wait for the other processes and leave the group, as the last work of a script.

    A thread of gloo's may still hold tensors of the last reduction, and if Python ends before it lets go of
    them the process aborts; waiting for the others lets that thread have its turn.
    """
    if group.is_available() and group.is_initialized():
        group.barrier()
        group.destroy_process_group()


def world() -> int:
    """Number of processes."""
    return group.get_world_size() if group.is_available() and group.is_initialized() else 1


def rank() -> int:
    """Number of this process, from 0."""
    return group.get_rank() if world() > 1 else 0


def share(values: Tensor, axis: int = 0) -> Tensor:
    """Rows of a batch that are this process's; there may be none in a batch smaller than the group."""
    return values if world() == 1 else values.tensor_split(world(), axis)[rank()]


def total(sums: Tensor) -> Tensor:
    """Sum over processes, without gradients."""
    if world() > 1:
        sums = sums.detach().clone()
        group.all_reduce(sums)
    return sums


def mean(values: Tensor, count: int) -> Tensor:
    """Mean over the last axis, that of ``count`` examples in all, of which this process has its share."""
    return values.mean(-1) if world() == 1 else total(values.sum(-1)) / count


def local_mean(values: Tensor, count: int) -> Tensor:
    """As `mean`, but so that its average over the processes is the mean; with gradients."""
    return values.mean(-1) if world() == 1 else values.sum(-1) * (world() / count)


def wrap(model: nn.Module) -> nn.Module:
    """Return a model whose gradients are averaged over the processes; all begin with the first one's weights.

    Statistics of batch norm are each process's own until `average`: their broadcast at every forward would
    overwrite what the backward of an earlier one needs.
    """
    if world() == 1:
        return model
    parallel = nn.parallel.DistributedDataParallel
    known = inspect.signature(parallel).parameters  # torch 2.13 gave the option another name
    option = "forward_sync_buffers" if "forward_sync_buffers" in known else "broadcast_buffers"
    options: dict[str, Any] = {option: False}
    wrapped: nn.Module = parallel(model, **options)
    return wrapped


def average(buffers: Iterable[Tensor]) -> None:
    """Replace floating-point buffers by their means over the processes."""
    if world() > 1:
        for buffer in buffers:
            if buffer.is_floating_point():
                buffer.copy_(total(buffer) / world())
