"""Checks of a reader's own functions: compare with the library, and name the usual mistake.

Each takes a function with the arguments of the library's, tries it on small inputs, and returns a :class:`Verdict`.
In a notebook: ``checks.check_density(my_density)``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from dsl_teach.noise.direction import share_to_frequent
from torch import Tensor

from dsl_lessons.judging import Function, Verdict, judge, row_numbers
from dsl_lessons.mistakes import comparison, full_runs
from dsl_lessons.mistakes.density import DENSITY, ETA, SIMILARITY, THRESHOLD
from dsl_lessons.mistakes.labels import (
    CHANCE,
    LOSS,
    MEMORISED,
    MENDED,
    SYMMETRIC_MATRIX,
    TRANSITION,
    memorised,
    mended,
    symmetric_matrix,
    transition,
)
from dsl_lessons.mistakes.prototypes import SCORES, SELECTION, plain_choose, plain_scores
from dsl_lessons.suspects import listings
from dsl_teach.metrics import chance_changed, class_shares
from dsl_teach.prototypes import cosine_similarity, density, eta, similarity_threshold, suspicion
from dsl_teach.training.losses import forward_cross_entropy, generalized_cross_entropy, self_learning_loss


def check_similarity(f: Function) -> Verdict:
    """Check ``f(embeddings)``: the cosine of every two rows, (m, m)."""
    inputs = [{"embeddings": points} for points in (_GRID_POINTS, _points(6, 3, 0), _points(5, 4, 1), _WITH_ZERO)]
    return judge(f, cosine_similarity, inputs, SIMILARITY)


def check_threshold(f: Function) -> Verdict:
    """Check ``f(similarity, quantile)``: the entry S_c with a share 1 - quantile of the entries above it."""
    inputs = [{"similarity": _similarity(m, seed), "quantile": q} for m, seed, q in _THRESHOLD_CASES]
    return judge(f, similarity_threshold, inputs, THRESHOLD)


def check_density(f: Function) -> Verdict:
    """Check ``f(similarity, threshold)``: rho, for each sample the sum of sign(S_ij - S_c)."""
    inputs = [{"similarity": _similarity(m, seed, steps=4), "threshold": 0.25} for m, seed in ((3, 0), (5, 1), (6, 2))]
    tied = torch.full((3, 3), 0.5)
    inputs += [{"similarity": tied, "threshold": 0.5}, {"similarity": _similarity(5, 7), "threshold": 0.375}]
    inputs += [{"similarity": _similarity(4, 9, steps=4), "threshold": 1.0}]
    return judge(f, density, inputs, DENSITY)


def check_eta(f: Function) -> Verdict:
    """Check ``f(similarity, rho)``: the largest similarity to a denser sample; at the top the smallest of all."""
    inputs = []
    for seed, rho in enumerate(([2, 1, 3], [5, 3, 4, 1], [3, 3, 1, 2, 1], [0, 2, 2, 2, 1, 0], [1, 1, 1])):
        inputs.append({"similarity": _similarity(len(rho), 20 + seed), "rho": torch.tensor(rho)})
    return judge(f, eta, inputs, ETA)


def check_selection(f: Function) -> Verdict:
    """Check ``f(rho, eta, p=..., eta_max=...)``: the rows of the p prototypes, in any order.

    Among the samples with eta < eta_max those with the greatest rho; at equal rho the smaller eta. If fewer than p
    pass, the smallest remaining eta fill up.
    """
    inputs = [
        {"rho": torch.tensor(rho), "eta": torch.tensor(eta_, dtype=torch.float64), "p": p, "eta_max": 0.95}
        for rho, eta_, p in _SELECTION_CASES
    ]
    return judge(f, plain_choose, inputs, SELECTION, prepare=row_numbers)


check_prototypes = check_selection


def check_scores(f: Function) -> Verdict:
    """Check ``f(embeddings, prototypes)``: (N, K), the mean cosine to each class's prototypes.

    ``embeddings`` are (N, D); ``prototypes`` are (K, P, D), every place filled.
    """
    shapes = ((1, 2, 2, 2, 0), (5, 3, 2, 4, 1), (4, 2, 3, 3, 2))
    inputs = [
        {"embeddings": _points(n, d, 30 + seed), "prototypes": _points(k * p, d, 40 + seed).view(k, p, d)}
        for n, k, p, d, seed in shapes
    ]
    return judge(f, plain_scores, inputs, SCORES)


def check_loss(f: Function) -> Verdict:
    """Check ``f(logits, noisy_labels, corrected_labels, alpha)``: the self-learning loss, a single number.

    Before the first correction ``corrected_labels`` is None.
    """
    names = ("logits", "noisy_labels", "corrected_labels", "alpha")
    cases = [
        (_points(2, 2, 50), torch.tensor([0, 1]), torch.tensor([1, 1]), 0.25),
        (_points(5, 3, 51), torch.tensor([0, 1, 2, 2, 1]), torch.tensor([0, 2, 2, 1, 1]), 0.75),
        (_points(4, 3, 52), torch.tensor([0, 1, 2, 0]), torch.tensor([1, 1, 0, 0]), 1.0),
        (_points(4, 3, 53), torch.tensor([2, 1, 2, 0]), torch.tensor([1, 1, 0, 0]), 0.0),
        (_points(3, 3, 54), torch.tensor([2, 1, 0]), None, 0.25),
    ]
    return judge(f, self_learning_loss, [dict(zip(names, case, strict=True)) for case in cases], LOSS)


def check_chance(f: Function) -> Verdict:
    """Check ``f(noisy_labels, corrected_labels, num_classes)``: the share that would change by chance."""
    cases = [([0, 0, 0, 1], [0, 1, 1, 1], 2), ([0, 1, 2, 2, 2, 0], [0, 0, 1, 2, 0, 0], 3), ([0, 0], [0, 0], 3)]
    inputs = [
        {"noisy_labels": torch.tensor(y), "corrected_labels": torch.tensor(y_hat), "num_classes": k}
        for y, y_hat, k in cases
    ]
    return judge(f, chance_changed, inputs, CHANCE)


def check_mended(f: Function) -> Verdict:
    """Check ``f(noisy_labels, corrected_labels, clean_labels)``: the share of all labels that was mended."""
    names = ("noisy_labels", "corrected_labels", "clean_labels")
    inputs = [_labels(names, seed, k) for seed, k in ((60, 3), (61, 3), (62, 4))]
    return judge(f, mended, inputs, MENDED)


def check_memorised(f: Function) -> Verdict:
    """Check ``f(predicted, noisy_labels, clean_labels)``: of the wrong labels, the share that the network gives."""
    names = ("predicted", "noisy_labels", "clean_labels")
    inputs = [_labels(names, seed, k) for seed, k in ((70, 3), (71, 3), (72, 4))]
    return judge(f, memorised, inputs, MEMORISED)


def check_transition(f: Function) -> Verdict:
    """Check ``f(clean_labels, noisy_labels, num_classes)``: the transition matrix, rows sum to 1."""
    cases = (([0, 0, 0, 1], [0, 1, 0, 1], 2), ([0, 1, 2, 2, 2, 0, 1], [0, 0, 2, 1, 0, 2, 1], 3))
    inputs = [
        {"clean_labels": torch.tensor(clean), "noisy_labels": torch.tensor(y), "num_classes": k}
        for clean, y, k in cases
    ]
    return judge(f, transition, inputs, TRANSITION)


def check_symmetric_matrix(f: Function) -> Verdict:
    """Check ``f(noise_rate, num_classes)``: the transition matrix of symmetric noise."""
    inputs = [{"noise_rate": r, "num_classes": k} for r, k in ((0.25, 2), (0.5, 3), (0.75, 5), (0.0, 3))]
    return judge(f, symmetric_matrix, inputs, SYMMETRIC_MATRIX)


def check_shares(f: Function) -> Verdict:
    """Check ``f(labels, num_classes)``: (K,) the share of each class; labels of -1 are unknown."""
    cases = (([0, 0, 0, 1], 2), ([2, 1, -1, 1, 1, 2, -1], 3), ([0, 3, 3, -1, 1], 4))
    inputs = [{"labels": torch.tensor(labels), "num_classes": k} for labels, k in cases]
    return judge(f, class_shares, inputs, full_runs.SHARES)


def check_direction(f: Function) -> Verdict:
    """Check ``f(clean_labels, noisy_labels, num_classes)``: of the wrong labels, the share to more frequent classes."""
    cases = (([0, 0, 0, 1, 1, 2], [0, 1, 0, 0, 2, 1], 3), ([0, 0, 1, 1, 1, 2, 2], [1, 1, 1, 0, 0, 1, 0], 3),
             ([1, 1, 1, 0, 0], [1, 0, 0, 1, 0], 2))  # fmt: skip
    inputs = [
        {"clean_labels": torch.tensor(clean), "noisy_labels": torch.tensor(y), "num_classes": k}
        for clean, y, k in cases
    ]
    return judge(f, share_to_frequent, inputs, full_runs.DIRECTION)


def check_soft(f: Function) -> Verdict:
    """Check ``f(class_scores, temperature)``: (N, K) soft labels, each row sums to 1."""
    inputs = [
        {"class_scores": _points(n, k, 80 + n).double(), "temperature": t} for n, k, t in ((2, 3, 0.5), (4, 2, 2.0))
    ]
    return judge(f, full_runs.soft_label, inputs, full_runs.SOFT)


def check_hours(f: Function) -> Verdict:
    """Check ``f(images, epochs, rate, gpus)``: hours to train, ``rate`` being images a second of one GPU."""
    cases = ((3600, 2, 4.0, 1), (1_000_000, 15, 500.0, 8), (90_000, 10, 50.0, 2))
    inputs = [dict(zip(("images", "epochs", "rate", "gpus"), case, strict=True)) for case in cases]
    return judge(f, full_runs.run_hours, inputs, full_runs.HOURS)


def check_bug(answer: tuple[str, int]) -> Verdict:
    """Check the marked line of a faulty listing: its name, and the number of the line; see ``lab.listings``."""
    return Verdict(*listings.mark(answer))


def check_gce(f: Function) -> Verdict:
    """Check ``f(logits, noisy_labels, q)``: generalized cross-entropy, the mean over the batch."""
    cases = (([[0.0, 1.1]], [1], 0.5), ([[0.5, 1.0, -1.0], [2.0, 0.0, 0.5]], [0, 2], 0.7), ([[0.0, 2.0]], [0], 1.0))
    inputs = [{"logits": torch.tensor(x), "noisy_labels": torch.tensor(y), "q": q} for x, y, q in cases]
    return judge(f, generalized_cross_entropy, inputs, comparison.GCE)


def check_forward(f: Function) -> Verdict:
    """Check ``f(logits, noisy_labels, transition_matrix)``: forward cross-entropy, the mean over the batch."""
    matrices = (
        torch.tensor([[0.75, 0.25], [0.5, 0.5]]),
        torch.tensor([[0.6, 0.3, 0.1], [0.0, 0.9, 0.1], [0.3, 0.3, 0.4]]),
    )
    cases = (([[0.0, 1.0]], [1], matrices[0]), ([[0.5, 1.0, -1.0], [2.0, 0.0, 0.5]], [0, 2], matrices[1]))
    names = ("logits", "noisy_labels", "transition_matrix")
    inputs = [dict(zip(names, (torch.tensor(x), torch.tensor(y), t), strict=True)) for x, y, t in cases]
    return judge(f, forward_cross_entropy, inputs, comparison.FORWARD)


def check_suspicion(f: Function) -> Verdict:
    """Check ``f(class_scores, noisy_labels)``: (N,) how far the best other class is ahead of the given one."""
    cases = (([[0.5, 0.75, 0.25]], [0]), ([[0.1, 0.9, 0.4], [0.7, 0.2, 0.6], [0.3, 0.3, 0.8]], [1, 1, 2]))
    inputs = [{"class_scores": torch.tensor(x), "noisy_labels": torch.tensor(y)} for x, y in cases]
    return judge(f, suspicion, inputs, comparison.SUSPICION)


def check_paired(f: Function) -> Verdict:
    """Check ``f(ours, theirs)``: two numbers, the mean of the paired differences and its standard error."""
    cases = (([5.0, 7.0, 9.0], [4.0, 7.0, 7.0]), ([81.0, 75.0, 78.0, 80.0], [70.0, 69.0, 66.0, 73.0]))
    inputs = [{"ours": torch.tensor(x), "theirs": torch.tensor(y)} for x, y in cases]
    return judge(f, comparison.paired, inputs, comparison.PAIRED)


def _points(n: int, d: int, seed: int) -> Tensor:
    """Small random points of uneven length."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(-8, 9, (n, d), generator=generator).float().add(0.5) / 4


def _similarity(m: int, seed: int, *, steps: int = 16) -> Tensor:
    """A symmetric matrix with 1 on its diagonal; its entries are exact, so that ties are ties."""
    generator = torch.Generator().manual_seed(seed)
    entries = torch.randint(-steps // 2, steps, (m, m), generator=generator).float() / steps
    upper = entries.triu(diagonal=1)
    return upper + upper.T + torch.eye(m)


def _labels(names: Sequence[str], seed: int, k: int) -> dict[str, Any]:
    """Random labels of eight samples under several names."""
    generator = torch.Generator().manual_seed(seed)
    return {name: torch.randint(k, (8,), generator=generator) for name in names}


_GRID_POINTS = torch.tensor([[3.0, 4.0], [1.0, 0.0], [0.0, -2.0]])
_WITH_ZERO = torch.tensor([[1.0, 2.0], [0.0, 0.0], [2.0, -1.0]])
_THRESHOLD_CASES = [(3, 0, 0.6), (5, 1, 0.6), (4, 2, 0.75), (7, 3, 0.6), (6, 4, 0.4)]
_SELECTION_CASES = [
    ([5, 4, 3, 1], [0.1, 0.99, 0.5, 0.2], 2),
    ([5, 4, 3, 3, 2, 1], [0.2, 0.97, 0.9, 0.3, 0.1, 0.99], 2),
    ([9, 7, 5, 3, 1], [0.3, 0.95, 0.5, 0.6, 0.2], 2),
    ([6, 5, 4, 2], [0.5, 0.99, 0.96, 0.97], 2),
    ([4, 4, 4, 2], [0.9, 0.2, 0.5, 0.1], 2),
]
