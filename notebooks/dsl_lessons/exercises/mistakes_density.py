"""The usual mistakes in S, S_c, rho and eta."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn.functional import normalize

from dsl_lessons.exercises.judge import Wrong
from dsl_teach.prototypes import cosine_similarity, density, eta, similarity_threshold


def _naive_cosine(x: Tensor) -> Tensor:
    rows = x / x.norm(dim=1, keepdim=True)
    return rows @ rows.T


SIMILARITY: Wrong = {
    "dot products": lambda x: x @ x.T,
    "distance": lambda x: torch.cdist(x, x),
    "cosine distance": lambda x: 1 - cosine_similarity(x),
    "zero row": _naive_cosine,
    "columns": lambda x: normalize(x, dim=0) @ normalize(x, dim=0).T,
    "whole matrix": lambda x: (x / x.norm()) @ (x / x.norm()).T,
    "no diagonal": lambda x: cosine_similarity(x).fill_diagonal_(0),
    "one side": lambda x: normalize(x, dim=1) @ x.T,
    "absolute": lambda x: cosine_similarity(x).abs(),
}


def _one_place_up(s: Tensor, quantile: float) -> Tensor:
    entries = s.flatten().sort().values
    return entries[min(int(quantile * len(entries) + 1e-9), len(entries) - 1)]


THRESHOLD: Wrong = {
    "wrong end": lambda s, q: similarity_threshold(s, 1 - q),
    "no diagonal": lambda s, q: similarity_threshold(s, q, diagonal=False),
    "interpolated": lambda s, q: torch.quantile(s.flatten(), q),
    "wrong end, interpolated": lambda s, q: torch.quantile(s.flatten(), 1 - q),
    "one place up": _one_place_up,
    "face value": lambda s, q: s.flatten().sort().values[math.ceil(round(q * s.numel(), 9))],
    "rounded down": lambda s, q: s.flatten().sort().values[int(q * s.numel()) - 1],
    "rounded down (torch)": lambda s, q: torch.quantile(s.flatten(), q, interpolation="lower"),
    "quantile": lambda s, q: torch.tensor(q),
    "no diagonal, wrong end": lambda s, q: similarity_threshold(s, 1 - q, diagonal=False),
    "mean": lambda s, q: s.mean(),
}


def _without_self(s: Tensor, t: float) -> Tensor:
    return density(s, t) - torch.sign(s.diagonal() - t).long()


DENSITY: Wrong = {
    "no self": _without_self,
    "no self (minus 1)": lambda s, t: density(s, t) - 1,
    "no self (close only)": lambda s, t: (s > t).sum(dim=1) - 1,
    "ties as close": lambda s, t: torch.where(s >= t, 1, -1).sum(dim=1),
    "ties as far": lambda s, t: torch.where(s > t, 1, -1).sum(dim=1),
    "close only": lambda s, t: (s > t).sum(dim=1),
    "close and ties only": lambda s, t: (s >= t).sum(dim=1),
    "differences": lambda s, t: (s - t).sum(dim=1),
    "reversed": lambda s, t: -density(s, t),
    "mean": lambda s, t: torch.sign(s - t).mean(dim=1),
    "far": lambda s, t: (s < t).sum(dim=1),
}


def _max_over(s: Tensor, candidates: Tensor, otherwise: Tensor) -> Tensor:
    best = s.where(candidates, -torch.inf).amax(dim=1)
    return torch.where(best == -torch.inf, otherwise, best)


def _denser(rho: Tensor) -> Tensor:
    return rho[None, :] > rho[:, None]


def _others(rho: Tensor) -> Tensor:
    return ~torch.eye(len(rho), dtype=torch.bool)


def _at_first(rho: Tensor, values: Tensor) -> Tensor:
    return values.where(torch.arange(len(rho)) == rho.argmax(), -torch.inf)


def _smallest_denser(s: Tensor, rho: Tensor) -> Tensor:
    least = s.where(_denser(rho), torch.inf).amin(dim=1)
    return torch.where(least == torch.inf, s.amin(dim=1), least)


ETA: Wrong = {
    "from 1": lambda s, rho: _max_over(s, _denser(rho) | ~_others(rho), s.amin(dim=1)),
    "ties as denser": lambda s, rho: _max_over(s, (rho[None, :] >= rho[:, None]) & _others(rho), s.amin(dim=1)),
    "ties by order": lambda s, rho: eta(s, rho, rho_ties="order"),
    "smallest": _smallest_denser,
    "less dense": lambda s, rho: _max_over(s, rho[None, :] < rho[:, None], s.amin(dim=1)),
    "columns": lambda s, rho: torch.where(
        rho < rho.max(), s.where(_denser(rho), -torch.inf).amax(dim=0), s.amin(dim=1)
    ),
    "columns (no top)": lambda s, rho: s.where(_denser(rho), -torch.inf).amax(dim=0),
    "times the mask": lambda s, rho: torch.where(rho < rho.max(), (s * _denser(rho)).amax(dim=1), s.amin(dim=1)),
    "times the mask (no top)": lambda s, rho: (s * _denser(rho)).amax(dim=1),
    "top: largest": lambda s, rho: _max_over(s, _denser(rho), s.where(_others(rho), -torch.inf).amax(dim=1)),
    "top: 1": lambda s, rho: _max_over(s, _denser(rho), torch.ones(len(rho))),
    "top: 0": lambda s, rho: _max_over(s, _denser(rho), torch.zeros(len(rho))),
    "top: minus 1": lambda s, rho: _max_over(s, _denser(rho), -torch.ones(len(rho))),
    "top: smallest of all": lambda s, rho: _max_over(s, _denser(rho), s.min().expand(len(rho))),
    "top: only one": lambda s, rho: _max_over(s, _denser(rho), _at_first(rho, s.amin(dim=1))),
    "top: minus infinity": lambda s, rho: s.where(_denser(rho), -torch.inf).amax(dim=1),
    "distance": lambda s, rho: 1 - eta(s, rho),
    "any other": lambda s, rho: s.where(_others(rho), -torch.inf).amax(dim=1),
}
