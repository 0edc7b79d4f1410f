"""Checks of a reader's own functions: compare with the library, and name the usual mistake.

Each takes a function with the arguments of the library's, tries it on small inputs, and returns a :class:`Verdict`.
In a notebook: ``checks.check_density(my_density)``.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import count
from pathlib import Path
from typing import Any

import torch
import yaml
from torch import Tensor, nn

from dsl_lessons.exercises import (
    listings,
    mistakes_capstone,
    mistakes_labels,
    mistakes_losses,
    mistakes_prototypes,
    mistakes_review,
)
from dsl_lessons.exercises.judge import (
    Function,
    NoAnswer,
    Verdict,
    judge,
    numbers,
    require_arguments,
    row_numbers,
    told,
)
from dsl_lessons.exercises.mistakes_density import DENSITY, ETA, SIMILARITY, THRESHOLD
from dsl_teach.config import Settings
from dsl_teach.data import load_dataset
from dsl_teach.data.batches import Batch
from dsl_teach.data.dataset import NoisyDataset
from dsl_teach.data.toy import toy_clusters
from dsl_teach.metrics import accuracy, class_shares
from dsl_teach.noise import noise_report
from dsl_teach.prototypes import cosine_similarity, density, eta, label_margin, similarity_threshold
from dsl_teach.seeds import lent, stream
from dsl_teach.training.evaluation import evaluate
from dsl_teach.training.loop import fit
from dsl_teach.training.losses import generalized_cross_entropy, self_learning_loss
from dsl_teach.training.networks import EmbeddingNetwork
from dsl_teach.training.records import Callback, State
from dsl_teach.training.runs import first_network, make_batches


def check_similarity(f: Function) -> Verdict:
    """Check ``f(embeddings)``: the cosine of every two rows, (m, m)."""
    by_hand, with_zero = [[3.0, 4.0], [1.0, 0.0], [0.0, -2.0]], [[1.0, 2.0], [0.0, 0.0], [2.0, -1.0]]
    cases = [(by_hand,), (_points(6, 3, 0),), (_points(5, 4, 1),), (with_zero,)]
    return judge(f, cosine_similarity, cases, told("similarity", SIMILARITY))


def check_threshold(f: Function) -> Verdict:
    """Check ``f(similarity, quantile)``: the entry S_c with a share 1 - quantile of the entries above it."""
    sizes = [(3, 0, 0.6), (5, 1, 0.6), (4, 2, 0.75), (8, 1, 0.6), (6, 0, 0.4)]
    return judge(
        f, similarity_threshold, [(_similarity(m, seed), q) for m, seed, q in sizes], told("threshold", THRESHOLD)
    )


def check_density(f: Function) -> Verdict:
    """Check ``f(similarity, threshold)``: rho, for each sample the sum of sign(S_ij - S_c)."""
    cases = [(_similarity(m, seed, steps=4), 0.25) for m, seed in ((3, 0), (5, 1), (6, 2))]
    tied = torch.full((3, 3), 0.5)
    cases += [(tied, 0.5), (_similarity(5, 7), 0.375), (_similarity(4, 9, steps=4), 1.0)]
    return judge(f, density, cases, told("density", DENSITY))


def check_eta(f: Function) -> Verdict:
    """Check ``f(similarity, rho)``: the largest similarity to a denser sample; at the top the smallest of all."""
    rhos = ([2, 1, 3], [5, 3, 4, 1], [3, 3, 1, 2, 1], [0, 2, 2, 2, 1, 0], [1, 1, 1])
    return judge(f, eta, [(_similarity(len(rho), 20 + seed), rho) for seed, rho in enumerate(rhos)], told("eta", ETA))


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
    return judge(
        f, mistakes_prototypes.plain_choose, inputs, told("selection", mistakes_prototypes.SELECTION), read=row_numbers
    )


def check_loss(f: Function) -> Verdict:
    """Check ``f(logits, noisy_labels, corrected_labels, alpha)``: the self-learning loss, a single number.

    Before the first correction ``corrected_labels`` is None. The logits must get a gradient.
    """

    def with_gradient(answer: Any) -> Tensor:
        loss = numbers(answer)
        if loss.ndim == 0 and not getattr(answer, "requires_grad", False):
            raise NoAnswer("No gradient reaches the logits, so nothing is learned: return a tensor, without .item().")
        return loss

    cases = [
        (_points(2, 2, 50).requires_grad_(), [0, 1], [1, 1], 0.25),
        (_points(5, 3, 51).requires_grad_(), [0, 1, 2, 2, 1], [0, 2, 2, 1, 1], 0.75),
        (_points(4, 3, 52).requires_grad_(), [0, 1, 2, 0], [1, 1, 0, 0], 1.0),
        (_points(4, 3, 53).requires_grad_(), [2, 1, 2, 0], [1, 1, 0, 0], 0.0),
        (_points(3, 3, 54).requires_grad_(), [2, 1, 0], None, 0.25),
    ]
    return judge(f, self_learning_loss, cases, told("loss", mistakes_losses.LOSS), read=with_gradient)


def check_fixed(f: Function) -> Verdict:
    """Check ``f(noisy_labels, corrected_labels, clean_labels)``: the share of all labels that was fixed."""
    return judge(
        f, mistakes_labels.fixed, [_labels(52, 3), _labels(61, 3), _labels(62, 4)], told("fixed", mistakes_labels.FIXED)
    )


def check_memorised(f: Function) -> Verdict:
    """Check ``f(predicted, noisy_labels, clean_labels)``: of the wrong labels, the share that the network gives."""
    cases = [_labels(70, 3), _labels(71, 3), _labels(72, 4)]
    return judge(f, mistakes_labels.memorised, cases, told("memorised", mistakes_labels.MEMORISED))


def check_transition(f: Function) -> Verdict:
    """Check ``f(clean_labels, noisy_labels, num_classes)``: the transition matrix, rows sum to 1."""
    cases = [
        ([0, 0, 0, 1], [0, 1, 0, 1], 2),
        ([0, 1, 2, 2, 2, 0, 1], [0, 0, 2, 1, 0, 2, 1], 3),
        ([0, 0, 1], [0, 1, 0], 2),
    ]
    return judge(f, mistakes_labels.transition, cases, told("transition", mistakes_labels.TRANSITION))


def check_symmetric_matrix(f: Function) -> Verdict:
    """Check ``f(noise_rate, num_classes)``: the transition matrix of symmetric noise."""
    cases = [(0.25, 2), (0.5, 3), (0.75, 5), (0.0, 3)]
    return judge(f, mistakes_labels.symmetric_matrix, cases, told("symmetric_matrix", mistakes_labels.SYMMETRIC_MATRIX))


def check_shares(f: Function) -> Verdict:
    """Check ``f(labels, num_classes)``: (K,) the share of each class; labels of -1 are unknown."""
    cases = [([0, 0, 0, 1], 2), ([2, 1, -1, 1, 1, 2, -1], 3), ([0, 3, 3, -1, 1], 4), ([1, 0, 1], 3)]
    return judge(f, class_shares, cases, told("shares", mistakes_labels.SHARES))


def check_direction(f: Function) -> Verdict:
    """Check ``f(clean_labels, noisy_labels, num_classes)``: of the wrong labels, the share to more frequent classes."""
    cases = [
        ([0, 0, 0, 1, 1, 2], [0, 1, 0, 0, 2, 1], 3),
        ([0, 0, 1, 1, 1, 2, 2], [1, 1, 1, 0, 0, 1, 0], 3),
        ([1, 1, 1, 0, 0], [1, 0, 0, 1, 0], 2),
    ]
    wrong = told("direction", mistakes_labels.DIRECTION)
    return judge(f, lambda t, y, k: noise_report(t, y, k).share_to_frequent, cases, wrong)


def check_left_out(f: Function) -> Verdict:
    """Check ``f(fitted, leverage, noisy_labels)``: (N, K) what a head says of each sample without its own label."""
    small = ([[0.75, 0.25]], [0.5], [0])
    cases = [
        small,
        *(
            (_points(n, k, seed), torch.arange(1, n + 1) / (n + 2), torch.arange(n) % k)
            for n, k, seed in ((4, 3, 82), (6, 4, 84))
        ),
    ]
    return judge(f, mistakes_labels.left_out, cases, told("left_out", mistakes_labels.LEFT_OUT))


def check_hours(f: Function) -> Verdict:
    """Check ``f(images, epochs, rate, gpus)``: hours to train, ``rate`` being images a second of one GPU."""
    cases = [(3600, 2, 4.0, 1), (1_000_000, 15, 500.0, 8), (90_000, 10, 50.0, 2)]
    return judge(f, mistakes_labels.run_hours, cases, told("hours", mistakes_labels.HOURS))


def check_gce(f: Function) -> Verdict:
    """Check ``f(logits, noisy_labels, q)``: generalized cross-entropy, the mean over the batch."""
    cases = [([[0.0, 1.1]], [1], 0.5), ([[0.5, 1.0, -1.0], [2.0, 0.0, 0.5]], [0, 2], 0.7), ([[0.0, 2.0]], [0], 1.0)]
    return judge(f, generalized_cross_entropy, cases, told("gce", mistakes_losses.GCE))


def check_margin(f: Function) -> Verdict:
    """Check ``f(class_scores, noisy_labels)``: (N,) how far the given class is ahead of the best other one."""
    cases = [
        ([[0.5, 0.75, 0.25]], [0]),
        ([[0.1, 0.9, 0.4], [0.7, 0.2, 0.6], [0.3, 0.3, 0.8]], [1, 1, 2]),
        ([[-0.5, -0.25]], [1]),
    ]
    return judge(f, label_margin, cases, told("margin", mistakes_prototypes.MARGIN))


def check_paired(f: Function) -> Verdict:
    """Check ``f(ours, theirs)``: two numbers, the mean of the paired differences and its standard error."""
    cases = [([5.0, 7.0, 9.0], [4.0, 7.0, 7.0]), ([81.0, 75.0, 78.0, 80.0], [70.0, 69.0, 80.0, 73.0])]
    return judge(f, mistakes_labels.paired, cases, told("paired", mistakes_labels.PAIRED))


def check_precision(f: Function) -> Verdict:
    """Check ``f(is_wrong, first)``: of the first labels of a ranking, the share that is wrong."""
    return judge(f, mistakes_review.precision, _rankings(), told("precision", mistakes_review.PRECISION))


def check_recall(f: Function) -> Verdict:
    """Check ``f(is_wrong, first)``: of all wrong labels, the share that is among the first of a ranking."""
    return judge(f, mistakes_review.recall, _rankings(), told("recall", mistakes_review.RECALL))


def check_wilson(f: Function) -> Verdict:
    """Check ``f(wrong, decided)``: two numbers, the bounds of Wilson's 95 % interval of the share that is wrong."""
    return judge(f, mistakes_review.wilson, [(12, 20), (0, 20), (9, 10)], told("wilson", mistakes_review.WILSON))


def check_embed(f: Function) -> Verdict:
    """Check ``f(network, images)``: (N, D) embeddings. ``network(images)`` gives logits and embeddings."""

    def without_gradients(answer: Any) -> Tensor:
        if getattr(answer, "requires_grad", False):
            raise NoAnswer("Your embeddings carry gradients. Correction learns nothing: use “with torch.no_grad():”.")
        return numbers(answer)

    cases = [(_small_network(0), _points(5, 2, 90)), (_small_network(1), _points(8, 2, 91))]
    return judge(f, mistakes_capstone.embed, cases, told("embed", mistakes_capstone.EMBED), read=without_gradients)


def check_prototypes(f: Function) -> Verdict:
    """Check ``f(embeddings, noisy_labels, p)``: (K, p) row numbers of each class's prototypes, in any order."""

    def in_any_order(answer: Any) -> Tensor:
        return numbers(answer).sort(dim=-1).values

    cases = [(_islands(n, seed), torch.arange(n) % 3, p) for n, p, seed in ((18, 2, 0), (18, 2, 8), (24, 5, 39))]
    return judge(f, mistakes_capstone.prototypes, cases, mistakes_capstone.PROTOTYPES, read=in_any_order)


def check_labels(f: Function) -> Verdict:
    """Check ``f(embeddings, prototypes)``: (N,) corrected labels; prototypes are (K, p) row numbers."""
    shapes = ((6, 2, 2, 92), (12, 3, 3, 95), (20, 4, 2, 94))
    cases = [(_points(n, 2, seed), torch.arange(k * p).view(p, k).T, seed) for n, k, p, seed in shapes]
    return judge(f, mistakes_capstone.labels, [case[:2] for case in cases], told("labels", mistakes_capstone.LABELS))


def check_loop(f: Function) -> Verdict:
    """Check ``f(network, images, noisy_labels, batches, settings)``, which trains the network in place, against `fit`.

    It returns the last corrected labels, (N,); ``batches(epoch)``, epoch from 0, gives images, noisy labels and index.
    Both start from the same weights, and get the same batches; a loop that agrees then runs on the digits.
    """
    how: dict[str, Any] = {"epochs": 5, "p": 2, "batch_size": 16, "learning_rate": 0.1, "learning_rate_drop": 0}
    settings = Settings(alpha=0.25, correction_start=2, **how)
    data = toy_clusters(seed=4, samples_per_class=20, overlap=0.6)

    def differ(answers: Sequence[Tensor], rights: Sequence[Tensor]) -> str:
        ours, right = answers[0], rights[0]
        if len(ours) == len(right) and ours.shape != right.shape:
            return "It should return the corrected labels, one for each of the samples."
        if len(ours) != len(right):
            return f"You asked for batches(epoch) {len(ours) - 2} times: once in each of {settings.epochs} epochs."
        epoch = int((~ours.isclose(right, atol=1e-4)).any(dim=1).nonzero()[0])
        if epoch > settings.epochs:
            return "The network is trained as by fit, but the labels returned are not the last corrected ones."
        where = "before any correction" if epoch <= settings.correction_start else "where labels are corrected"
        return f"The weights agree with those of fit before epoch {epoch} (counted from 1), and not after it: {where}."

    def of(loop: Function) -> Function:
        return lambda network: _trace(loop, network, data, settings)

    wrong = [(sentence, of(loop)) for sentence, loop in told("loop", mistakes_capstone.LOOP)]
    verdict = judge(of(f), of(_by_fit(data)), [(_small_network(2),)], wrong, differ=differ)
    return Verdict(True, _on_digits(f)) if verdict.right else verdict


def check_quiz(name: str, *answer: Any) -> Verdict:
    """Check an answer of one or more numbers or words to a question of ``quiz.yaml``."""
    question = QUIZ[name]
    if ... in answer:
        return Verdict(False, "Put your answer in place of the dots.")
    for right, sentence in [(question["right"], question["why"]), *question.get("wrong", [])]:
        if len(answer) == len(right) and all(map(_same, answer, right)):
            return Verdict(right is question["right"], sentence)
    return Verdict(False, question.get("hint", "That is not it. Work it out once more, step by step."))


def check_bug(answer: tuple[str, int]) -> Verdict:
    """Check the marked line of a faulty listing: its name and the number of the line; see ``exercises/listings.py``."""
    return Verdict(*listings.mark(answer))


QUIZ = yaml.safe_load((Path(__file__).parent / "quiz.yaml").read_text(encoding="utf-8"))
"""Name of a question -> the right answer and why, usual wrong answers and what to say of them, or a hint."""


def _same(ours: Any, right: Any) -> bool:
    if isinstance(right, str):  # letters in any order, with commas or as a list
        return sorted(filter(str.isalnum, str(ours).lower())) == sorted(right.lower())
    if isinstance(ours, str):
        return ours.strip() == str(right)
    return math.isclose(float(ours), right, abs_tol=0.006)


def _small_network(seed: int) -> EmbeddingNetwork:
    """Points in the plane to 6 features, with batch norm, left in train mode."""
    with lent(stream(seed, "small network")):
        body = nn.Sequential(nn.Linear(2, 6), nn.BatchNorm1d(6), nn.Tanh())
        network = EmbeddingNetwork(body, nn.Linear(6, 3), mean=torch.zeros(2), deviation=torch.ones(2))
    network(_points(9, 2, seed))
    return network


def _islands(n: int, seed: int) -> Tensor:
    """Points around three directions, some of them alike, in float64; lengths are powers of 2, so cosines are exact."""
    generator = torch.Generator().manual_seed(seed)
    centres = torch.randn(3, 7, generator=generator)[torch.arange(n) // 3 % 3]
    ranks = (centres + 0.15 * torch.randn(n, 7, generator=generator)).argsort(dim=1).argsort(dim=1)
    values = torch.tensor([-4, -3, -2, -1, 0, 3, 5]).double()[ranks]
    return values * 2.0 ** torch.randint(3, (n, 1), generator=generator)


def _trace(loop: Function, network: nn.Module, data: NoisyDataset, settings: Settings) -> Tensor:
    """(epochs + 2, W): the weights before and after each epoch, and the labels returned, filled up with zeros."""
    train, rows = make_batches(data, settings, "cpu")[0], []

    def batches(epoch: int) -> Iterator[Batch]:
        rows.append(nn.utils.parameters_to_vector(network.parameters()).detach().clone())
        return train.shuffled(stream(settings.seed, "shuffle", epoch))

    given: dict[str, Any] = {"network": network, "images": data.images, "noisy_labels": data.noisy_labels}
    given |= {"batches": batches, "settings": settings}
    require_arguments(loop, given, *given.values())
    labels = numbers(loop(*given.values())).flatten()
    rows.append(nn.utils.parameters_to_vector(network.parameters()).detach())
    width = max(len(labels), len(rows[0]))
    return torch.stack([nn.functional.pad(row.double(), (0, width - len(row))) for row in (*rows, labels)])


def _by_fit(data: NoisyDataset) -> Function:
    """The library's `fit` with the arguments of the reader's loop; the labels that its last epoch was trained on."""

    def loop(network: EmbeddingNetwork, images: Tensor, labels: Tensor, batches: Any, settings: Settings) -> Tensor:
        train, test = make_batches(data, settings, "cpu")
        epochs, corrected = count(), []
        train.shuffled = lambda generator, skip=0: batches(next(epochs))  # type: ignore[method-assign]

        class Note(Callback):
            def on_epoch_end(self, state: State) -> None:
                corrected.append(labels if state.correction is None else state.correction.labels)

        fit(network, train, test, settings, callbacks=[Note()])
        return corrected[-1]

    return loop


def _on_digits(loop: Function) -> str:
    """What a loop that agrees with `fit` makes of the digits, beside `fit`, on the same seed.

    On one thread: the order of sums, and with it the figures, would follow from the number of cores.
    """
    threads = torch.get_num_threads()
    settings = Settings(width=8, batch_size=128, learning_rate=0.1, learning_rate_drop=0, epochs=8)
    data, labels, right = load_dataset(settings), [], []
    try:
        torch.set_num_threads(1)
        for one in (loop, _by_fit(data)):
            network = first_network(data, settings)
            labels.append(_trace(one, network, data, settings)[-1, : len(data)])
            right.append(evaluate(network, make_batches(data, settings, "cpu")[1]))
    finally:
        torch.set_num_threads(threads)
    return (
        f"It agrees with fit, epoch by epoch. On the digits, same seed, {settings.epochs} epochs: test accuracy "
        f"{right[0]:.1%} yours, {right[1]:.1%} that of fit; {accuracy(*labels):.1%} of the corrected labels are the same."
    )


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


def _rankings() -> list[tuple[list[bool], int]]:
    """Whether labels are wrong, the most doubtful first, and how many of them are looked at."""
    return [([x == "x" for x in row], n) for row, n in (("xx.x...x", 4), ("x.....xx.x", 2), ("..xx.", 2))]


def _labels(seed: int, k: int) -> tuple[Tensor, ...]:
    """Three times the random labels of eight samples."""
    generator = torch.Generator().manual_seed(seed)
    return tuple(torch.randint(k, (8,), generator=generator) for _ in range(3))
