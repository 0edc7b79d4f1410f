"""The usual mistakes in lesson 03's capstone: SMP in four steps of plain PyTorch, and the library's side of each."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, normalize

from dsl_lessons.exercises.judge import Function, Mistakes
from dsl_teach.config import Settings
from dsl_teach.data.batches import Batch
from dsl_teach.prototypes import cosine_similarity, density, eta, similarity_threshold
from dsl_teach.prototypes.selection import choose, select_prototypes
from dsl_teach.training.evaluation import evaluation

Parts = Callable[[int], Iterable[Batch]]
"""The batches of an epoch."""


def embed(network: nn.Module, images: Tensor) -> Tensor:
    """G(x) of all images at once, in eval mode and without gradients."""
    with evaluation(network):
        return network(images)[1].clone()


def _training(network: nn.Module, images: Tensor, place: int = 1) -> Tensor:
    with torch.no_grad():
        return network.train()(images)[place]


def _logits(network: nn.Module, images: Tensor) -> Tensor:
    with evaluation(network):
        return network(images)[0].clone()


EMBED: Mistakes = {
    "The network was left in train mode: batch norm then takes the statistics of whatever is in the batch, and an "
    "embedding hangs on its neighbours. Call network.eval() first.": _training,
    "You returned the logits F(x), and the network was left in train mode: call network.eval(), and take the second "
    "output, the embeddings.": partial(_training, place=0),
    "You returned the logits F(x). The embedding G(x) is the network's second output.": _logits,
    "You returned probabilities: prototypes are chosen by embeddings, the network's second output.": lambda f, x: (
        _logits(f, x).softmax(dim=1)
    ),
}


def prototypes(embeddings: Tensor, noisy_labels: Tensor, p: int, **reading: Any) -> Tensor:
    """(K, p) int64, the library's prototypes of each class as row numbers, all samples of a class being looked at."""
    k, m = int(noisy_labels.max()) + 1, len(noisy_labels)
    return select_prototypes(embeddings, noisy_labels, num_classes=k, p=p, m=m, **reading).index


def _by_class(rank: Callable[[Tensor, Tensor, Tensor, int], Tensor], *, map_back: bool = True) -> Function:
    """Prototypes by another choice inside each class, from its S, rho, eta and p."""

    def chosen(embeddings: Tensor, noisy_labels: Tensor, p: int) -> Tensor:
        found = []
        for c in range(int(noisy_labels.max()) + 1):
            rows = (noisy_labels == c).nonzero().flatten()
            s = cosine_similarity(embeddings[rows])
            rho = density(s, similarity_threshold(s))
            places = rank(s, rho, eta(s, rho), p)
            found.append(rows[places] if map_back else places)
        return torch.stack(found)

    return chosen


def _usual(rho: Tensor, eta_: Tensor, p: int) -> Tensor:
    return choose(rho, eta_, p=p, eta_max=0.95, fill_up=True, cut_ties="eta")


def _falling_from_one(s: Tensor, rho: Tensor) -> Tensor:
    return s.where((rho[None, :] > rho[:, None]) | torch.eye(len(s), dtype=torch.bool), -torch.inf).amax(dim=1)


def _ties_as_denser(s: Tensor, rho: Tensor) -> Tensor:
    among = (rho[None, :] >= rho[:, None]) & ~torch.eye(len(s), dtype=torch.bool)
    best = s.where(among, -torch.inf).amax(dim=1)
    return torch.where(among.any(dim=1), best, s.amin(dim=1))


def _raw_products(embeddings: Tensor, noisy_labels: Tensor, p: int) -> Tensor:
    found = []
    for c in range(int(noisy_labels.max()) + 1):
        rows = (noisy_labels == c).nonzero().flatten()
        s = embeddings[rows] @ embeddings[rows].T
        rho = density(s, similarity_threshold(s))
        found.append(rows[_usual(rho, eta(s, rho), p)])
    return torch.stack(found)


PROTOTYPES: Mistakes = {
    "You kept the largest η. A prototype is unlike anything denser: η below 0.95, and then the greatest ρ.": _by_class(
        lambda s, rho, eta_, p: eta_.argsort(descending=True, stable=True)[:p]
    ),
    "You returned places inside each class. Map them back to rows of the whole set: rows[chosen].": _by_class(
        lambda s, rho, eta_, p: _usual(rho, eta_, p), map_back=False
    ),
    "You left out the gate: these are the p densest samples of each class, near copies of one "
    "another. Only η < 0.95 may pass.": partial(prototypes, eta_max=2.0),
    "You ranked by η alone: it is only the gate. Of those that pass take the greatest ρ.": _by_class(
        lambda s, rho, eta_, p: eta_.argsort(stable=True)[:p]
    ),
    "You left the diagonal out of S_c: all m² entries of S take part.": partial(prototypes, diagonal=False),
    "You counted from the wrong end: 40 % of the entries lie above S_c, which is the 60th percentile.": partial(
        prototypes, quantile=0.4
    ),
    "You broke ties of ρ by the order of the samples: denser means strictly greater, and all at the greatest ρ take "
    "the smallest similarity.": partial(prototypes, rho_ties="order"),
    "You wrote ≥ for >: with ties in ρ neither sample is the denser one.": _by_class(
        lambda s, rho, eta_, p: _usual(rho, _ties_as_denser(s, rho), p)
    ),
    "You started η from the self-similarity 1, so nothing passes the gate: only j with ρ_j > ρ_i take part.": _by_class(
        lambda s, rho, eta_, p: _usual(rho, _falling_from_one(s, rho), p)
    ),
    "At equal ρ you took the smaller row: the smaller η comes first.": partial(prototypes, cut_ties="index"),
    "You took plain dot products: scale every embedding to length one first.": _raw_products,
}


def _scores(x: Tensor, stars: Tensor) -> Tensor:
    return normalize(x, dim=1) @ normalize(x, dim=1)[stars].mean(dim=1).T


def labels(embeddings: Tensor, prototypes: Tensor) -> Tensor:
    """(N,) int64, the class whose prototypes, (K, p) row numbers, each sample resembles most on average."""
    return _scores(embeddings, prototypes).argmax(dim=1)


LABELS: Mistakes = {
    "Your argmax runs over the wrong axis, the samples: each sample takes its best class, "
    "dim=1 of (N, K).": lambda x, stars: _scores(x, stars).argmax(dim=0),
    "You took the nearest single prototype, the maximum of the cosines. The prototypes vote: take the "
    "mean.": lambda x, stars: (normalize(x, dim=1) @ normalize(x, dim=1)[stars].mT).amax(dim=2).argmax(dim=0),
    "You took plain dot products: long prototypes then outvote short ones. Scale to length one "
    "first.": lambda x, stars: (x @ x[stars].mean(dim=1).T).argmax(dim=1),
    "You took the class that fits worst: the greatest score, not the smallest.": lambda x, stars: _scores(
        x, stars
    ).argmin(dim=1),
    "These are the scores σ. The label is the class with the greatest one.": _scores,
    "You let only the first prototype of each class vote: take the mean over all p.": lambda x, stars: labels(
        x, stars[:, :1]
    ),
}


def plain_fit(
    network: nn.Module, images: Tensor, noisy_labels: Tensor, batches: Parts, settings: Settings, *, wrong: str = ""
) -> Tensor:
    """The loop in plain PyTorch, with one of the usual mistakes, or none; the last corrected labels."""
    s, decay = settings, 0.0 if wrong == "no decay" else settings.weight_decay
    optimizer = torch.optim.SGD(network.parameters(), s.learning_rate, s.momentum, weight_decay=decay)
    corrected, given, alpha = noisy_labels, noisy_labels, 1 - s.alpha if wrong == "swapped" else s.alpha
    start = {"at once": 0, "late": s.correction_start + 1}.get(wrong, s.correction_start)
    for epoch in range(s.epochs):
        due = epoch == start if wrong == "once" else epoch >= start
        if due:
            x = _training(network, images) if wrong == "train mode" else embed(network, images)
            corrected = labels(x, prototypes(x, given, s.p))
            given = corrected if wrong == "drift" else noisy_labels
        network.train(mode=not (due and wrong == "eval mode"))
        place = 0
        for batch in batches(epoch):
            rows = slice(place, place + len(batch.index)) if wrong == "by place" else batch.index
            place += len(batch.index)
            logits = network(batch.images)[0]
            noisy, theirs = (cross_entropy(logits, y) for y in (batch.noisy_labels, corrected[rows]))
            parts = [theirs] if wrong == "corrected alone" else [(1 - alpha) * noisy, alpha * theirs]
            before = [(1 - alpha) * noisy if wrong == "early alpha" else noisy]
            if wrong != "no zero_grad":
                optimizer.zero_grad()
            sum(parts if epoch >= start else before, torch.zeros(())).backward()
            optimizer.step()
    return corrected


LOOP: Mistakes = {
    sentence: partial(plain_fit, wrong=wrong)
    for wrong, sentence in {
        "swapped": "Your alpha is on the wrong side: alpha weighs the corrected labels, 1 − alpha the noisy ones.",
        "by place": "You took corrected labels by place in the batch. Batches are shuffled: take corrected[index].",
        "eval mode": "The network stayed in eval mode after the correction: call network.train() before the batches.",
        "train mode": "The network was in train mode while its embeddings were taken: call network.eval() there.",
        "once": "You corrected once and kept those labels. Correct in every epoch from correction_start on.",
        "drift": "You chose prototypes by the corrected labels. Every correction starts from the noisy ones.",
        "at once": "You corrected from the first epoch on: the first correction_start epochs use noisy labels alone.",
        "late": "Your first correction is one epoch late: with epochs counted from 0, epoch >= correction_start.",
        "corrected alone": "Only the corrected labels are in your loss: the noisy ones keep the weight 1 − alpha.",
        "early alpha": "Before the first correction alpha counts as 0: the noisy labels have the whole weight.",
        "no zero_grad": "Gradients pile up: call optimizer.zero_grad() before backward().",
        "no decay": "Your optimizer has no weight decay: SGD takes settings.weight_decay.",
    }.items()
}
