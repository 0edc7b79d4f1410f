"""The usual mistakes in the choice of prototypes, in class scores, and in the margin of a label."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import normalize

from dsl_lessons.exercises.judge import Function, Mistakes, given
from dsl_teach.prototypes import class_scores, label_margin
from dsl_teach.prototypes.selection import Prototypes, choose


def plain_choose(rho: Tensor, eta: Tensor, *, p: int, eta_max: float) -> Tensor:
    """The library's choice as the lessons write it: filled up, the smaller eta first at equal rho."""
    return choose(rho, eta, p=p, eta_max=eta_max, fill_up=True, cut_ties="eta")


def plain_scores(embeddings: Tensor, prototypes: Tensor) -> Tensor:
    """The library's class scores for (K, P, D) prototypes without an empty place."""
    k, p, _ = prototypes.shape
    places, each = torch.zeros(k, p, dtype=torch.int64), torch.full((k,), p)
    whole = Prototypes(prototypes, places, places, torch.zeros(k, p), each, each, each, each * 0, each * 0)
    return class_scores(embeddings, whole)


def _ranked(rank: Tensor, p: int) -> Tensor:
    return rank.argsort(descending=True, stable=True)[:p]


def _by(key: Callable[[int, float, float], Any]) -> Function:
    """The first p rows in the order of a key of rho, eta and the gate."""

    def chosen(rho: Tensor, eta: Tensor, p: int, eta_max: float) -> Tensor:
        rows = sorted(range(len(rho)), key=lambda i: key(int(rho[i]), float(eta[i]), eta_max))
        return torch.tensor(rows[:p], dtype=torch.int64)

    return chosen


SELECTION: Mistakes = {
    "You kept the largest η: the gate is reversed. Prototypes are unlike anything denser, "
    "so η must be below eta_max.": _by(lambda rho, eta, gate: (not eta > gate, -rho, eta)),
    "You kept the largest η, and the density did not count. Among the samples with η below eta_max, "
    "take the p densest.": lambda rho, eta, p, eta_max: _ranked(eta, p),
    "You ranked by η alone. It is only the gate: among the samples that pass, "
    "take the p with the greatest ρ.": lambda rho, eta, p, eta_max: _ranked(-eta, p),
    "You left out the gate: these are the p densest samples, with copies of one another among them. "
    "Only η below eta_max may pass.": lambda rho, eta, p, eta_max: plain_choose(rho, eta, p=p, eta_max=torch.inf),
    "You left out the gate, and took the smaller row in a tie of ρ. Only η below eta_max may pass; "
    "at equal ρ the smaller η comes first.": lambda rho, eta, p, eta_max: _ranked(rho, p),
    "You took the samples with the smallest ρ that pass the gate: sort in descending order.": _by(
        lambda rho, eta, gate: (not eta < gate, rho, eta)
    ),
    "You wrote ≤ for <: a sample with η exactly at the gate does not pass.": lambda rho, eta, p, eta_max: plain_choose(
        rho, eta - 1e-4 * (eta == eta_max), p=p, eta_max=eta_max
    ),
    "In a tie of ρ you took the smaller row. In our reading the smaller η comes first, then the smaller row.": partial(
        choose, fill_up=True, cut_ties="index"
    ),
    "In a tie of ρ you took the larger η. The smaller one comes first: it is less like anything denser.": _by(
        lambda rho, eta, gate: (0, -rho, -eta) if eta < gate else (1, eta)
    ),
    "You returned fewer than p samples where too few pass the gate. "
    "In our reading the smallest remaining η fill up.": partial(choose, fill_up=False, cut_ties="eta"),
    "You returned fewer than p samples where too few pass the gate, and the smaller row in a tie of ρ. The smallest "
    "remaining η fill up, and at equal ρ the smaller η comes first.": partial(choose, fill_up=False, cut_ties="index"),
    "You filled up with the densest samples that failed the gate: fill up with the smallest remaining η.": _by(
        lambda rho, eta, gate: (not eta < gate, -rho, eta)
    ),
}


def _cosines(x: Tensor, p: Tensor) -> Tensor:
    return torch.einsum("nd,kpd->nkp", normalize(x, dim=1), normalize(p, dim=2))


def _mean_dot(x: Tensor, p: Tensor) -> Tensor:
    return torch.einsum("nd,kpd->nk", x, p) / p.shape[1]


def _distances(x: Tensor, p: Tensor) -> Tensor:
    return (x[:, None, None, :] - p[None]).norm(dim=3).mean(dim=2)


SCORES: Mistakes = {
    "You took the maximum of the cosines: the prototypes vote, so take their mean.": lambda x, p: _cosines(x, p).amax(
        dim=2
    ),
    "You took the sum of the cosines: divide by the number of prototypes.": lambda x, p: _cosines(x, p).sum(dim=2),
    "You took the minimum of the cosines: take their mean.": lambda x, p: _cosines(x, p).amin(dim=2),
    "You took plain dot products: scale samples and prototypes to length one first.": _mean_dot,
    "You scaled the samples but not the prototypes: "
    "long prototypes then have more votes than short ones.": lambda x, p: _mean_dot(normalize(x, dim=1), p),
    "You scaled the prototypes but not the samples: divide by the sample's length too.": lambda x, p: _mean_dot(
        x, normalize(p, dim=2)
    ),
    "You returned distances, small where a sample is like the class. The score is a similarity.": _distances,
    "You returned negative distances: the score is the mean cosine, which does not depend on lengths.": lambda x, p: (
        -_distances(x, p)
    ),
    "You took the cosine to the mean of the prototypes. First each cosine, then their mean: "
    "otherwise long prototypes outvote short ones.": lambda x, p: _cosines(x, p.mean(dim=1, keepdim=True)).squeeze(2),
    "You scaled the mean of the prototypes to length one again. The mean of the cosines is smaller where the "
    "prototypes of a class differ, "
    "and should be.": lambda x, p: _cosines(x, normalize(p, dim=2).mean(dim=1, keepdim=True)).squeeze(2),
}


MARGIN: Mistakes = {
    "You took the best score of all classes, the given one among them: then no label comes out above 0, and sure "
    "labels cannot be told from doubtful ones. Take the best of the others.": lambda s, y: given(s, y) - s.amax(dim=1),
    "The sign is reversed: doubtful is low.": lambda s, y: -label_margin(s, y),
    "That is the best score alone: take the score of the given class, "
    "and subtract the best of the others.": lambda s, y: s.amax(dim=1),
    "That is 1 minus the score of the given class: the other classes do not take part.": lambda s, y: 1 - given(s, y),
    "That is the score of the given class alone: the other classes do not take part.": given,
    "You took the difference of the two best classes, whichever they are: start from the given class.": lambda s, y: (
        s.topk(2, dim=1).values @ torch.tensor([1.0, -1.0])
    ),
    "You subtracted the mean of the other classes: take the best of them.": lambda s, y: (
        given(s, y) - (s.sum(dim=1) - given(s, y)) / (s.shape[1] - 1)
    ),
}
