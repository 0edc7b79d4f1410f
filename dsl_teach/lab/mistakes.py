"""The usual mistakes, each as a small wrong function with the sentence that names it.

:mod:`dsl_teach.lab.checks` compares a reader's function with these. They are wrong on purpose: nothing else may use
them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, normalize

from dsl_teach.prototypes import class_scores, cosine_similarity, density, eta, similarity_threshold
from dsl_teach.prototypes.selection import Prototypes, choose


@dataclass(frozen=True)
class Mistake:
    """A wrong function, and what to tell whoever wrote it."""

    sentence: str
    wrong: Callable[..., Any]


def plain_choose(rho: Tensor, eta: Tensor, *, p: int, eta_max: float) -> Tensor:
    """The library's choice as the lessons write it: filled up, the smaller eta first at equal rho."""
    return choose(rho, eta, p=p, eta_max=eta_max, fill_up=True, cut_ties="eta")


def plain_scores(embeddings: Tensor, prototypes: Tensor) -> Tensor:
    """The library's class scores for (K, P, D) prototypes without an empty place."""
    k, p, _ = prototypes.shape
    places, each = torch.zeros(k, p, dtype=torch.int64), torch.full((k,), p)
    whole = Prototypes(prototypes, places, places, torch.zeros(k, p), each, each, each, each * 0, each * 0)
    return class_scores(embeddings, whole)


# --- similarity ------------------------------------------------------------------------------------------------------


def _naive_cosine(x: Tensor) -> Tensor:
    rows = x / x.norm(dim=1, keepdim=True)
    return rows @ rows.T


SIMILARITY = [
    Mistake(
        "You took the plain dot product: divide each embedding by its length first, or long embeddings look similar "
        "to everything.",
        lambda x: x @ x.T,
    ),
    Mistake(
        "You returned a distance: small where samples are alike. The cosine is large there.",
        lambda x: torch.cdist(x, x),
    ),
    Mistake(
        "You returned the cosine distance, 1 minus the similarity: leave out the “1 −”.",
        lambda x: 1 - cosine_similarity(x),
    ),
    Mistake(
        "A zero embedding gave NaN, because its length 0 was divided by. It has no direction: its cosine is 0.",
        _naive_cosine,
    ),
    Mistake(
        "You scaled the columns to length one (dim=0): an embedding is a row, so take the lengths along dim=1.",
        lambda x: normalize(x, dim=0) @ normalize(x, dim=0).T,
    ),
    Mistake(
        "You divided by the length of the whole matrix: every row needs its own length (dim=1, keepdim=True).",
        lambda x: (x / x.norm()) @ (x / x.norm()).T,
    ),
    Mistake(
        "You left out the self-similarity: the diagonal of S holds each sample's cosine with itself, which is 1.",
        lambda x: cosine_similarity(x).fill_diagonal_(0),
    ),
    Mistake(
        "You scaled only one of the two embeddings: the cosine divides by both lengths.",
        lambda x: normalize(x, dim=1) @ x.T,
    ),
    Mistake("You took the absolute value: opposite embeddings have cosine −1, not 1.", lambda x: _absolute(x)),
]


def _absolute(x: Tensor) -> Tensor:
    return cosine_similarity(x).abs()


# --- threshold -------------------------------------------------------------------------------------------------------


def _one_place_up(s: Tensor, quantile: float) -> Tensor:
    entries = s.flatten().sort().values
    return entries[min(int(quantile * len(entries) + 1e-9), len(entries) - 1)]


THRESHOLD = [
    Mistake(
        "You counted from the wrong end: a share of 40 % must lie above S_c. That is the 60th percentile; you took "
        "the 40th.",
        lambda s, q: similarity_threshold(s, 1 - q),
    ),
    Mistake(
        "You left the diagonal out. In our reading all m² entries of S take part, the self-similarities too.",
        lambda s, q: similarity_threshold(s, q, diagonal=False),
    ),
    Mistake(
        "You interpolated between two entries, as torch.quantile does. S_c is itself an entry of S: with the entries "
        "in ascending order, number ceil(quantile · n).",
        lambda s, q: torch.quantile(s.flatten(), q),
    ),
    Mistake(
        "You counted from the wrong end, and interpolated between two entries: a share of 40 % must lie above S_c, and "
        "S_c is itself an entry of S.",
        lambda s, q: torch.quantile(s.flatten(), 1 - q),
    ),
    Mistake(
        "You are one place too high: sorted entries are counted from 1 in the formula, but from 0 in Python.",
        _one_place_up,
    ),
    Mistake(
        "You returned the quantile itself. It says which place S_c has among the sorted entries; S_c is the entry at "
        "that place.",
        lambda s, q: torch.tensor(q),
    ),
    Mistake(
        "You left the diagonal out and counted from the wrong end: use all m² entries, and let 40 % lie above S_c.",
        lambda s, q: similarity_threshold(s, 1 - q, diagonal=False),
    ),
    Mistake("You averaged the entries: S_c is the entry at a place in their order.", lambda s, q: s.mean()),
]


# --- density ---------------------------------------------------------------------------------------------------------


def _without_self(s: Tensor, t: float) -> Tensor:
    return density(s, t) - torch.sign(s.diagonal() - t).long()


DENSITY = [
    Mistake(
        "You left the self-similarity out: the sum runs over every j, i itself too.",
        _without_self,
    ),
    Mistake(
        "You wrote ≥ for >: an entry equal to S_c counted +1. sign(0) is 0, so it counts nothing.",
        lambda s, t: torch.where(s >= t, 1, -1).sum(dim=1),
    ),
    Mistake(
        "An entry equal to S_c counted −1 (as in: +1 if above, else −1). sign(0) is 0, so it counts nothing.",
        lambda s, t: torch.where(s > t, 1, -1).sum(dim=1),
    ),
    Mistake(
        "You counted the close samples only. The sign also takes one off for every sample that is far.",
        lambda s, t: (s > t).sum(dim=1),
    ),
    Mistake(
        "You counted the close samples only, and ties as close. The sign takes one off for every sample that is far, "
        "and a tie counts nothing.",
        lambda s, t: (s >= t).sum(dim=1),
    ),
    Mistake(
        "You added the differences themselves: the formula takes their sign, so that only the number of close samples "
        "matters.",
        lambda s, t: (s - t).sum(dim=1),
    ),
    Mistake(
        "Your sign is reversed: S_ij − S_c, not S_c − S_ij. Close samples must make a sample denser.",
        lambda s, t: -density(s, t),
    ),
    Mistake(
        "You took the mean of the signs: the density is their sum, a whole number.",
        lambda s, t: torch.sign(s - t).mean(dim=1),
    ),
    Mistake(
        "You counted the far samples: the sign is +1 above the threshold.",
        lambda s, t: (s < t).sum(dim=1),
    ),
]


# --- eta -------------------------------------------------------------------------------------------------------------


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


ETA = [
    Mistake(
        "You started η from the self-similarity 1, so it never falls: a sample is not denser than itself. Only j with "
        "ρ_j > ρ_i take part.",
        lambda s, rho: _max_over(s, _denser(rho) | ~_others(rho), s.amin(dim=1)),
    ),
    Mistake(
        "You wrote ≥ for >: in a tie of ρ neither sample is the denser one.",
        lambda s, rho: _max_over(s, (rho[None, :] >= rho[:, None]) & _others(rho), s.amin(dim=1)),
    ),
    Mistake(
        "You broke ties of ρ by the order of the samples. In our reading denser means strictly greater, and every "
        "sample at the greatest ρ takes the smallest similarity.",
        lambda s, rho: eta(s, rho, rho_ties="order"),
    ),
    Mistake(
        "You took the smallest similarity to a denser sample: η is the largest one, and small only if every denser "
        "sample is unlike.",
        _smallest_denser,
    ),
    Mistake(
        "You compared with the less dense samples: only j with ρ_j > ρ_i take part.",
        lambda s, rho: _max_over(s, rho[None, :] < rho[:, None], s.amin(dim=1)),
    ),
    Mistake(
        "The densest samples got their largest similarity. Nothing is denser, so they take the smallest: they must "
        "pass the gate.",
        lambda s, rho: _max_over(s, _denser(rho), s.where(_others(rho), -torch.inf).amax(dim=1)),
    ),
    Mistake(
        "The densest samples got 1. Nothing is denser, so they take their smallest similarity: the gate must let "
        "them through.",
        lambda s, rho: _max_over(s, _denser(rho), torch.ones(len(rho))),
    ),
    Mistake(
        "The densest samples got 0. Nothing is denser, so they take their smallest similarity, min over j of S_ij.",
        lambda s, rho: _max_over(s, _denser(rho), torch.zeros(len(rho))),
    ),
    Mistake(
        "The densest samples got minus infinity, the maximum of nothing: they take their smallest similarity.",
        lambda s, rho: s.where(_denser(rho), -torch.inf).amax(dim=1),
    ),
    Mistake(
        "You returned a distance, small where samples are alike. In the paper η is a similarity: the largest one to a "
        "denser sample.",
        lambda s, rho: 1 - eta(s, rho),
    ),
    Mistake(
        "You took the largest similarity to any other sample: only the denser ones take part, ρ_j > ρ_i.",
        lambda s, rho: s.where(_others(rho), -torch.inf).amax(dim=1),
    ),
]


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


# --- loss ------------------------------------------------------------------------------------------------------------


def _two(noisy: Callable[..., Tensor], corrected: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """A loss that is right before the first correction and goes wrong after it."""

    def loss(logits: Tensor, y: Tensor, y_hat: Tensor | None, alpha: float) -> Tensor:
        if y_hat is None:
            return cross_entropy(logits, y)
        return noisy(logits, y, alpha) + corrected(logits, y_hat, alpha)

    return loss


def _each(ce: Callable[[Tensor, Tensor], Tensor]) -> Callable[..., Tensor]:
    """The right weights around a wrong cross-entropy."""

    def loss(logits: Tensor, y: Tensor, y_hat: Tensor | None, alpha: float) -> Tensor:
        return ce(logits, y) if y_hat is None else (1 - alpha) * ce(logits, y) + alpha * ce(logits, y_hat)

    return loss


def _picked(rows: Tensor, labels: Tensor) -> Tensor:
    return rows.gather(1, labels[:, None]).squeeze(1)


def _halved_before(logits: Tensor, y: Tensor, y_hat: Tensor | None, alpha: float) -> Tensor:
    noisy = (1 - alpha) * cross_entropy(logits, y)
    return noisy if y_hat is None else noisy + alpha * cross_entropy(logits, y_hat)


LOSS = [
    Mistake(
        "You swapped alpha and 1 − alpha: alpha is the weight of the corrected labels.",
        _two(lambda z, y, a: a * cross_entropy(z, y), lambda z, y, a: (1 - a) * cross_entropy(z, y)),
    ),
    Mistake(
        "You added the two losses without weights: the noisy one has weight 1 − alpha, the corrected one alpha.",
        _two(lambda z, y, a: cross_entropy(z, y), lambda z, y, a: cross_entropy(z, y)),
    ),
    Mistake(
        "The noisy labels have weight 1 instead of 1 − alpha: the two weights must sum to 1.",
        _two(lambda z, y, a: cross_entropy(z, y), lambda z, y, a: a * cross_entropy(z, y)),
    ),
    Mistake(
        "Both parts have weight alpha: the noisy labels have 1 − alpha.",
        _two(lambda z, y, a: a * cross_entropy(z, y), lambda z, y, a: a * cross_entropy(z, y)),
    ),
    Mistake(
        "The corrected labels do not take part: add alpha times the cross-entropy against them.",
        lambda z, y, y_hat, a: cross_entropy(z, y),
    ),
    Mistake(
        "Before the first correction there are no corrected labels (None), and alpha counts as 0: the noisy labels "
        "then have the whole weight 1.",
        _halved_before,
    ),
    Mistake(
        "You summed over the batch: take the mean, so that the loss does not depend on the batch size.",
        _each(lambda z, y: cross_entropy(z, y, reduction="sum")),
    ),
    Mistake(
        "You left out the softmax: cross-entropy needs the logarithm of probabilities, not logits.",
        _each(lambda z, y: -_picked(z, y).mean()),
    ),
    Mistake(
        "You left out the logarithm: cross-entropy is minus the log of the label's probability.",
        _each(lambda z, y: -_picked(z.softmax(dim=1), y).mean()),
    ),
    Mistake(
        "You took the softmax twice: torch's cross_entropy wants logits and takes the softmax itself.",
        _each(lambda z, y: cross_entropy(z.softmax(dim=1), y)),
    ),
    Mistake(
        "The sign is wrong: cross-entropy is minus the log of the label's probability.",
        _each(lambda z, y: -cross_entropy(z, y)),
    ),
]


# --- chance ----------------------------------------------------------------------------------------------------------


def _shares(labels: Tensor, k: int) -> Tensor:
    return torch.bincount(labels, minlength=k).double() / len(labels)


CHANCE = [
    Mistake(
        "You took 1 − Σ p_c², the noisy shares with themselves. The corrected labels have shares of their own: "
        "1 − Σ q_c q̂_c.",
        lambda y, y_hat, k: 1 - _shares(y, k) @ _shares(y, k),
    ),
    Mistake(
        "You took the corrected shares with themselves: 1 − Σ q_c q̂_c needs the noisy ones too.",
        lambda y, y_hat, k: 1 - _shares(y_hat, k) @ _shares(y_hat, k),
    ),
    Mistake(
        "You took 1 − 1/K. That holds only where all classes are equally frequent.",
        lambda y, y_hat, k: 1 - 1 / k,
    ),
    Mistake(
        "That is the chance that the label stays: take 1 minus it.",
        lambda y, y_hat, k: _shares(y, k) @ _shares(y_hat, k),
    ),
    Mistake(
        "That is the share that did change. The chance level asks what it would be if corrected labels were dealt out "
        "blindly.",
        lambda y, y_hat, k: (y != y_hat).double().mean(),
    ),
    Mistake(
        "You multiplied counts: divide them by the number of samples first.",
        lambda y, y_hat, k: 1 - torch.bincount(y, minlength=k).double() @ torch.bincount(y_hat, minlength=k).double(),
    ),
]


# --- mended ----------------------------------------------------------------------------------------------------------


def mended(noisy_labels: Tensor, corrected_labels: Tensor, clean_labels: Tensor) -> Tensor:
    """The share of samples whose label was wrong and is right now."""
    return ((noisy_labels != clean_labels) & (corrected_labels == clean_labels)).double().mean()


MENDED = [
    Mistake(
        "You counted every label that is right now. Mended are only those that were wrong before.",
        lambda y, y_hat, clean: (y_hat == clean).double().mean(),
    ),
    Mistake(
        "That is the share spoilt: right before, wrong now.",
        lambda y, y_hat, clean: ((y == clean) & (y_hat != clean)).double().mean(),
    ),
    Mistake(
        "That is the share changed. A changed label may have been right before, or may be wrong still.",
        lambda y, y_hat, clean: (y != y_hat).double().mean(),
    ),
    Mistake(
        "You counted every wrong label that was changed: some were changed to another wrong one.",
        lambda y, y_hat, clean: ((y != clean) & (y_hat != y)).double().mean(),
    ),
    Mistake(
        "You divided by the number of wrong labels: divide by the number of all samples.",
        lambda y, y_hat, clean: (y_hat == clean)[y != clean].double().mean(),
    ),
    Mistake(
        "You returned how many: divide by the number of samples.",
        lambda y, y_hat, clean: ((y != clean) & (y_hat == clean)).sum(),
    ),
    Mistake(
        "You took mended minus spoilt: here only the mended ones count.",
        lambda y, y_hat, clean: mended(y, y_hat, clean) - ((y == clean) & (y_hat != clean)).double().mean(),
    ),
]


# --- memorised -------------------------------------------------------------------------------------------------------


def memorised(predicted: Tensor, noisy_labels: Tensor, clean_labels: Tensor) -> Tensor:
    """Among the wrongly labelled samples, the share for which the network gives the wrong label it was given."""
    return (predicted == noisy_labels)[noisy_labels != clean_labels].double().mean()


MEMORISED = [
    Mistake(
        "You looked at all samples: memorising is about the wrongly labelled ones only.",
        lambda f, y, clean: (f == y).double().mean(),
    ),
    Mistake(
        "You compared with the true labels. Memorised means: the network gives the wrong label that it was given.",
        lambda f, y, clean: (f == clean)[y != clean].double().mean(),
    ),
    Mistake(
        "You divided by the number of all samples: divide by the number of wrongly labelled ones.",
        lambda f, y, clean: ((f == y) & (y != clean)).double().mean(),
    ),
    Mistake(
        "You looked at the rightly labelled samples: take those whose noisy label differs from the clean one.",
        lambda f, y, clean: (f == y)[y == clean].double().mean(),
    ),
    Mistake(
        "You counted every wrong answer on them: only the given, wrong label counts, not some third class.",
        lambda f, y, clean: (f != clean)[y != clean].double().mean(),
    ),
    Mistake(
        "You returned how many: divide by the number of wrongly labelled samples.",
        lambda f, y, clean: ((f == y) & (y != clean)).sum(),
    ),
]


# --- transition matrix -----------------------------------------------------------------------------------------------


def transition(clean_labels: Tensor, noisy_labels: Tensor, num_classes: int) -> Tensor:
    """Rows are true classes, columns are given labels, rows sum to 1."""
    counts = _counts(clean_labels, noisy_labels, num_classes)
    return counts / counts.sum(dim=1, keepdim=True)


def _counts(clean: Tensor, noisy: Tensor, k: int) -> Tensor:
    return torch.bincount(clean * k + noisy, minlength=k * k).view(k, k).double()


TRANSITION = [
    Mistake(
        "Rows and columns are swapped: rows are true classes, columns are given labels.",
        lambda clean, y, k: transition(clean, y, k).T,
    ),
    Mistake(
        "Your columns sum to 1: divide each row by its sum (dim=1, keepdim=True).",
        lambda clean, y, k: _counts(clean, y, k) / _counts(clean, y, k).sum(dim=0, keepdim=True),
    ),
    Mistake(
        "The whole matrix sums to 1: each row must, so divide by the number of samples of the true class.",
        lambda clean, y, k: _counts(clean, y, k) / len(y),
    ),
    Mistake("These are counts: divide each row by its sum.", _counts),
    Mistake(
        "Rows and columns are swapped, and the columns of the matrix wanted sum to something else than 1: rows are "
        "true classes, and each row sums to 1.",
        lambda clean, y, k: transition(y, clean, k),
    ),
]


# --- symmetric noise -------------------------------------------------------------------------------------------------


def symmetric_matrix(noise_rate: float, num_classes: int) -> Tensor:
    """T of symmetric noise: 1 - r on the diagonal, r / (K - 1) elsewhere."""
    matrix = torch.full((num_classes, num_classes), noise_rate / (num_classes - 1), dtype=torch.float64)
    return matrix.fill_diagonal_(1 - noise_rate)


SYMMETRIC_MATRIX = [
    Mistake(
        "You spread the rate over all K classes, the true one too. A flipped label is always wrong: spread it over "
        "the K − 1 others.",
        lambda r, k: torch.full((k, k), r / k).fill_diagonal_(1 - r + r / k),
    ),
    Mistake(
        "Your rows do not sum to 1: each of the K − 1 wrong labels gets r / (K − 1).",
        lambda r, k: torch.full((k, k), r / k).fill_diagonal_(1 - r),
    ),
    Mistake(
        "Every wrong label got the whole rate: all K − 1 together have it.",
        lambda r, k: torch.full((k, k), r).fill_diagonal_(1 - r),
    ),
    Mistake(
        "The diagonal holds the wrong labels: a label stays right with probability 1 − r.",
        lambda r, k: torch.full((k, k), (1 - r) / (k - 1)).fill_diagonal_(r),
    ),
    Mistake("That is the matrix without noise: the rate is missing.", lambda r, k: torch.eye(k)),
]
