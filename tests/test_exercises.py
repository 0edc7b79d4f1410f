"""The checks of readers' functions: a right one passes, each usual mistake is named, nothing raises."""

from __future__ import annotations

import functools
import math

import numpy as np
import pytest
import torch
from dsl_lessons.exercises import (
    checks,
    listings,
    mistakes_density,
    mistakes_labels,
    mistakes_losses,
    mistakes_prototypes,
)
from dsl_lessons.exercises.listings import LISTINGS
from sklearn.metrics import confusion_matrix
from torch.nn import functional as F

from dsl_teach.metrics import accuracy, correction_report
from dsl_teach.noise import share_to_frequent
from dsl_teach.prototypes import cosine_similarity, density, eta, label_margin, similarity_threshold
from dsl_teach.prototypes.selection import choose
from dsl_teach.training.losses import forward_cross_entropy, generalized_cross_entropy, self_learning_loss
from tests import reference


def library_scores(embeddings, prototypes):
    return torch.tensor(reference.class_scores(embeddings.tolist(), prototypes.tolist()))


def paired(ours, theirs):
    difference = np.subtract(ours.tolist(), theirs.tolist())
    return [difference.mean(), difference.std(ddof=1) / np.sqrt(len(difference))]


RIGHT = {
    "similarity": cosine_similarity,
    "threshold": similarity_threshold,
    "density": density,
    "eta": eta,
    "selection": functools.partial(choose, fill_up=True, cut_ties="eta"),
    "scores": library_scores,
    "loss": self_learning_loss,
    "chance": lambda y, y_hat, k: 1 - (shares(y, k) * shares(y_hat, k)).sum(),
    "fixed": lambda y, y_hat, clean: correction_report(y, y_hat, clean, num_classes=4).wrong_to_right,
    "memorised": lambda f, y, clean: accuracy(f[y != clean], y[y != clean]),
    "transition": lambda clean, y, k: confusion_matrix(clean, y, normalize="true"),
    "symmetric_matrix": lambda r, k: np.where(np.eye(k) > 0, 1 - r, r / (k - 1)),
    "gce": generalized_cross_entropy,
    "forward": forward_cross_entropy,
    "margin": label_margin,
    "paired": paired,
    "shares": lambda y, k: torch.stack([(y == c).sum() / (y >= 0).sum() for c in range(k)]),
    "direction": share_to_frequent,
    "soft": lambda s, t: (s / t).exp() / (s / t).exp().sum(dim=1, keepdim=True),
    "hours": lambda images, epochs, rate, gpus: images * epochs / rate / gpus / 60 / 60,
}
"""Name of a check -> a right answer, from the library or written another way."""
MODULES = (mistakes_density, mistakes_labels, mistakes_losses, mistakes_prototypes)
NAMED = {name: table for module in MODULES for name, table in vars(module).items()}
TABLES = {name: NAMED[name.upper()] for name in RIGHT}
every = pytest.mark.parametrize("name", RIGHT)


def check(name, f):
    return getattr(checks, f"check_{name}")(f)


@every
def test_a_right_function_is_right(name):
    assert str(check(name, RIGHT[name])).startswith("Right.")


@every
def test_no_two_mistakes_are_taken_for_each_other(name):
    for sentence, wrong in TABLES[name].items():
        verdict = check(name, wrong)
        assert (verdict.right, verdict.sentence) == (False, sentence)


# What readers write, in their own way: plain loops, numpy, other torch calls. Nothing is shared with the tables.


def shares(labels, k):
    return np.bincount(labels.numpy(), minlength=k) / len(labels)


def densest(rho, eta, p, eta_max):
    return [i for i in np.lexsort((eta, -rho)) if eta[i] < eta_max][:p]


def without_softmax(logits, noisy_labels, corrected_labels, alpha):
    losses = [F.nll_loss(logits, labels) for labels in (noisy_labels, corrected_labels) if labels is not None]
    return losses[0] if len(losses) == 1 else (1 - alpha) * losses[0] + alpha * losses[1]


WRONG = [
    ("similarity", lambda x: torch.einsum("id,jd->ij", x, x), "plain dot product"),
    ("similarity", lambda x: (x[:, None] - x[None]).pow(2).sum(-1).sqrt(), "distance"),
    ("similarity", lambda x: x @ x.T / torch.outer(x.norm(dim=1), x.norm(dim=1)), "NaN"),
    ("threshold", lambda s, q: np.quantile(s, 1 - q, method="inverted_cdf"), "wrong end"),
    ("threshold", lambda s, q: np.sort(s.numpy().ravel())[int(round(q * s.numel(), 6))], "one place too high"),
    ("density", lambda s, t: [sum(1 if x >= t else -1 for x in row) for row in s.tolist()], "≥ for >"),
    ("density", lambda s, t: (s - t).sum(1), "differences themselves"),
    ("eta", lambda s, r: [max(row[r >= r[i]]) for i, row in enumerate(s)], "self-similarity 1"),
    ("eta", lambda s, r: [max(row[r > r[i]], default=1.0) for i, row in enumerate(s)], "densest samples got 1"),
    ("selection", lambda rho, eta, p, eta_max: torch.topk(rho, p).indices, "left out the gate"),
    ("selection", lambda rho, eta, p, eta_max: np.argsort(eta.numpy())[:p].copy(), "η alone"),
    ("selection", densest, "fewer than p"),
    ("scores", lambda x, p: torch.cdist(x, p.flatten(0, 1)).view(len(x), *p.shape[:2]).mean(2), "distances"),
    ("scores", lambda x, p: F.cosine_similarity(x[:, None], p.mean(1)[None], dim=-1), "mean of the prototypes"),
    ("loss", without_softmax, "left out the softmax"),
    ("chance", lambda y, y_hat, k: 1 - (shares(y, k) ** 2).sum(), "noisy shares with themselves"),
    ("fixed", lambda y, y_hat, clean: np.mean((y_hat == clean)[y != clean].tolist()), "divided"),
    ("memorised", lambda f, y, clean: np.mean(((f == y) & (y != clean)).tolist()), "number of all"),
    ("transition", lambda clean, y, k: confusion_matrix(y, clean, normalize="pred"), "swapped"),
    ("transition", lambda clean, y, k: confusion_matrix(clean, y), "counts"),
    ("symmetric_matrix", lambda r, k: (1 - r) * np.eye(k) + r / k, "all K classes"),
]
OTHER_KINDS = [
    ("scores", lambda x, p: library_scores(x, p).T, "transposed"),
    ("selection", lambda rho, eta, p, eta_max: eta < eta_max, "mask"),
    ("selection", lambda rho, eta, p, eta_max: eta, "not whole"),
]


@pytest.mark.parametrize(("name", "wrong", "words"), WRONG + OTHER_KINDS)
def test_a_mistake_written_by_someone_else_is_named(name, wrong, words):
    verdict = check(name, wrong)
    assert not verdict.right
    assert words in verdict.sentence
    assert (verdict.sentence in TABLES[name]) == ((name, wrong, words) in WRONG)


def raising(error):
    def f(*given, **more):
        raise error

    return f


@every
@pytest.mark.parametrize(
    ("f", "words"),
    [
        (lambda *given, **more: None, "returned nothing"),
        (lambda *given, **more: ..., "returned nothing"),
        (lambda *given, **more: torch.zeros(7, 9), "should return"),
        (lambda *given, **more: "hello", "a str"),
        (raising(IndexError("index 5 is out of range")), "IndexError: index 5 is out of range"),
        (raising(NotImplementedError()), "Nothing is written here yet"),
        (lambda: 0, "must take the arguments ("),
    ],
)
def test_whatever_a_reader_returns_is_told_kindly(name, f, words):
    verdict = check(name, f)
    assert not verdict.right
    assert words in verdict.sentence


@every
def test_an_unknown_mistake_is_shown_on_small_numbers(name):
    if name == "selection":
        verdict = check(name, lambda rho, eta, p, eta_max: torch.arange(p) + 1)
    else:
        verdict = check(name, lambda *given: 1.5 * torch.as_tensor(RIGHT[name](*given)) + 0.25)
        assert not check(name, lambda *given: math.nan * torch.as_tensor(RIGHT[name](*given)).double()).right
    assert not verdict.right
    assert "you say" in verdict.sentence
    assert "is right" in verdict.sentence
    assert len(verdict.sentence) < 400


@pytest.mark.parametrize(
    ("name", "f"),
    [
        ("density", lambda s, t: density(s, t).tolist()),
        ("eta", lambda s, rho: eta(s, rho).numpy()),
        ("density", lambda s, t: (density(s, t), s.zero_())[0]),
        ("selection", lambda *given, **more: RIGHT["selection"](*given, **more).flip(0)),
    ],
    ids=["a list", "an array", "arguments changed in place", "another order"],
)
def test_a_right_answer_in_another_form_will_do(name, f):
    assert check(name, f).right
    assert check(name, RIGHT[name]).right


def test_the_verdict_is_shown_as_escaped_html_and_as_text():
    verdict = checks.Verdict(False, "a <b> & c")
    assert "a &lt;b&gt; &amp; c" in verdict._repr_html_()
    assert str(verdict) == repr(verdict) == "Not yet. a <b> & c"


class TestListings:
    """Real code, one line wrong, and a check that says which and why."""

    @pytest.mark.parametrize("name", LISTINGS)
    def test_the_faulty_line_and_no_other_is_right_and_each_says_why(self, name):
        listing = LISTINGS[name]
        verdicts = {line: checks.check_bug((name, line)) for line in range(1, len(listing.lines) + 1)}
        assert [line for line, verdict in verdicts.items() if verdict.right] == [listing.line]
        assert listing.reason in verdicts[listing.line].sentence
        assert listing.fixed.strip() in verdicts[listing.line].sentence
        assert {line: verdicts[line].sentence for line in listing.others} == listing.others

    def test_fixing_the_line_fixes_the_effect(self):
        table = listings.effects()
        assert table["fixed"].drop(["choice", "eta"]).tolist() == [1.0, 1.0, 0.0, 0.0]
        better = (table["fixed"] - table["as it stands"]).drop(["features", "division"])
        assert bool((better > 0).all())
        assert bool((table["as it stands"][["features", "division"]] > 0).all())

    @pytest.mark.parametrize(
        ("answer", "words"),
        [(("eta", 0), "No line is marked"), (("eta", 12), "lines 1 to 9"), (("eta", "2"), "lines 1 to 9"),
         (("density", 1), "The listings are"), (3, "a pair")],
    )  # fmt: skip
    def test_what_is_no_answer(self, answer, words):
        verdict = checks.check_bug(answer)
        assert not verdict.right
        assert words in verdict.sentence
