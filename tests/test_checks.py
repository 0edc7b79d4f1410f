"""The checks of readers' functions: the right one passes, each usual mistake is named, nothing raises."""

from __future__ import annotations

import functools
import inspect
import math

import numpy as np
import pytest
import torch
from dsl_lessons import checks
from dsl_lessons.mistakes import density as density_mistakes
from dsl_lessons.mistakes import labels, prototypes
from sklearn.metrics import confusion_matrix
from torch.nn import functional as F

from dsl_teach.metrics import accuracy, chance_changed, correction_report
from dsl_teach.noise import transition_matrix
from dsl_teach.prototypes import cosine_similarity, density, eta, similarity_threshold
from dsl_teach.prototypes.selection import choose
from dsl_teach.training.losses import self_learning_loss
from tests import reference


def library_scores(embeddings, prototypes):
    return torch.tensor(reference.class_scores(embeddings.tolist(), prototypes.tolist()))


LIBRARY = {
    "similarity": cosine_similarity,
    "threshold": similarity_threshold,
    "density": density,
    "eta": eta,
    "selection": functools.partial(choose, fill_up=True, cut_ties="eta"),
    "scores": library_scores,
    "loss": self_learning_loss,
    "chance": chance_changed,
    "mended": lambda y, y_hat, clean: correction_report(y, y_hat, clean, num_classes=4).wrong_to_right,
    "memorised": lambda f, y, clean: accuracy(f[y != clean], y[y != clean]),
    "transition": transition_matrix,
    "symmetric_matrix": labels.symmetric_matrix,
}
NAMED = vars(density_mistakes) | vars(prototypes) | vars(labels)
TABLES = {name: NAMED[name.upper()] for name in LIBRARY}


def check(name, f):
    return getattr(checks, f"check_{name}")(f)


@pytest.mark.parametrize("name", LIBRARY)
def test_the_librarys_own_function_is_right(name):
    verdict = check(name, LIBRARY[name])
    assert verdict.right, str(verdict)
    assert str(verdict).startswith("Right.")


@pytest.mark.parametrize("name", LIBRARY)
def test_no_two_mistakes_are_taken_for_each_other(name):
    for mistake in TABLES[name]:
        verdict = check(name, mistake.wrong)
        assert (verdict.right, verdict.sentence) == (False, mistake.sentence)


# What readers write, in their own way: plain loops, numpy, other torch calls. Nothing is shared with the tables.


def column_lengths(x):
    return (x / torch.sqrt((x * x).sum(0))).matmul((x / torch.sqrt((x * x).sum(0))).t())


def dot(x):
    return torch.tensor([[sum(a * b for a, b in zip(r, q, strict=True)) for q in r_all] for r_all, r in _rows(x)])


def _rows(x):
    return [(x.tolist(), row) for row in x.tolist()]


def distance(x):
    return (x[:, None] - x[None]).pow(2).sum(-1).sqrt()


def naive_cosine(x):
    lengths = torch.sqrt((x**2).sum(1))
    return x @ x.T / (lengths[:, None] * lengths[None, :])


def no_diagonal(x):
    s = reference.cosine_similarity(x.tolist())
    return torch.tensor([[0.0 if i == j else s[i][j] for j in range(len(s))] for i in range(len(s))])


def fortieth(s, quantile):
    return sorted(s.flatten().tolist())[math.ceil(round((1 - quantile) * s.numel(), 6)) - 1]


def upper_only(s, quantile):
    m = len(s)
    entries = sorted(float(s[i, j]) for i in range(m) for j in range(m) if i != j)
    return entries[math.ceil(round(quantile * len(entries), 6)) - 1]


def interpolated(s, quantile):
    return float(np.quantile(s.numpy(), quantile))


def counted_from_zero(s, quantile):
    return np.sort(s.numpy().ravel())[int(round(quantile * s.numel(), 6))]


def rho_loop(s, t, *, tie=0, far=-1, self_too=True):
    def sign(entry):
        return 1 if entry > t else tie if entry == t else far

    return [sum(sign(s[i, j]) for j in range(len(s)) if self_too or i != j) for i in range(len(s))]


def eta_loop(s, rho, *, candidate, pick=max, top=min, start=()):
    found = []
    for i in range(len(rho)):
        row = s[i].tolist()
        values = [*start, *(row[j] for j in range(len(rho)) if candidate(rho, i, j))]
        found.append(pick(values) if values else top(row))
    return torch.tensor(found)


def denser(rho, i, j):
    return bool(rho[j] > rho[i])


def rows_by(key, rho, eta, p, eta_max):
    return [i for i in sorted(range(len(rho)), key=lambda i: key(i, float(rho[i]), float(eta[i]), eta_max))][:p]


def selection_by(key):
    return lambda rho, eta, p, eta_max: rows_by(key, rho, eta, p, eta_max)


def scores_by(pick, *, unit_x=True, unit_p=True):
    def scores(x, prototypes):
        x = x / x.norm(dim=-1, keepdim=True) if unit_x else x
        prototypes = prototypes / prototypes.norm(dim=-1, keepdim=True) if unit_p else prototypes
        rows = [[pick([float(row @ proto) for proto in members]) for members in prototypes] for row in x]
        return torch.tensor(rows)

    return scores


def mean(values):
    return sum(values) / len(values)


def loss_with(noisy_weight, corrected_weight, *, ce=F.cross_entropy, before=1.0):
    def loss(logits, noisy_labels, corrected_labels, alpha):
        if corrected_labels is None:
            return before(alpha) * ce(logits, noisy_labels) if callable(before) else before * ce(logits, noisy_labels)
        return noisy_weight(alpha) * ce(logits, noisy_labels) + corrected_weight(alpha) * ce(logits, corrected_labels)

    return loss


def twice(logits, labels):
    return F.nll_loss(torch.log_softmax(torch.softmax(logits, 1), 1), labels)


def shares(labels, k):
    return np.bincount(labels.numpy(), minlength=k) / len(labels)


def triples(*labels):
    return list(zip(*(row.tolist() for row in labels), strict=True))


WRONG = [
    ("similarity", dot, "plain dot product"),
    ("similarity", distance, "distance"),
    ("similarity", lambda x: 1 - torch.tensor(reference.cosine_similarity(x.tolist())), "cosine distance"),
    ("similarity", naive_cosine, "NaN"),
    ("similarity", column_lengths, "columns"),
    ("similarity", no_diagonal, "self-similarity"),
    ("threshold", fortieth, "wrong end"),
    ("threshold", upper_only, "diagonal"),
    ("threshold", interpolated, "interpolated"),
    ("threshold", counted_from_zero, "one place too high"),
    ("threshold", lambda s, quantile: quantile, "quantile itself"),
    ("density", functools.partial(rho_loop, self_too=False), "self-similarity"),
    ("density", functools.partial(rho_loop, tie=1), "≥ for >"),
    ("density", functools.partial(rho_loop, tie=-1), "counted −1"),
    ("density", functools.partial(rho_loop, far=0), "close samples only"),
    ("density", lambda s, t: (s - t).sum(1), "differences themselves"),
    ("density", lambda s, t: torch.sign(t - s).sum(0), "reversed"),
    ("eta", functools.partial(eta_loop, candidate=denser, pick=max, start=()), None),
    ("eta", lambda s, r: eta_loop(s, r, candidate=lambda r, i, j: r[j] > r[i] or i == j), "self-similarity 1"),
    ("eta", lambda s, r: eta_loop(s, r, candidate=lambda r, i, j: r[j] >= r[i] and i != j), "≥ for >"),
    ("eta", lambda s, r: eta_loop(s, r, candidate=lambda r, i, j: (r[j], -j) > (r[i], -i)), "order of the samples"),
    ("eta", lambda s, r: eta_loop(s, r, candidate=denser, pick=min), "smallest similarity to a denser"),
    ("eta", lambda s, r: eta_loop(s, r, candidate=lambda r, i, j: r[j] < r[i]), "less dense"),
    ("eta", lambda s, r: eta_loop(s, r, candidate=denser, top=lambda row: 1.0), "densest samples got 1"),
    ("eta", lambda s, r: eta_loop(1 - s, r, candidate=denser, pick=min, top=max), "distance"),
    ("selection", selection_by(lambda i, rho, eta, gate: (eta <= gate, -rho, eta)), "largest η"),
    ("selection", selection_by(lambda i, rho, eta, gate: -eta), "largest η"),
    ("selection", selection_by(lambda i, rho, eta, gate: eta), "η alone"),
    ("selection", lambda rho, eta, p, eta_max: torch.topk(rho, p).indices, "left out the gate"),
    ("selection", selection_by(lambda i, rho, eta, gate: (eta >= gate, rho, eta)), "smallest ρ"),
    ("selection", selection_by(lambda i, rho, eta, gate: (1, eta) if eta > gate else (0, -rho, eta)), "≤ for <"),
    ("selection", selection_by(lambda i, rho, eta, gate: (1, eta) if eta >= gate else (0, -rho, i)), "smaller row"),
    ("selection", lambda rho, eta, p, eta_max: [
        i for i in rows_by(lambda i, r, e, g: (e >= g, -r, e), rho, eta, len(rho), eta_max) if eta[i] < eta_max
    ][:p], "fewer than p"),
    ("scores", scores_by(max), "maximum"),
    ("scores", scores_by(sum), "sum of the cosines"),
    ("scores", scores_by(mean, unit_x=False, unit_p=False), "plain dot products"),
    ("scores", scores_by(mean, unit_p=False), "not the prototypes"),
    ("scores", lambda x, p: torch.cdist(x, p.flatten(0, 1)).view(len(x), *p.shape[:2]).mean(2), "distances"),
    ("scores", lambda x, p: F.cosine_similarity(x[:, None], p.mean(1)[None], dim=-1), "mean of the prototypes"),
    ("loss", loss_with(lambda a: a, lambda a: 1 - a), "swapped alpha"),
    ("loss", loss_with(lambda a: 1, lambda a: 1), "without weights"),
    ("loss", loss_with(lambda a: 1, lambda a: a), "weight 1 instead"),
    ("loss", loss_with(lambda a: 1, lambda a: 0), "do not take part"),
    ("loss", loss_with(lambda a: 1 - a, lambda a: a, before=lambda a: 1 - a), "Before the first correction"),
    ("loss", loss_with(lambda a: 1 - a, lambda a: a, ce=twice), "softmax twice"),
    ("loss", loss_with(lambda a: 1 - a, lambda a: a, ce=F.nll_loss), "left out the softmax"),
    ("chance", lambda y, y_hat, k: 1 - (shares(y, k) ** 2).sum(), "noisy shares with themselves"),
    ("chance", lambda y, y_hat, k: 1 - (shares(y_hat, k) ** 2).sum(), "corrected shares with themselves"),
    ("chance", lambda y, y_hat, k: 1 - 1 / k, "1/K"),
    ("chance", lambda y, y_hat, k: (shares(y, k) * shares(y_hat, k)).sum(), "label stays"),
    ("chance", lambda y, y_hat, k: float((y != y_hat).float().mean()), "did change"),
    ("mended", lambda y, y_hat, clean: (y_hat == clean).float().mean(), "right now"),
    ("mended", lambda y, y_hat, clean: (y != y_hat).float().mean(), "share changed"),
    ("mended", lambda y, y_hat, clean: np.mean([c == t for n, c, t in triples(y, y_hat, clean) if n != t]), "divided"),
    ("mended", lambda y, y_hat, clean: sum(n != t == c for n, c, t in triples(y, y_hat, clean)), "how many"),
    ("memorised", lambda f, y, clean: (f == y).float().mean(), "all samples"),
    ("memorised", lambda f, y, clean: np.mean([p == n != t for p, n, t in triples(f, y, clean)]), "number of all"),
    ("memorised", lambda f, y, clean: np.mean([p == t for p, n, t in triples(f, y, clean) if n != t]), "true labels"),
    ("transition", lambda clean, y, k: confusion_matrix(y, clean, normalize="pred"), "swapped"),
    ("transition", lambda clean, y, k: confusion_matrix(clean, y, normalize="pred"), "columns sum to 1"),
    ("transition", lambda clean, y, k: confusion_matrix(clean, y, normalize="all"), "whole matrix"),
    ("transition", lambda clean, y, k: confusion_matrix(clean, y), "counts"),
    ("symmetric_matrix", lambda r, k: (1 - r) * np.eye(k) + r / k, "all K classes"),
    ("symmetric_matrix", lambda r, k: np.where(np.eye(k) > 0, 1 - r, r / k), "do not sum to 1"),
    ("symmetric_matrix", lambda r, k: np.where(np.eye(k) > 0, 1 - r, r), "whole rate"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "wrong", "words"), WRONG)
def test_a_mistake_written_by_someone_else_is_named(name, wrong, words):
    verdict = check(name, wrong)
    if words is None:
        assert verdict.right, str(verdict)
    else:
        assert not verdict.right
        assert words in verdict.sentence
        assert verdict.sentence in [mistake.sentence for mistake in TABLES[name]]


@pytest.mark.parametrize("name", LIBRARY)
class TestWhateverAReaderReturns:
    def test_an_unknown_mistake_is_shown_on_small_numbers(self, name):
        if name == "selection":
            verdict = check(name, lambda rho, eta, p, eta_max: torch.arange(p) + 1)
        else:
            verdict = check(name, lambda *given: 1.5 * LIBRARY[name](*given) + 0.25)
        assert not verdict.right
        assert "you say" in verdict.sentence
        assert "is right" in verdict.sentence
        assert len(verdict.sentence) < 400

    def test_nothing_yet(self, name):
        for f in (lambda *given, **more: None, lambda *given, **more: ...):
            assert "returned nothing" in check(name, f).sentence

    def test_a_wrong_shape(self, name):
        assert "should return" in check(name, lambda *given, **more: torch.zeros(7, 9)).sentence

    def test_text(self, name):
        assert "a str" in check(name, lambda *given, **more: "hello").sentence

    def test_nan(self, name):
        def f(*given, **more):
            return torch.as_tensor(LIBRARY[name](*given, **more)).double() * math.nan

        assert not check(name, f).right

    def test_an_exception_is_told_kindly(self, name):
        def f(*given, **more):
            raise IndexError("index 5 is out of range")

        assert "IndexError: index 5 is out of range" in check(name, f).sentence

    def test_arguments_that_do_not_fit(self, name):
        assert "must take the arguments (" in check(name, lambda: 0).sentence

    def test_not_implemented(self, name):
        def f(*given, **more):
            raise NotImplementedError

        assert "Nothing is written here yet" in check(name, f).sentence


def test_lists_and_arrays_are_taken_as_answers():
    assert checks.check_density(lambda s, t: density(s, t).tolist()).right
    assert checks.check_eta(lambda s, rho: eta(s, rho).numpy()).right


def test_a_transposed_answer_is_asked_about():
    assert "transposed" in checks.check_scores(lambda x, p: library_scores(x, p).T).sentence


def test_a_function_that_changes_its_arguments_does_no_harm():
    def f(similarity, threshold):
        answer = density(similarity, threshold)
        similarity.zero_()
        return answer

    assert checks.check_density(f).right
    assert checks.check_density(density).right


def test_masks_and_shares_are_no_row_numbers():
    assert "mask" in checks.check_selection(lambda rho, eta, p, eta_max: eta < eta_max).sentence
    assert "not whole" in checks.check_selection(lambda rho, eta, p, eta_max: eta).sentence


def test_prototypes_in_any_order_will_do():
    assert checks.check_prototypes(lambda *given, **more: LIBRARY["selection"](*given, **more).flip(0)).right


def test_the_verdict_is_shown_as_escaped_html_and_as_text():
    verdict = checks.Verdict(False, "a <b> & c")
    assert "a &lt;b&gt; &amp; c" in verdict._repr_html_()
    assert str(verdict) == repr(verdict) == "Not yet. a <b> & c"
    with pytest.raises(AttributeError):
        verdict.right = True


def test_every_check_has_a_docstring_that_shows_the_call():
    for name in LIBRARY:
        assert "``f(" in inspect.getdoc(getattr(checks, f"check_{name}"))
