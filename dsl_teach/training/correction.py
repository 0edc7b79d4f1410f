"""The correction phase: embed with frozen weights, choose prototypes, score, relabel.

Source: Han, Luo, Wang, "Deep Self-Learning From Noisy Labels", ICCV 2019, section 3.2. What goes beyond the paper is
off unless the settings ask for it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from dsl_teach.config import Settings
from dsl_teach.data.batches import Batches
from dsl_teach.metrics import correction_report
from dsl_teach.prototypes import Prototypes, best_class, class_scores, select_prototypes
from dsl_teach.prototypes.alternatives import class_means, neighbour_scores, random_prototypes
from dsl_teach.prototypes.correction import class_votes, keep_unless_beaten, soft_labels, vote_scores
from dsl_teach.prototypes.selection import no_prototypes
from dsl_teach.prototypes.spaces import ClassSums, centred, class_sums, whitened
from dsl_teach.seeds import stream
from dsl_teach.training.distributed import ALONE, Choice, Team, sampled_rows, select_together
from dsl_teach.training.evaluation import embed
from dsl_teach.training.memory import halve_on_out_of_memory
from dsl_teach.training.networks import EmbeddingNetwork
from dsl_teach.training.records import Correction
from dsl_teach.training.state import Memory, Pass


def correct(
    network: EmbeddingNetwork,
    train: Batches,
    settings: Settings,
    epoch: int,
    *,
    clean_labels: Tensor | None = None,
    seen: Pass | None = None,
    before: Correction | None = None,
    memory: Memory | None = None,
    team: Team = ALONE,
) -> Correction:
    """The correction phase: embed every sample with frozen weights, choose prototypes, let them vote.

    Args:
        network: G is taken from it, in eval mode and without gradients.
        train: seen in the fixed view, in the order of the index.
        settings: p, m and how the paper's open points are read.
        epoch: names the random draw of the m samples a class.
        clean_labels: (N,) int64, for the report only.
        seen: the training pass just done. If embeddings were gathered on the way (``correction_mode="streamed"``),
            they stand in for the frozen pass: seen by weights that still moved, in the training view.
        before: the correction before this one; ``agreeing_only`` asks for it.
        memory: scores and prototypes of former corrections, for ``score_momentum`` and ``prototype_momentum``; kept
            up to date.
        team: the processes that share the work.

    Returns:
        Corrected labels in the order of the index, with their prototypes and report.
    """
    start, memory = time.perf_counter(), {} if memory is None else memory
    embedded = look(network, train, settings, seen, team)
    prototypes = choose_prototypes(
        embedded.rows, embedded, settings, m=settings.m, generator=stream(settings.seed, "sample", epoch),
        among=agreeing(embedded, before, settings),
    )  # fmt: skip
    mine = score(embedded, prototypes, network.head, settings, epoch, memory)
    scores = running_mean(memory, "scores", embedded.everywhere(mine), settings.score_momentum)
    labels, soft = labels_from(scores, train.noisy_labels, settings)
    report = correction_report(train.noisy_labels, labels, clean_labels, num_classes=network.num_classes)
    return Correction(labels, prototypes, report, time.perf_counter() - start, epoch, soft)


@dataclass(frozen=True)
class Embedded:
    """The embeddings of a data set; where several processes train together, each has those of its own samples."""

    rows: Tensor
    """(N, D), in the space that cosines are taken in."""
    raw: Tensor
    """(N, D), as the network gave them."""
    noisy_labels: Tensor
    num_classes: int
    mine: Tensor | None
    """(N,) bool, the rows that this process has; None: all."""
    team: Team

    def own(self, x: Tensor) -> Tensor:
        """The rows of this process."""
        return x if self.mine is None else x[self.mine]

    def everywhere(self, own: Tensor) -> Tensor:
        """(N, ...), the rows of all processes, from those of each."""
        if self.mine is None:
            return own
        rows = own.new_zeros(len(self.rows), *own.shape[1:])
        rows[self.mine] = own
        return self.team.total(rows)


def look(network: EmbeddingNetwork, train: Batches, settings: Settings, seen: Pass | None, team: Team) -> Embedded:
    """Embed every sample, or take what the training pass gathered; then centre or whiten if that is asked for."""
    raw, mine = None if seen is None else seen.embeddings, None
    if raw is None:
        raw = embed(network, train)
        mine = None if team.alone else team.rows(len(raw), train.batch_size, raw.device)
    elif seen is not None and not team.alone:
        mine = seen.predicted >= 0
    plain = Embedded(raw, raw, train.noisy_labels, network.num_classes, mine, team)
    if not (settings.centred or settings.whitened):
        return plain
    move = centred if settings.centred else whitened
    own = class_sums(plain.own(raw), plain.own(train.noisy_labels), num_classes=network.num_classes)
    return replace(plain, rows=move(raw, ClassSums(*map(team.total, own))))


def agreeing(embedded: Embedded, before: Correction | None, settings: Settings) -> Tensor | None:
    """(N,) bool, where the last correction left the label as it was; a class without any such sample keeps all."""
    if before is None or not settings.agreeing_only:
        return None
    agree = before.labels == embedded.noisy_labels
    left = torch.bincount(embedded.noisy_labels[agree], minlength=embedded.num_classes)
    return agree | (left == 0)[embedded.noisy_labels]


def reading(settings: Settings) -> dict[str, Any]:
    """What the settings say of the choice of prototypes, by the argument names of ``select_prototypes``."""
    names = ("p", "m", "eta_max", "quantile", "diagonal", "rho_ties", "fill_up", "cut_ties", "small_class")
    return {name: getattr(settings, name) for name in names}


@halve_on_out_of_memory("m")
def choose_prototypes(
    rows: Tensor, embedded: Embedded, settings: Settings, *, m: int, generator: torch.Generator, among: Tensor | None
) -> Prototypes:
    """Prototypes by all samples, whichever process embedded them; none where the head or neighbours decide."""
    choices: dict[str, Choice] = {
        "density_peaks": partial(select_prototypes, **reading(settings)),
        "random": partial(random_prototypes, p=settings.p),
        "class_means": partial(class_means, m=m),
    }
    if settings.correct_by not in choices:
        return no_prototypes(rows, embedded.num_classes, settings.p)
    return select_together(
        embedded.team, rows, embedded.mine, embedded.noisy_labels, num_classes=embedded.num_classes, m=m,
        generator=generator, among=among, choose=choices[settings.correct_by],
    )  # fmt: skip


def score(
    embedded: Embedded, prototypes: Prototypes, head: nn.Linear, settings: Settings, epoch: int, memory: Memory
) -> Tensor:
    """Class scores of the samples of this process, by whoever ``correct_by`` names."""
    own = embedded.own(embedded.rows)
    ways: dict[str, Callable[[], Tensor]] = {
        "head": lambda: head_scores(embedded.own(embedded.raw), head),
        "neighbours": lambda: vote_of_neighbours(embedded, settings, epoch),
    }
    if settings.correct_by in ways:
        return ways[settings.correct_by]()
    if not settings.prototype_momentum:
        return class_scores(own, prototypes)
    return vote_scores(own, running_mean(memory, "votes", class_votes(prototypes), settings.prototype_momentum))


def head_scores(embeddings: Tensor, head: nn.Linear) -> Tensor:
    """(N, K), what the network's own last layer says: softmax probabilities."""
    with torch.no_grad():
        return torch.softmax(head(embeddings.to(head.weight.dtype)), dim=1)


def vote_of_neighbours(embedded: Embedded, settings: Settings, epoch: int) -> Tensor:
    """(N, K), the shares of the noisy labels of the most similar among m samples a class."""
    rows = sampled_rows(
        embedded.noisy_labels, None, num_classes=embedded.num_classes, m=settings.m,
        generator=stream(settings.seed, "sample", epoch),
    )  # fmt: skip
    candidates = embedded.team.rows_of(embedded.rows, embedded.mine, rows)
    index = torch.arange(len(embedded.rows), device=rows.device)
    return neighbour_scores(
        embedded.own(embedded.rows), embedded.own(index), candidates, embedded.noisy_labels[rows], rows,
        num_classes=embedded.num_classes, neighbours=settings.neighbours,
    )  # fmt: skip


def running_mean(memory: Memory, name: str, new: Tensor, momentum: float) -> Tensor:
    r"""Mix what is new with what is remembered, and remember the mixture.

    .. math:: \bar x \leftarrow \beta \bar x + (1 - \beta) x

    Args:
        memory: holds the mean so far under ``name``; nothing there yet: the new value is taken as it is.
        name: which mean.
        new: x. An entry that is not finite says nothing: the old one stays, and the other way round.
        momentum: beta; at 0 nothing is remembered.
    """
    if momentum == 0:
        return new
    old = memory.setdefault(name, new)
    if old is new:  # the first: nothing to mix, nor to round
        return new
    mixed = torch.where(old.isfinite() & new.isfinite(), momentum * old + (1 - momentum) * new, new)
    memory[name] = torch.where(new.isfinite(), mixed, old)
    return memory[name]


def labels_from(scores: Tensor, noisy_labels: Tensor, settings: Settings) -> tuple[Tensor, Tensor | None]:
    """Corrected labels from class scores: (N,) classes, and (N, K) probabilities if they are to be soft."""
    labels = best_class(scores, noisy_labels if settings.score_ties == "noisy" else None)
    if settings.margin:
        labels = keep_unless_beaten(scores, noisy_labels, labels, settings.margin)
    return labels, soft_labels(scores, settings.soft_temperature) if settings.soft_temperature else None
