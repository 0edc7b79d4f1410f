"""Checks of a reader's own functions: compare with the library, and name the usual mistake.

Each takes a function with the arguments of the library's, tries it on small inputs, and returns a :class:`Verdict`.
In a notebook: ``checks.check_density(my_density)``.
"""

from __future__ import annotations

import torch
from torch import Tensor

from dsl_lessons.exercises import listings, mistakes_labels, mistakes_losses, mistakes_prototypes
from dsl_lessons.exercises.judge import Function, Verdict, judge, row_numbers
from dsl_lessons.exercises.mistakes_density import DENSITY, ETA, SIMILARITY, THRESHOLD
from dsl_teach.metrics import chance_changed, class_shares
from dsl_teach.noise import noise_report
from dsl_teach.prototypes import cosine_similarity, density, eta, label_margin, similarity_threshold
from dsl_teach.prototypes.correction import soft_labels
from dsl_teach.training.losses import forward_cross_entropy, generalized_cross_entropy, self_learning_loss


def check_similarity(f: Function) -> Verdict:
    """Check ``f(embeddings)``: the cosine of every two rows, (m, m)."""
    by_hand, with_zero = [[3.0, 4.0], [1.0, 0.0], [0.0, -2.0]], [[1.0, 2.0], [0.0, 0.0], [2.0, -1.0]]
    cases = [(by_hand,), (_points(6, 3, 0),), (_points(5, 4, 1),), (with_zero,)]
    return judge(f, cosine_similarity, cases, SIMILARITY)


def check_threshold(f: Function) -> Verdict:
    """Check ``f(similarity, quantile)``: the entry S_c with a share 1 - quantile of the entries above it."""
    sizes = [(3, 0, 0.6), (5, 1, 0.6), (4, 2, 0.75), (7, 3, 0.6), (6, 4, 0.4)]
    return judge(f, similarity_threshold, [(_similarity(m, seed), q) for m, seed, q in sizes], THRESHOLD)


def check_density(f: Function) -> Verdict:
    """Check ``f(similarity, threshold)``: rho, for each sample the sum of sign(S_ij - S_c)."""
    cases = [(_similarity(m, seed, steps=4), 0.25) for m, seed in ((3, 0), (5, 1), (6, 2))]
    tied = torch.full((3, 3), 0.5)
    cases += [(tied, 0.5), (_similarity(5, 7), 0.375), (_similarity(4, 9, steps=4), 1.0)]
    return judge(f, density, cases, DENSITY)


def check_eta(f: Function) -> Verdict:
    """Check ``f(similarity, rho)``: the largest similarity to a denser sample; at the top the smallest of all."""
    rhos = ([2, 1, 3], [5, 3, 4, 1], [3, 3, 1, 2, 1], [0, 2, 2, 2, 1, 0], [1, 1, 1])
    return judge(f, eta, [(_similarity(len(rho), 20 + seed), rho) for seed, rho in enumerate(rhos)], ETA)


def check_selection(f: Function) -> Verdict:
    """Check ``f(rho, eta, p=..., eta_max=...)``: the rows of the p prototypes, in any order.

    Among the samples with eta < eta_max those with the greatest rho; at equal rho the smaller eta. If fewer than p
    pass, the smallest remaining eta fill up.
    """
    cases = [
        ([5, 4, 3, 1], [0.1, 0.99, 0.5, 0.2]),
        ([5, 4, 3, 3, 2, 1], [0.2, 0.97, 0.9, 0.3, 0.1, 0.99]),
        ([9, 7, 5, 3, 1], [0.3, 0.95, 0.5, 0.6, 0.2]),
        ([6, 5, 4, 2], [0.5, 0.99, 0.96, 0.97]),
        ([4, 4, 4, 2], [0.9, 0.2, 0.5, 0.1]),
    ]
    inputs = [(rho, torch.tensor(eta_, dtype=torch.float64), 2, 0.95) for rho, eta_ in cases]
    return judge(f, mistakes_prototypes.plain_choose, inputs, mistakes_prototypes.SELECTION, read=row_numbers)


def check_scores(f: Function) -> Verdict:
    """Check ``f(embeddings, prototypes)``: (N, K), the mean cosine to each class's prototypes.

    ``embeddings`` are (N, D); ``prototypes`` are (K, P, D), every place filled.
    """
    shapes = ((1, 2, 2, 2, 0), (5, 3, 2, 4, 1), (4, 2, 3, 3, 2))
    cases = [(_points(n, d, 30 + s), _points(k * p, d, 40 + s).view(k, p, d)) for n, k, p, d, s in shapes]
    return judge(f, mistakes_prototypes.plain_scores, cases, mistakes_prototypes.SCORES)


def check_loss(f: Function) -> Verdict:
    """Check ``f(logits, noisy_labels, corrected_labels, alpha)``: the self-learning loss, a single number.

    Before the first correction ``corrected_labels`` is None.
    """
    cases = [
        (_points(2, 2, 50), [0, 1], [1, 1], 0.25),
        (_points(5, 3, 51), [0, 1, 2, 2, 1], [0, 2, 2, 1, 1], 0.75),
        (_points(4, 3, 52), [0, 1, 2, 0], [1, 1, 0, 0], 1.0),
        (_points(4, 3, 53), [2, 1, 2, 0], [1, 1, 0, 0], 0.0),
        (_points(3, 3, 54), [2, 1, 0], None, 0.25),
    ]
    return judge(f, self_learning_loss, cases, mistakes_losses.LOSS)


def check_chance(f: Function) -> Verdict:
    """Check ``f(noisy_labels, corrected_labels, num_classes)``: the share that would change by chance."""
    cases = [([0, 0, 0, 1], [0, 1, 1, 1], 2), ([0, 1, 2, 2, 2, 0], [0, 0, 1, 2, 0, 0], 3), ([0, 0], [0, 0], 3)]
    return judge(f, chance_changed, cases, mistakes_labels.CHANCE)


def check_fixed(f: Function) -> Verdict:
    """Check ``f(noisy_labels, corrected_labels, clean_labels)``: the share of all labels that was fixed."""
    return judge(f, mistakes_labels.fixed, [_labels(60, 3), _labels(61, 3), _labels(62, 4)], mistakes_labels.FIXED)


def check_memorised(f: Function) -> Verdict:
    """Check ``f(predicted, noisy_labels, clean_labels)``: of the wrong labels, the share that the network gives."""
    cases = [_labels(70, 3), _labels(71, 3), _labels(72, 4)]
    return judge(f, mistakes_labels.memorised, cases, mistakes_labels.MEMORISED)


def check_transition(f: Function) -> Verdict:
    """Check ``f(clean_labels, noisy_labels, num_classes)``: the transition matrix, rows sum to 1."""
    cases = [([0, 0, 0, 1], [0, 1, 0, 1], 2), ([0, 1, 2, 2, 2, 0, 1], [0, 0, 2, 1, 0, 2, 1], 3)]
    return judge(f, mistakes_labels.transition, cases, mistakes_labels.TRANSITION)


def check_symmetric_matrix(f: Function) -> Verdict:
    """Check ``f(noise_rate, num_classes)``: the transition matrix of symmetric noise."""
    cases = [(0.25, 2), (0.5, 3), (0.75, 5), (0.0, 3)]
    return judge(f, mistakes_labels.symmetric_matrix, cases, mistakes_labels.SYMMETRIC_MATRIX)


def check_shares(f: Function) -> Verdict:
    """Check ``f(labels, num_classes)``: (K,) the share of each class; labels of -1 are unknown."""
    cases = [([0, 0, 0, 1], 2), ([2, 1, -1, 1, 1, 2, -1], 3), ([0, 3, 3, -1, 1], 4)]
    return judge(f, class_shares, cases, mistakes_labels.SHARES)


def check_direction(f: Function) -> Verdict:
    """Check ``f(clean_labels, noisy_labels, num_classes)``: of the wrong labels, the share to more frequent classes."""
    cases = [
        ([0, 0, 0, 1, 1, 2], [0, 1, 0, 0, 2, 1], 3),
        ([0, 0, 1, 1, 1, 2, 2], [1, 1, 1, 0, 0, 1, 0], 3),
        ([1, 1, 1, 0, 0], [1, 0, 0, 1, 0], 2),
    ]
    return judge(f, lambda t, y, k: noise_report(t, y, k).share_to_frequent, cases, mistakes_labels.DIRECTION)


def check_soft(f: Function) -> Verdict:
    """Check ``f(class_scores, temperature)``: (N, K) soft labels, each row sums to 1."""
    cases = [(_points(2, 3, 82).double(), 0.5), (_points(4, 2, 84).double(), 2.0)]
    return judge(f, soft_labels, cases, mistakes_labels.SOFT)


def check_hours(f: Function) -> Verdict:
    """Check ``f(images, epochs, rate, gpus)``: hours to train, ``rate`` being images a second of one GPU."""
    cases = [(3600, 2, 4.0, 1), (1_000_000, 15, 500.0, 8), (90_000, 10, 50.0, 2)]
    return judge(f, mistakes_labels.run_hours, cases, mistakes_labels.HOURS)


def check_gce(f: Function) -> Verdict:
    """Check ``f(logits, noisy_labels, q)``: generalized cross-entropy, the mean over the batch."""
    cases = [([[0.0, 1.1]], [1], 0.5), ([[0.5, 1.0, -1.0], [2.0, 0.0, 0.5]], [0, 2], 0.7), ([[0.0, 2.0]], [0], 1.0)]
    return judge(f, generalized_cross_entropy, cases, mistakes_losses.GCE)


def check_forward(f: Function) -> Verdict:
    """Check ``f(logits, noisy_labels, transition_matrix)``: forward cross-entropy, the mean over the batch."""
    three = [[0.6, 0.3, 0.1], [0.0, 0.9, 0.1], [0.3, 0.3, 0.4]]
    cases = [
        ([[0.0, 1.0]], [1], [[0.75, 0.25], [0.5, 0.5]]),
        ([[0.5, 1.0, -1.0], [2.0, 0.0, 0.5]], [0, 2], three),
    ]
    return judge(f, forward_cross_entropy, cases, mistakes_losses.FORWARD)


def check_margin(f: Function) -> Verdict:
    """Check ``f(class_scores, noisy_labels)``: (N,) how far the given class is ahead of the best other one."""
    cases = [([[0.5, 0.75, 0.25]], [0]), ([[0.1, 0.9, 0.4], [0.7, 0.2, 0.6], [0.3, 0.3, 0.8]], [1, 1, 2])]
    return judge(f, label_margin, cases, mistakes_prototypes.MARGIN)


def check_paired(f: Function) -> Verdict:
    """Check ``f(ours, theirs)``: two numbers, the mean of the paired differences and its standard error."""
    cases = [([5.0, 7.0, 9.0], [4.0, 7.0, 7.0]), ([81.0, 75.0, 78.0, 80.0], [70.0, 69.0, 66.0, 73.0])]
    return judge(f, mistakes_labels.paired, cases, mistakes_labels.PAIRED)


def check_bug(answer: tuple[str, int]) -> Verdict:
    """Check the marked line of a faulty listing: its name and the number of the line; see ``exercises/listings.py``."""
    return Verdict(*listings.mark(answer))


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


def _labels(seed: int, k: int) -> tuple[Tensor, ...]:
    """Three times the random labels of eight samples."""
    generator = torch.Generator().manual_seed(seed)
    return tuple(torch.randint(k, (8,), generator=generator) for _ in range(3))
