"""The usual mistakes in the choice of prototypes and in the margin of a label."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor

from dsl_lessons.exercises.judge import Function, Wrong, given
from dsl_teach.prototypes import label_margin
from dsl_teach.prototypes.selection import choose


def plain_choose(rho: Tensor, eta: Tensor, *, p: int, eta_max: float) -> Tensor:
    """The library's choice as the lessons write it: filled up, the smaller eta first at equal rho."""
    return choose(rho, eta, p=p, eta_max=eta_max, fill_up=True, cut_ties="eta")


def _ranked(rank: Tensor, p: int) -> Tensor:
    return rank.argsort(descending=True, stable=True)[:p]


def _of(rho: Tensor, mask: Tensor, p: int) -> Tensor:
    rows = mask.nonzero().flatten()
    return rows[_ranked(rho[rows], p)]


def _by(key: Callable[[int, float, float], Any]) -> Function:
    """The first p rows in the order of a key of rho, eta and the gate."""

    def chosen(rho: Tensor, eta: Tensor, p: int, eta_max: float) -> Tensor:
        rows = sorted(range(len(rho)), key=lambda i: key(int(rho[i]), float(eta[i]), eta_max))
        return torch.tensor(rows[:p], dtype=torch.int64)

    return chosen


SELECTION: Wrong = {
    "gate reversed": _by(lambda rho, eta, gate: (not eta > gate, -rho, eta)),
    "gate reversed (too few)": lambda rho, eta, p, eta_max: _of(rho, eta > eta_max, p),
    "places": lambda rho, eta, p, eta_max: _ranked(rho[eta < eta_max], p),
    "largest eta": lambda rho, eta, p, eta_max: _ranked(eta, p),
    "eta alone": lambda rho, eta, p, eta_max: _ranked(-eta, p),
    "no gate": lambda rho, eta, p, eta_max: plain_choose(rho, eta, p=p, eta_max=torch.inf),
    "no gate, smaller row": lambda rho, eta, p, eta_max: _ranked(rho, p),
    "smallest rho": _by(lambda rho, eta, gate: (not eta < gate, rho, eta)),
    "smallest rho (filled up)": _by(lambda rho, eta, gate: (0, rho, eta) if eta < gate else (1, eta)),
    "at the gate": lambda rho, eta, p, eta_max: plain_choose(rho, eta - 1e-4 * (eta == eta_max), p=p, eta_max=eta_max),
    "smaller row": partial(choose, fill_up=True, cut_ties="index"),
    "eta only at the gate": lambda rho, eta, p, eta_max: _ranked(rho.double().where(eta < eta_max, -torch.inf), p),
    "larger eta": _by(lambda rho, eta, gate: (0, -rho, -eta) if eta < gate else (1, eta)),
    "too few": partial(choose, fill_up=False, cut_ties="eta"),
    "too few, smaller row": partial(choose, fill_up=False, cut_ties="index"),
    "filled by rho": _by(lambda rho, eta, gate: (not eta < gate, -rho, eta)),
}


MARGIN: Wrong = {
    "best of all": lambda s, y: given(s, y) - s.amax(dim=1),
    "sign": lambda s, y: -label_margin(s, y),
    "best alone": lambda s, y: s.amax(dim=1),
    "one minus": lambda s, y: 1 - given(s, y),
    "given alone": given,
    "two best": lambda s, y: s.topk(2, dim=1).values @ torch.tensor([1.0, -1.0]),
    "mean of others": lambda s, y: given(s, y) - (s.sum(dim=1) - given(s, y)) / (s.shape[1] - 1),
}
