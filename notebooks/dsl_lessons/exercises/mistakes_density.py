"""The usual mistakes in S, S_c, rho and eta."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import normalize

from dsl_lessons.exercises.judge import Mistakes
from dsl_teach.prototypes import cosine_similarity, density, eta, similarity_threshold


def _naive_cosine(x: Tensor) -> Tensor:
    rows = x / x.norm(dim=1, keepdim=True)
    return rows @ rows.T


SIMILARITY: Mistakes = {
    "You took the plain dot product: divide each embedding by its length first, "
    "or long embeddings look similar to everything.": lambda x: x @ x.T,
    "You returned a distance: small where samples are alike. The cosine is large there.": lambda x: torch.cdist(x, x),
    "You returned the cosine distance, 1 minus the similarity: leave out the “1 −”.": lambda x: (
        1 - cosine_similarity(x)
    ),
    "A zero embedding gave NaN, because its length 0 was divided by. "
    "It has no direction: its cosine is 0.": _naive_cosine,
    "You scaled the columns to length one (dim=0): an embedding is a row, so take the lengths along dim=1.": lambda x: (
        normalize(x, dim=0) @ normalize(x, dim=0).T
    ),
    "You divided by the length of the whole matrix: every row needs its own length (dim=1, keepdim=True).": lambda x: (
        (x / x.norm()) @ (x / x.norm()).T
    ),
    "You left out the self-similarity: the diagonal of S holds each sample's cosine with itself, "
    "which is 1.": lambda x: cosine_similarity(x).fill_diagonal_(0),
    "You scaled only one of the two embeddings: the cosine divides by both lengths.": lambda x: (
        normalize(x, dim=1) @ x.T
    ),
    "You took the absolute value: opposite embeddings have cosine −1, not 1.": lambda x: cosine_similarity(x).abs(),
}


def _one_place_up(s: Tensor, quantile: float) -> Tensor:
    entries = s.flatten().sort().values
    return entries[min(int(quantile * len(entries) + 1e-9), len(entries) - 1)]


THRESHOLD: Mistakes = {
    "You counted from the wrong end: a share of 40 % must lie above S_c. "
    "That is the 60th percentile; you took the 40th.": lambda s, q: similarity_threshold(s, 1 - q),
    "You left the diagonal out. In our reading all m² entries of S take part, "
    "the self-similarities too.": lambda s, q: similarity_threshold(s, q, diagonal=False),
    "You interpolated between two entries, as torch.quantile does. S_c is itself an entry of S: "
    "with the entries in ascending order, number ceil(quantile · n).": lambda s, q: torch.quantile(s.flatten(), q),
    "You counted from the wrong end, and interpolated between two entries: a share of 40 % must lie above S_c, "
    "and S_c is itself an entry of S.": lambda s, q: torch.quantile(s.flatten(), 1 - q),
    "You are one place too high: sorted entries are counted from 1 in the formula, "
    "but from 0 in Python.": _one_place_up,
    "You returned the quantile itself. It says which place S_c has among the sorted entries; "
    "S_c is the entry at that place.": lambda s, q: torch.tensor(q),
    "You left the diagonal out and counted from the wrong end: use all m² entries, "
    "and let 40 % lie above S_c.": lambda s, q: similarity_threshold(s, 1 - q, diagonal=False),
    "You averaged the entries: S_c is the entry at a place in their order.": lambda s, q: s.mean(),
}


def _without_self(s: Tensor, t: float) -> Tensor:
    return density(s, t) - torch.sign(s.diagonal() - t).long()


DENSITY: Mistakes = {
    "You left the self-similarity out: the sum runs over every j, i itself too.": _without_self,
    "You wrote ≥ for >: an entry equal to S_c counted +1. sign(0) is 0, so it counts nothing.": lambda s, t: (
        torch.where(s >= t, 1, -1).sum(dim=1)
    ),
    "An entry equal to S_c counted −1 (as in: +1 if above, else −1). sign(0) is 0, "
    "so it counts nothing.": lambda s, t: torch.where(s > t, 1, -1).sum(dim=1),
    "You counted the close samples only. The sign also takes one off for every sample that is far.": lambda s, t: (
        s > t
    ).sum(dim=1),
    "You counted the close samples only, and ties as close. The sign takes one off for every sample that is far, "
    "and a tie counts nothing.": lambda s, t: (s >= t).sum(dim=1),
    "You added the differences themselves: the formula takes their sign, "
    "so that only the number of close samples matters.": lambda s, t: (s - t).sum(dim=1),
    "Your sign is reversed: S_ij − S_c, not S_c − S_ij. Close samples must make a sample denser.": lambda s, t: (
        -density(s, t)
    ),
    "You took the mean of the signs: the density is their sum, a whole number.": lambda s, t: torch.sign(s - t).mean(
        dim=1
    ),
    "You counted the far samples: the sign is +1 above the threshold.": lambda s, t: (s < t).sum(dim=1),
}


def _max_over(s: Tensor, candidates: Tensor, otherwise: Tensor) -> Tensor:
    best = s.where(candidates, -torch.inf).amax(dim=1)
    return torch.where(best == -torch.inf, otherwise, best)


def _denser(rho: Tensor) -> Tensor:
    return rho[None, :] > rho[:, None]


def _others(rho: Tensor) -> Tensor:
    return ~torch.eye(len(rho), dtype=torch.bool)


def _smallest_denser(s: Tensor, rho: Tensor) -> Tensor:
    least = s.where(_denser(rho), torch.inf).amin(dim=1)
    return torch.where(least == torch.inf, s.amin(dim=1), least)


ETA: Mistakes = {
    "You started η from the self-similarity 1, so it never falls: a sample is not denser than itself. "
    "Only j with ρ_j > ρ_i take part.": lambda s, rho: _max_over(s, _denser(rho) | ~_others(rho), s.amin(dim=1)),
    "You wrote ≥ for >: in a tie of ρ neither sample is the denser one.": lambda s, rho: _max_over(
        s, (rho[None, :] >= rho[:, None]) & _others(rho), s.amin(dim=1)
    ),
    "You broke ties of ρ by the order of the samples. In our reading denser means strictly greater, "
    "and every sample at the greatest ρ takes the smallest similarity.": lambda s, rho: eta(s, rho, rho_ties="order"),
    "You took the smallest similarity to a denser sample: η is the largest one, "
    "and small only if every denser sample is unlike.": _smallest_denser,
    "You compared with the less dense samples: only j with ρ_j > ρ_i take part.": lambda s, rho: _max_over(
        s, rho[None, :] < rho[:, None], s.amin(dim=1)
    ),
    "The densest samples got their largest similarity. Nothing is denser, so they take the smallest: they must "
    "pass the gate.": lambda s, rho: _max_over(s, _denser(rho), s.where(_others(rho), -torch.inf).amax(dim=1)),
    "The densest samples got 1. Nothing is denser, so they take their smallest similarity: "
    "the gate must let them through.": lambda s, rho: _max_over(s, _denser(rho), torch.ones(len(rho))),
    "The densest samples got 0. Nothing is denser, so they take their smallest similarity, "
    "min over j of S_ij.": lambda s, rho: _max_over(s, _denser(rho), torch.zeros(len(rho))),
    "The densest samples got minus infinity, the maximum of nothing: "
    "they take their smallest similarity.": lambda s, rho: s.where(_denser(rho), -torch.inf).amax(dim=1),
    "You returned a distance, small where samples are alike. In the paper η is a similarity: "
    "the largest one to a denser sample.": lambda s, rho: 1 - eta(s, rho),
    "You took the largest similarity to any other sample: only the denser ones take part, ρ_j > ρ_i.": lambda s, rho: (
        s.where(_others(rho), -torch.inf).amax(dim=1)
    ),
}
