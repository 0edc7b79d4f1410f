"""Several processes that train one network together, started by torchrun; and the one that works alone."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from dsl_teach.data.batches import Batches, Share
from dsl_teach.prototypes import Prototypes, select_prototypes
from dsl_teach.prototypes.selection import sample_by_class

Choice = Callable[..., Prototypes]
"""Chooses prototypes: :func:`dsl_teach.prototypes.select_prototypes`, or something it is measured against."""


@dataclass(frozen=True)
class Team:
    """One process among those that train together. Every batch is cut into as many parts as there are processes.

    Every process keeps the same weights, the same prototypes and the same corrected labels; each trains on, embeds
    and relabels its own samples only.
    """

    rank: int = 0
    """Which process this is, counted from 0; process 0 writes the run folder."""
    ranks: int = 1
    """How many there are."""

    @property
    def leads(self) -> bool:
        """Whether this is the process that writes."""
        return self.rank == 0

    @property
    def alone(self) -> bool:
        """Whether there is no other."""
        return self.ranks == 1

    @property
    def share(self) -> Share:
        """The part of every batch that is this process's."""
        return Share(self.rank, self.ranks)

    def wrap(self, network: nn.Module) -> nn.Module:
        """The network to train: with several processes, one that averages gradients over them."""
        return network if self.alone else DistributedDataParallel(network)

    def own(self, step: int, handed_out: int, train: Batches) -> tuple[int, float]:
        """How many samples of a batch count here, and what the mean loss over them is to be multiplied with.

        The gradients of all processes are averaged: with this weight they add up to the gradient of the mean over
        the whole batch, also if it cannot be cut evenly.

        Args:
            step: which batch of the epoch, counted from 0.
            handed_out: samples in this process's part of it. A part that would be empty holds one that counts nothing.
            train: the batches of all processes.
        """
        if self.alone:
            return handed_out, 1.0
        total = min(train.batch_size, len(train.noisy_labels) - step * train.batch_size)
        start, stop = self.share.bounds(total)
        return stop - start, (stop - start) * self.ranks / total

    def rows(self, samples: int, batch_size: int, device: torch.device) -> Tensor:
        """(N,) bool, the samples that this process sees in a pass in the order of the index."""
        index = torch.arange(samples, device=device)
        mine = torch.zeros(samples, dtype=torch.bool, device=device)
        mine[torch.cat([self.share.of(rows) for rows in index.split(batch_size)])] = True
        return mine

    def total(self, x: Tensor) -> Tensor:
        """The sum over all processes, in place."""
        if not self.alone:
            dist.all_reduce(x)
        return x

    def largest(self, x: Tensor) -> Tensor:
        """The greatest value over all processes, in place."""
        if not self.alone:
            dist.all_reduce(x, op=dist.ReduceOp.MAX)
        return x

    def rows_of(self, x: Tensor, mine: Tensor | None, rows: Tensor) -> Tensor:
        """These rows of a tensor that each process holds a part of, on every process.

        Args:
            x: (N, D), right in the rows of ``mine``.
            mine: (N,) bool, each row belonging to one process; None where this process holds all.
            rows: (M,) int64.

        Returns:
            (M, D), float32 at least.
        """
        kept = x[rows].to(torch.promote_types(x.dtype, torch.float32))
        return kept if mine is None else self.total(torch.where(mine[rows, None], kept, 0))

    def merged(self, x: Tensor, mine: Tensor) -> Tensor:
        """A tensor whose rows each process has brought up to date in part.

        Args:
            x: (N, ...); rows that no process has touched agree everywhere.
            mine: (N,) bool, the rows that this process has touched. Of rows touched twice the mean is taken.
        """
        if self.alone:
            return x
        touched = mine.view(-1, *(1,) * (x.ndim - 1))
        times, sums = self.total(touched.to(x.dtype)), self.total(torch.where(touched, x, 0))
        return torch.where(times > 0, sums / times.clamp(min=1), x)

    def follow(self, x: Tensor) -> None:
        """Take over the values of process 0, in place."""
        if not self.alone:
            dist.broadcast(x, 0)

    def from_leader(self, x: Any) -> Any:
        """What process 0 holds, on every process."""
        if self.alone:
            return x
        box = [x]
        dist.broadcast_object_list(box)
        return box[0]

    def align(self, network: nn.Module) -> None:
        """Give every process the batch-norm statistics of process 0; the weights agree anyway."""
        for buffer in network.buffers():
            self.follow(buffer)


ALONE = Team()
"""A process by itself."""


@contextmanager
def join_team(device: torch.device | str) -> Iterator[tuple[Team, torch.device]]:
    """Meet the other processes that torchrun started; without torchrun, work alone.

    Args:
        device: ``"cpu"`` (processes talk by gloo) or ``"cuda"`` (by nccl, one GPU a process).

    Yields:
        The team, and the device of this process.
    """
    device = torch.device(device)
    if "TORCHELASTIC_RUN_ID" not in os.environ or dist.is_initialized():
        yield _team_so_far(), device
        return
    if device.type == "cuda":
        device = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
        torch.cuda.set_device(device)
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    yield _team_so_far(), device
    dist.destroy_process_group()  # not after an error: the others may never come to say goodbye


def _team_so_far() -> Team:
    return Team(dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else ALONE


def select_together(
    team: Team, embeddings: Tensor, mine: Tensor | None, noisy_labels: Tensor, *, num_classes: int, m: int,
    generator: torch.Generator, among: Tensor | None = None, choose: Choice = select_prototypes, **reading: Any,
) -> Prototypes:  # fmt: skip
    """:func:`dsl_teach.prototypes.select_prototypes` where each process has embedded its own samples only.

    The m samples a class are drawn alike everywhere, and only their embeddings travel.

    Args:
        team: the processes.
        embeddings: (N, D), right in the rows of ``mine``.
        mine: (N,) bool, each sample belonging to one process; None where this process has embedded all.
        noisy_labels: (N,) int64.
        num_classes: K.
        m: samples a class.
        generator: draws them.
        among: (N,) bool, the samples that may be drawn; None: all.
        choose: chooses prototypes from the samples drawn.
        reading: the other arguments of ``choose``.

    Returns:
        The same prototypes on every process.
    """
    rows = sampled_rows(noisy_labels, among, num_classes=num_classes, m=m, generator=generator)
    candidates = team.rows_of(embeddings, mine, rows)
    found = choose(candidates, noisy_labels[rows], num_classes=num_classes, generator=generator, **reading)
    index = torch.where(found.index < 0, -1, rows[found.index])
    parts = {field.name: getattr(found, field.name) for field in fields(found)} | {"index": index}
    for part in parts.values():
        team.follow(part)  # other hardware may round otherwise
    return Prototypes(**parts)


def sampled_rows(
    noisy_labels: Tensor, among: Tensor | None, *, num_classes: int, m: int, generator: torch.Generator
) -> Tensor:
    """At most m rows of each class, one class after the other, among those that are allowed."""
    if among is None:
        drawn = sample_by_class(noisy_labels, num_classes=num_classes, m=m, generator=generator)
        return torch.cat(drawn).to(noisy_labels.device)
    allowed = among.nonzero().flatten()
    drawn = sample_by_class(noisy_labels[allowed], num_classes=num_classes, m=m, generator=generator)
    return allowed[torch.cat(drawn).to(allowed.device)]
