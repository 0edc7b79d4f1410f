"""Several processes that train one network together, by torchrun or a sweep: functions over ``torch.distributed``.

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

from dsl_teach._validate import require
from dsl_teach.data.batches import Share
from dsl_teach.storage import RunFolderError, reason

MEETING = "DSL_TEACH_MEETING"
"""Environment variable: URI of the file by which the processes of a trial meet; torchrun's meet by a port."""


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
    """Meet the others that torchrun or a sweep started, or work alone; yields this process's device, a GPU each."""
    alone = not {"TORCHELASTIC_RUN_ID", MEETING} & os.environ.keys() or dist.is_initialized()
    if not alone and str(device) == "cuda":
        device = f"cuda:{int(os.environ['LOCAL_RANK']) % max(torch.cuda.device_count(), 1)}"
    device = require_device(device)
    if alone:
        yield device
        return
    if device.type == "cuda":
        torch.cuda.set_device(device)
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo", init_method=os.environ.get(MEETING))
    yield device
    dist.destroy_process_group()  # not after an error: the others may never come to say goodbye


def find_device(name: str = "auto") -> str:
    """``"cpu"`` or ``"cuda"``, for ``"auto"`` the best; a ValueError if the device is not there. It is not touched."""
    best = "cuda" if torch.cuda.is_available() else "cpu"  # Apple's GPUs lack the float64 that figures are summed in
    require(name in ("auto", "cpu", best), f"device must be auto, or one that is there, cpu or cuda; {name} is not.")
    return best if name == "auto" else name


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
