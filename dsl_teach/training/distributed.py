"""Several processes that train one network together, started by torchrun: a few functions over ``torch.distributed``.

Every process keeps the same weights, embeddings, prototypes and corrected labels; each trains on, embeds and tests its
own share of every batch. In a process that works alone each function is the identity.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from dsl_teach.data.batches import Share
from dsl_teach.storage import RunFolderError, reason


def rank() -> int:
    """Which process this is, counted from 0."""
    return dist.get_rank() if dist.is_initialized() else 0


def world_size() -> int:
    """How many processes train together."""
    return dist.get_world_size() if dist.is_initialized() else 1


def is_leader() -> bool:
    """Whether this is the process that writes."""
    return rank() == 0


def share() -> Share:
    """The part of every batch that is this process's; an empty part holds one sample, which counts nothing."""
    return Share(rank(), world_size())


@contextmanager
def process_group(device: torch.device | str) -> Iterator[torch.device]:
    """Meet the other processes that torchrun started, or work alone; yields the device of this process, a GPU each."""
    device = require_device(device)
    if "TORCHELASTIC_RUN_ID" not in os.environ or dist.is_initialized():
        yield device
        return
    if device.type == "cuda":
        device = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
        torch.cuda.set_device(device)
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    yield device
    dist.destroy_process_group()  # not after an error: the others may never come to say goodbye


def require_device(device: torch.device | str) -> torch.device:
    """A device that computes here, in float64 too; else a ValueError."""
    try:
        torch.zeros(1, dtype=torch.float64, device=device).item()
    except (AssertionError, NotImplementedError, RuntimeError, TypeError) as error:
        raise ValueError(
            f"device is {device}, which cannot be used here ({reason(error)}). Name another one, cpu say."
        ) from error
    return torch.device(device)


def own_part(step: int, batch_size: int, samples: int) -> tuple[int, float]:
    """How many samples of a batch count here, and the weight of their mean loss that makes averaged gradients right."""
    total = min(batch_size, samples - step * batch_size)
    start, stop = share().bounds(total)
    return stop - start, (stop - start) * world_size() / total


def total(x: Tensor) -> Tensor:
    """The sum over all processes, in place."""
    if world_size() > 1:
        dist.all_reduce(x)
    return x


def largest(x: Tensor) -> Tensor:
    """The greatest value over all processes, in place."""
    if world_size() > 1:
        dist.all_reduce(x, op=dist.ReduceOp.MAX)
    return x


def gathered_rows(x: Tensor, mine: Tensor) -> Tensor:
    """All rows of a tensor, (N, ...), on every process, of which each has the rows of ``mine``, (N,) bool."""
    return x if world_size() == 1 else total(torch.where(_column(mine, x), x, 0))


def merged_rows(x: Tensor, mine: Tensor) -> Tensor:
    """A tensor, (N, ...), of which each process has changed the rows of ``mine``; of rows changed twice the mean."""
    touched = _column(mine, x)
    times, sums = total(touched.to(x.dtype)), total(torch.where(touched, x, 0))
    return torch.where(times > 0, sums / times.clamp(min=1), x)


def by_leader(work: Callable[[], Any]) -> Any:
    """What process 0 alone does, None elsewhere; all hear if it cannot: RunFolderError."""
    done = trouble = None
    if is_leader():
        try:
            done = work()
        except RunFolderError as error:
            trouble = error
    if trouble := from_leader(trouble):
        raise trouble
    return done


def from_leader(x: Any) -> Any:
    """What process 0 holds, on every process: tensors in place, anything else as a copy."""
    box = [x]
    if world_size() > 1:
        dist.broadcast(x, 0) if isinstance(x, Tensor) else dist.broadcast_object_list(box)
    return box[0]


def _column(mine: Tensor, x: Tensor) -> Tensor:
    return mine.view(-1, *(1,) * (x.ndim - 1))
