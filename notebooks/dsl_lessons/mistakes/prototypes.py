"""The usual mistakes in the choice of prototypes and in class scores."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import normalize

from dsl_lessons.mistakes.mistake import Mistake
from dsl_teach.prototypes import class_scores
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


# --- selection -------------------------------------------------------------------------------------------------------


def _ranked(rank: Tensor, p: int) -> Tensor:
    return rank.argsort(descending=True, stable=True)[:p]


def _first_by(key: Callable[[int], Any], count: int, p: int) -> Tensor:
    return torch.tensor(sorted(range(count), key=key)[:p], dtype=torch.int64)


SELECTION = [
    Mistake(
        "You kept the largest η: the gate is reversed. Prototypes are unlike anything denser, so η must be below "
        "eta_max.",
        lambda rho, eta, p, eta_max: _first_by(
            lambda i: (not eta[i] > eta_max, -int(rho[i]), float(eta[i])), len(rho), p
        ),
    ),
    Mistake(
        "You kept the largest η, and the density did not count. Among the samples with η below eta_max, take the p "
        "densest.",
        lambda rho, eta, p, eta_max: _ranked(eta, p),
    ),
    Mistake(
        "You ranked by η alone. It is only the gate: among the samples that pass, take the p with the greatest ρ.",
        lambda rho, eta, p, eta_max: _ranked(-eta, p),
    ),
    Mistake(
        "You left out the gate: these are the p densest samples, with copies of one another among them. Only η below "
        "eta_max may pass.",
        lambda rho, eta, p, eta_max: plain_choose(rho, eta, p=p, eta_max=torch.inf),
    ),
    Mistake(
        "You left out the gate, and took the smaller row in a tie of ρ. Only η below eta_max may pass; at equal ρ the "
        "smaller η comes first.",
        lambda rho, eta, p, eta_max: _ranked(rho, p),
    ),
    Mistake(
        "You took the samples with the smallest ρ that pass the gate: sort in descending order.",
        lambda rho, eta, p, eta_max: _first_by(
            lambda i: (not eta[i] < eta_max, int(rho[i]), float(eta[i])), len(rho), p
        ),
    ),
    Mistake(
        "You wrote ≤ for <: a sample with η exactly at the gate does not pass.",
        lambda rho, eta, p, eta_max: choose(
            rho, torch.where(eta == eta_max, eta - 1e-4, eta), p=p, eta_max=eta_max, fill_up=True, cut_ties="eta"
        ),
    ),
    Mistake(
        "In a tie of ρ you took the smaller row. In our reading the smaller η comes first, then the smaller row.",
        lambda rho, eta, p, eta_max: choose(rho, eta, p=p, eta_max=eta_max, fill_up=True, cut_ties="index"),
    ),
    Mistake(
        "In a tie of ρ you took the larger η. The smaller one comes first: it is less like anything denser.",
        lambda rho, eta, p, eta_max: _first_by(
            lambda i: (0, -int(rho[i]), -float(eta[i])) if eta[i] < eta_max else (1, float(eta[i])), len(rho), p
        ),
    ),
    Mistake(
        "You returned fewer than p samples where too few pass the gate. In our reading the smallest remaining η "
        "fill up.",
        lambda rho, eta, p, eta_max: choose(rho, eta, p=p, eta_max=eta_max, fill_up=False, cut_ties="eta"),
    ),
    Mistake(
        "You returned fewer than p samples where too few pass the gate, and the smaller row in a tie of ρ. The "
        "smallest remaining η fill up, and at equal ρ the smaller η comes first.",
        lambda rho, eta, p, eta_max: choose(rho, eta, p=p, eta_max=eta_max, fill_up=False, cut_ties="index"),
    ),
    Mistake(
        "You filled up with the densest samples that failed the gate: fill up with the smallest remaining η.",
        lambda rho, eta, p, eta_max: _first_by(
            lambda i: (not eta[i] < eta_max, -int(rho[i]), float(eta[i])), len(rho), p
        ),
    ),
]


# --- scores ----------------------------------------------------------------------------------------------------------


def _cosines(x: Tensor, prototypes: Tensor) -> Tensor:
    return torch.einsum("nd,kpd->nkp", normalize(x, dim=1), normalize(prototypes, dim=2))


def _distances(x: Tensor, prototypes: Tensor) -> Tensor:
    return (x[:, None, None, :] - prototypes[None]).norm(dim=3).mean(dim=2)


SCORES = [
    Mistake(
        "You took the maximum of the cosines: the prototypes vote, so take their mean.",
        lambda x, prototypes: _cosines(x, prototypes).amax(dim=2),
    ),
    Mistake(
        "You took the sum of the cosines: divide by the number of prototypes.",
        lambda x, prototypes: _cosines(x, prototypes).sum(dim=2),
    ),
    Mistake(
        "You took the minimum of the cosines: take their mean.",
        lambda x, prototypes: _cosines(x, prototypes).amin(dim=2),
    ),
    Mistake(
        "You took plain dot products: scale samples and prototypes to length one first.",
        lambda x, prototypes: torch.einsum("nd,kpd->nk", x, prototypes) / prototypes.shape[1],
    ),
    Mistake(
        "You scaled the samples but not the prototypes: long prototypes then have more votes than short ones.",
        lambda x, prototypes: torch.einsum("nd,kpd->nk", normalize(x, dim=1), prototypes) / prototypes.shape[1],
    ),
    Mistake(
        "You scaled the prototypes but not the samples: divide by the sample's length too.",
        lambda x, prototypes: torch.einsum("nd,kpd->nk", x, normalize(prototypes, dim=2)) / prototypes.shape[1],
    ),
    Mistake(
        "You returned distances, small where a sample is like the class. The score is a similarity.",
        _distances,
    ),
    Mistake(
        "You returned negative distances: the score is the mean cosine, which does not depend on lengths.",
        lambda x, prototypes: -_distances(x, prototypes),
    ),
    Mistake(
        "You took the cosine to the mean of the prototypes. First each cosine, then their mean: otherwise long "
        "prototypes outvote short ones.",
        lambda x, prototypes: _cosines(x, prototypes.mean(dim=1, keepdim=True)).squeeze(2),
    ),
    Mistake(
        "You scaled the mean of the prototypes to length one again. The mean of the cosines is smaller where the "
        "prototypes of a class differ, and should be.",
        lambda x, prototypes: _cosines(x, normalize(prototypes, dim=2).mean(dim=1, keepdim=True)).squeeze(2),
    ),
]
