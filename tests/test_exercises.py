"""The checks of readers' functions: a right one passes, each usual mistake is named, nothing raises."""

import functools
import inspect
import math

import numpy as np
import pytest
import torch
from dsl_lessons.exercises import checks, listings
from dsl_lessons.exercises.judge import told
from dsl_lessons.exercises.listings import LISTINGS
from sklearn.metrics import confusion_matrix
from statsmodels.stats.proportion import proportion_confint
from torch.nn import functional as F

from dsl_teach.metrics import accuracy, correction_report
from dsl_teach.prototypes import cosine_similarity, density, eta, similarity_threshold
from dsl_teach.prototypes.selection import choose
from dsl_teach.training.losses import self_learning_loss
from tests import reference
from tests.conftest import solutions

CAPSTONE = solutions("03")


def prototype_lists(embeddings, noisy_labels, p):
    """The steps of lesson 02's solutions, class by class."""
    steps, found = solutions("02"), []
    for c in noisy_labels.unique():
        rows = (noisy_labels == c).nonzero().flatten()
        s = steps.my_similarity(embeddings[rows])
        rho = steps.my_density(s, steps.my_threshold(s, 0.6))
        found.append(rows[steps.my_selection(rho, steps.my_eta(s, rho), p, 0.95)].tolist())
    return found


def voted(embeddings, prototypes):
    scores = reference.class_scores(embeddings.tolist(), embeddings[prototypes].tolist())
    return np.argmax(scores, axis=1)


def gce(logits, labels, q):
    chosen = [torch.softmax(row, 0)[label] for row, label in zip(logits, labels.tolist(), strict=True)]
    return sum((1 - p**q) / q for p in chosen) / len(chosen)


def margin(scores, labels):
    rows = zip(scores.tolist(), labels.tolist(), strict=True)
    return [row[label] - max(x for c, x in enumerate(row) if c != label) for row, label in rows]


def paired(ours, theirs):
    difference = np.subtract(ours.tolist(), theirs.tolist())
    return [difference.mean(), difference.std(ddof=1) / np.sqrt(len(difference))]


def left_out(fitted, leverage, labels):
    rows = zip(fitted.tolist(), leverage.tolist(), labels.tolist(), strict=True)
    return [[(f - h * (c == label)) / (1 - h) for c, f in enumerate(row)] for row, h, label in rows]


def direction(clean, y, k):
    sizes = np.bincount(clean, minlength=k)
    return np.mean([sizes[b] > sizes[a] for a, b in zip(clean.tolist(), y.tolist(), strict=True) if a != b])


RIGHT = {
    "similarity": cosine_similarity,
    "threshold": similarity_threshold,
    "density": density,
    "eta": eta,
    "selection": functools.partial(choose, fill_up=True, cut_ties="eta"),
    "embed": CAPSTONE.my_embed,
    "prototypes": prototype_lists,
    "labels": voted,
    "loop": CAPSTONE.my_fit,
    "loss": self_learning_loss,
    "fixed": lambda y, y_hat, clean: correction_report(y, y_hat, clean, num_classes=4).wrong_to_right,
    "memorised": lambda f, y, clean: accuracy(f[y != clean], y[y != clean]),
    "transition": lambda clean, y, k: confusion_matrix(clean, y, normalize="true"),
    "symmetric_matrix": lambda r, k: np.where(np.eye(k) > 0, 1 - r, r / (k - 1)),
    "gce": gce,
    "margin": margin,
    "paired": paired,
    "shares": lambda y, k: torch.stack([(y == c).sum() / (y >= 0).sum() for c in range(k)]),
    "direction": direction,
    "left_out": left_out,
    "precision": lambda w, n: np.mean(w.tolist()[:n]),
    "recall": lambda w, n: sum(w.tolist()[:n]) / sum(w.tolist()),
    "wilson": lambda k, n: proportion_confint(k, n, method="wilson"),
    "hours": lambda images, epochs, rate, gpus: images * epochs / rate / gpus / 60 / 60,
}
"""Name of a check -> a right answer, from the library or written another way."""
MODULES = (checks, *(module for name, module in vars(checks).items() if name.startswith("mistakes_")))
NAMED = {name: table for module in MODULES for name, table in vars(module).items()}
TABLES = {name: NAMED[name.upper()] for name in RIGHT}
TABLES = {name: table if name == "prototypes" else told(name, table) for name, table in TABLES.items()}
SOLVED = inspect.getsource(CAPSTONE)
every = pytest.mark.parametrize("name", RIGHT)


def check(name, f):
    return getattr(checks, f"check_{name}")(f)


@every
def test_a_right_function_is_right(name):
    assert str(check(name, RIGHT[name])).startswith("Right.")


@every
def test_no_two_mistakes_are_taken_for_each_other(name):
    for sentence, wrong in TABLES[name]:
        verdict = check(name, wrong)
        assert (verdict.right, verdict.sentence) == (False, sentence)


# What readers write, in their own way: plain loops, numpy, other torch calls. Nothing is shared with the tables.


def rho_loop(s, t, *, tie=0, far=-1, self_too=True):
    def sign(entry):
        return 1 if entry > t else tie if entry == t else far

    return [sum(sign(s[i, j]) for j in range(len(s)) if self_too or i != j) for i in range(len(s))]


def eta_loop(s, rho, *, candidate, pick=max, top=min):
    found = []
    for i in range(len(rho)):
        row = s[i].tolist()
        values = [row[j] for j in range(len(rho)) if candidate(rho, i, j)]
        found.append(pick(values) if values else top(row))
    return torch.tensor(found)


def denser(rho, i, j):
    return bool(rho[j] > rho[i])


def first_top(eta, rho):
    """Only the first of the densest has its eta."""
    return [-math.inf if rho[i] == max(rho) in rho[:i] else float(eta[i]) for i in range(len(rho))]


def selection_by(key, *, passing_only=False):
    def selection(rho, eta, p, eta_max):
        rows = sorted(range(len(rho)), key=lambda i: key(i, float(rho[i]), float(eta[i]), eta_max))
        return [i for i in rows if not passing_only or eta[i] < eta_max][:p]

    return selection


def votes_by(pick, *, unit=True):
    def labels(x, prototypes):
        x = x / x.norm(dim=-1, keepdim=True) if unit else x
        return [
            max(range(len(prototypes)), key=lambda c: pick([float(row @ x[i]) for i in prototypes[c]])) for row in x
        ]

    return labels


def loss_with(weights, *, ce=F.cross_entropy, before=1.0):
    def loss(logits, noisy_labels, corrected_labels, alpha):
        noisy, corrected = weights(alpha)
        if corrected_labels is None:
            return before(logits, noisy_labels) if callable(before) else (before or noisy) * ce(logits, noisy_labels)
        return noisy * ce(logits, noisy_labels) + corrected * ce(logits, corrected_labels)

    return loss


def right_weights(alpha):
    return 1 - alpha, alpha


def twice(logits, labels):
    return F.nll_loss(torch.log_softmax(torch.softmax(logits, 1), 1), labels)


def triples(*labels):
    return list(zip(*(row.tolist() for row in labels), strict=True))


WRONG = [
    ("similarity", lambda x: torch.einsum("id,jd->ij", x, x), "plain dot product"),
    ("similarity", lambda x: (x[:, None] - x[None]).pow(2).sum(-1).sqrt(), "distance"),
    ("similarity", lambda x: 1 - torch.tensor(reference.cosine_similarity(x.tolist())), "cosine distance"),
    ("similarity", lambda x: x @ x.T / torch.outer(x.norm(dim=1), x.norm(dim=1)), "NaN"),
    ("similarity", lambda x: (x / x.norm(dim=0)) @ (x / x.norm(dim=0)).T, "columns"),
    ("similarity", lambda x: cosine_similarity(x) * (1 - torch.eye(len(x))), "self-similarity"),
    ("threshold", lambda s, q: np.quantile(s, 1 - q, method="inverted_cdf"), "wrong end"),
    ("threshold", lambda s, q: np.quantile(s[~torch.eye(len(s)).bool()], q, method="inverted_cdf"), "diagonal"),
    ("threshold", lambda s, q: np.quantile(s, q), "interpolated"),
    ("threshold", lambda s, q: np.sort(s.numpy().ravel())[int(round(q * s.numel(), 6))], "one place too high"),
    ("threshold", lambda s, q: q, "quantile itself"),
    ("density", functools.partial(rho_loop, self_too=False), "self-similarity"),
    ("density", functools.partial(rho_loop, tie=1), "≥ for >"),
    ("density", functools.partial(rho_loop, tie=-1), "counted −1"),
    ("density", functools.partial(rho_loop, far=0), "close samples only"),
    ("density", lambda s, t: (s - t).sum(1), "differences themselves"),
    ("density", lambda s, t: torch.sign(t - s).sum(0), "reversed"),
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
    ("selection", selection_by(lambda i, rho, eta, gate: (-rho, eta), passing_only=True), "fewer than p"),
    ("embed", lambda f, x: f.train()(x)[1].detach(), "train mode"),
    ("embed", lambda f, x: f.eval()(x)[0].detach(), "logits"),
    ("labels", votes_by(max), "nearest single prototype"),
    ("labels", votes_by(lambda c: -sum(c)), "worst"),
    ("labels", votes_by(sum, unit=False), "plain dot products"),
    ("labels", lambda x, rows: voted(x, rows[:, :1]), "first prototype"),
    ("loss", loss_with(lambda a: (a, 1 - a)), "swapped alpha"),
    ("loss", loss_with(lambda a: (1, 1)), "without weights"),
    ("loss", loss_with(lambda a: (1, a)), "weight 1 instead"),
    ("loss", loss_with(lambda a: (1, 0)), "do not take part"),
    ("loss", loss_with(right_weights, before=None), "Before the first correction"),
    ("loss", loss_with(right_weights, ce=twice), "softmax twice"),
    ("loss", loss_with(right_weights, ce=F.nll_loss), "left out the softmax"),
    ("left_out", lambda f, h, y: left_out(f, 0 * h, y), "votes for itself"),
    ("left_out", lambda f, h, y: [[(x - g * int(y[i])) / (1 - g) for x in f[i]] for i, g in enumerate(h)], "one-hot"),
    ("fixed", lambda y, y_hat, clean: np.mean([c == t for n, c, t in triples(y, y_hat, clean) if n != t]), "divided"),
    ("memorised", lambda f, y, clean: np.mean([p == n != t for p, n, t in triples(f, y, clean)]), "number of all"),
    ("transition", lambda clean, y, k: confusion_matrix(y, clean, normalize="pred"), "swapped"),
    ("transition", lambda clean, y, k: confusion_matrix(clean, y, normalize="pred"), "columns sum to 1"),
    ("transition", lambda clean, y, k: confusion_matrix(clean, y, normalize="all"), "whole matrix"),
    ("transition", lambda clean, y, k: confusion_matrix(clean, y), "counts"),
    ("wilson", lambda k, n: proportion_confint(k, n, 0.1, "wilson"), "one side"),
    ("threshold", lambda s, q: np.sort(s.numpy().ravel())[int(round(q * s.numel(), 6)) - 1], "rounded the place down"),
    ("threshold", lambda s, q: np.quantile(s, q, method="lower"), "rounded the place down"),
    ("threshold", lambda s, q: np.sort(s.numpy().ravel())[math.ceil(round(q * s.numel(), 6))], "Python from 0"),
    ("eta", lambda s, r: (s * (r[None] > r[:, None])).max(dim=1).values.where(r < max(r), s.amin(1)), "by the mask"),
    ("eta", lambda s, r: np.where(r[None] > r[:, None], s, -np.inf).max(0), "wrong axis"),
    ("eta", lambda s, r: eta_loop(s, r, candidate=denser, top=lambda row: -1.0), "densest samples got −1"),
    ("eta", lambda s, r: eta_loop(s, r, candidate=denser, top=lambda row: s.min()), "whole matrix"),
    ("eta", lambda s, r: first_top(eta_loop(s, r, candidate=denser), r), "Only one of several"),
    ("selection", lambda rho, eta, p, eta_max: rho[eta < eta_max].argsort(descending=True)[:p], "Map them back"),
    ("selection", selection_by(lambda i, rho, eta, gate: -rho * (eta < gate)), "only at your gate"),
    ("selection", lambda rho, eta, p, eta_max: [i for i in (-rho).argsort() if eta[i] > eta_max][:p], "gate is"),
    ("symmetric_matrix", lambda r, k: np.full((k, k), r / (k - 1)), "left at r / (K − 1)"),
    ("symmetric_matrix", lambda r, k: np.where(np.eye(k) > 0, 0, r / (k - 1)), "diagonal is 0"),
    ("symmetric_matrix", lambda r, k: np.where(np.eye(k) > 0, 1, r / (k - 1)), "diagonal is 1"),
    ("transition", lambda clean, y, k: (n := confusion_matrix(clean, y)) / n.sum(1), "sum of a row"),
    ("transition", lambda t, y, k: (n := np.bincount(t * k + y).reshape(k, k)) / n.sum(1)[:, None], "minlength"),
    ("memorised", lambda f, y, clean: accuracy(f, clean), "the accuracy"),
    ("fixed", lambda y, y_hat, clean: np.mean([c == t for n, c, t in triples(y, y_hat, clean) if n != c]), "changed"),
    ("loss", loss_with(lambda a: (0, 1)), "weight 1 − alpha"),
    ("loss", loss_with(right_weights, ce=twice, before=F.cross_entropy), "softmax twice"),
    ("loss", loss_with(right_weights, ce=functools.partial(F.cross_entropy, reduction="sum")), "summed over"),
    ("loss", lambda z, y, h, a: sum(w * F.cross_entropy(z, n) for w, n in ((1 - a, y), (a, h))), "“if”"),
    ("symmetric_matrix", lambda r, k: (1 - r) * np.eye(k) + r / k, "all K classes"),
    ("symmetric_matrix", lambda r, k: np.where(np.eye(k) > 0, 1 - r, r / k), "do not sum to 1"),
]  # fmt: skip

EDITED = [
    ("prototypes", "-(-6 * S.numel() // 10) - 1]", "-(-6 * S.numel() // 10)]", "Python from 0"),
    ("prototypes", "S.flatten().sort().values[-(-6 * S.numel() // 10) - 1]", "S.quantile(0.6)", "interpolated"),
    ("prototypes", "rank][:p]", "rank][eta[by_eta[rank]] < 0.95][:p]", "fewer than p"),
    ("prototypes", "rho[None, :] > rho", "rho[None, :] >= rho", "every η is the same"),
    ("prototypes", "S.amin(dim=1))", "S.amax(dim=1))", "densest samples got 1"),
    ("prototypes", "(S - S_c).sign()", "(S > S_c)", "knows no ties"),
    ("prototypes", "(noisy_labels == c)", "(noisy_labels > -1)", "among all samples"),
    ("prototypes", "rows[by_eta[rank][:p]]", "rows[:p]", "first p rows"),
    ("prototypes", "rho.where(eta < 0.95, -torch.inf)", "rho", "left out the gate"),
    ("loop", "noisy_labels, settings.p))", "noisy_labels, 1))", "number of prototypes"),
    ("loop", "if epoch >=", "if epoch + 1 >=", "one epoch early"),
    ("loop", ">= settings.correction_start", "> settings.correction_start", "one epoch late"),
    ("loop", ">= settings.correction_start", "== settings.correction_start", "corrected once"),
    ("loop", ">= settings.correction_start", ">= 0", "from the first epoch on"),
    ("loop", "theirs, settings.alpha", "theirs, 1 - settings.alpha", "wrong side"),
    ("loop", "my_loss(logits, batch_labels, theirs, settings.alpha)",
     "cross_entropy(logits, batch_labels if theirs is None else theirs)", "Only the corrected"),
    ("loop", "batch_images, batch_labels, index in batches(epoch):",
     "place, (batch_images, batch_labels, index) in enumerate(batches(epoch)):\n"
     "            index = torch.arange(len(index)) + place * settings.batch_size", "by place in the"),
    ("loop", "        network.train()", "        network.train() if epoch == 0 else None", "stayed in eval mode"),
    ("loop", "my_embed(network, images)\n            corrected", "network(images)[1].detach()\n            corrected",
     "was in train mode"),
    ("loop", "embeddings, noisy_labels, s", "embeddings, noisy_labels if corrected is None else corrected, s",
     "by the corrected labels"),
    ("loop", "optimizer.zero_grad()", "pass", "zero_grad"),
    ("loop", "    return corrected", "    x = my_embed(network, images)\n"
     "    return my_labels(x, my_prototypes(x, noisy_labels, settings.p))", "once more after the last"),
    ("loop", '"weight_decay": settings.weight_decay', '"weight_decay": 0', "no weight decay"),
    ("loop", "corrected[index]", "corrected[: len(index)]", "first corrected labels"),
    ("loop", "None if corrected is None else corrected[index]", "None", "not in your loss"),
    ("loop", "        network.train()", "        network.train()\n        optimizer = torch.optim.SGD("
     "network.parameters(), **how)", "anew in every epoch"),
    ("loop", '"momentum": settings.momentum', '"momentum": 0', "no momentum"),
    ("loop", "batches(epoch)", "batches(0)", "again and again"),
]  # fmt: skip
"""Check -> a line of the solution, what a reader writes in its place, and what is said of it."""


def edited(name, old, new):
    """A reader's function: the solution with another line in it."""
    assert SOLVED.count(old) == 1
    exec(SOLVED.replace(old, new), module := {})
    return module["my_fit" if name == "loop" else f"my_{name}"]


@pytest.mark.parametrize(("name", "wrong", "words"), WRONG)
def test_a_mistake_written_by_someone_else_is_named(name, wrong, words):
    verdict = check(name, wrong)
    assert not verdict.right
    assert words in verdict.sentence
    assert verdict.sentence in dict(TABLES[name])


@pytest.mark.parametrize(("name", "old", "new", "words"), EDITED)
def test_a_mistake_in_a_line_of_the_capstone_is_named(name, old, new, words):
    test_a_mistake_written_by_someone_else_is_named(name, edited(name, old, new), words)


@pytest.mark.parametrize(
    ("name", "wrong", "words"),
    [
        ("loss", lambda z, y, h, a: 0.5 * sum(F.cross_entropy(z, y if n is None else n) for n in (y, h)), "alpha"),
        ("loss", lambda *given: self_learning_loss(*given).item(), "No gradient"),
        ("symmetric_matrix", lambda r, k: RIGHT["symmetric_matrix"](r, 3), "num_classes"),
        ("symmetric_matrix", lambda r, k: RIGHT["symmetric_matrix"](0.3, k), "noise_rate"),
        ("memorised", lambda *given: 100 * RIGHT["memorised"](*given), "per cent"),
        ("prototypes", lambda x, y, p: CAPSTONE.my_prototypes(x, y, p).T, "transposed"),
        ("embed", lambda f, x: f.eval()(x)[1], "gradients"),
        ("density", lambda s, t: (density(s, t), s.zero_())[0], "similarity in place"),
        ("loop", lambda f, x, y, batches, settings: [*batches(0)] and y, "once in each"),
        ("loop", edited("loop", '"lr": settings.learning_rate', '"lr": 1e-3'), "not after it: before any"),
        ("selection", lambda rho, eta, p, eta_max: eta < eta_max, "mask"),
        ("selection", lambda rho, eta, p, eta_max: eta, "not whole"),
    ],
)
def test_a_mistake_of_any_exercise_is_named(name, wrong, words):
    verdict = check(name, wrong)
    assert not verdict.right
    assert words in verdict.sentence.partition("For ")[0]


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
        (lambda *given, **more: torch.zeros(7, 9), "should return|You asked for batches"),
        (lambda *given, **more: "hello", "a str"),
        (raising(IndexError("index 5 is out of range")), "IndexError: index 5 is out of range"),
        (raising(NotImplementedError()), "Nothing is written here yet"),
        (lambda: 0, "must take the arguments ("),
    ],
)
def test_whatever_a_reader_returns_is_told_kindly(name, f, words):
    verdict = check(name, f)
    assert not verdict.right
    assert any(part in verdict.sentence for part in words.split("|"))


@every
def test_an_unknown_mistake_is_shown_on_small_numbers(name):
    if name == "selection":
        verdict = check(name, lambda rho, eta, p, eta_max: torch.arange(p) + 1)
    elif name == "prototypes":
        verdict = check(name, lambda x, y, p: torch.ones(3, p))
    else:
        verdict = check(name, lambda *given: 1.5 * torch.as_tensor(RIGHT[name](*given)) + 0.25)
    assert not verdict.right
    assert name == "loop" or ("you say" in verdict.sentence and "is right" in verdict.sentence)
    assert len(verdict.sentence) < 400


@every
def test_nan_is_not_right(name):
    assert not check(
        name, lambda *given, **more: math.nan * torch.as_tensor(RIGHT[name](*given, **more)).double()
    ).right


@pytest.mark.parametrize(
    ("name", "f"),
    [
        ("density", lambda s, t: density(s, t).tolist()),
        ("eta", lambda s, rho: eta(s, rho).numpy()),
        ("selection", lambda *given, **more: RIGHT["selection"](*given, **more).flip(0)),
    ],
    ids=["a list", "an array", "another order"],
)
def test_a_right_answer_in_another_form_will_do(name, f):
    assert check(name, f).right


def test_the_verdict_is_shown_as_escaped_html_and_as_text():
    verdict = checks.Verdict(False, "a <b> & c")
    assert "a &lt;b&gt; &amp; c" in verdict._repr_html_()
    assert str(verdict) == repr(verdict) == "Not yet. a <b> & c"


class TestListings:
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


class TestQuiz:
    @pytest.mark.parametrize("name", checks.QUIZ)
    def test_the_right_answer_alone_is_right_and_each_wrong_one_has_its_sentence(self, name):
        question = checks.QUIZ[name]
        assert str(checks.check_quiz(name, *question["right"])) == f"Right. {question['why']}"
        for answer, sentence in question["wrong"]:
            assert str(checks.check_quiz(name, *answer)) == f"Not yet. {sentence}"
        if isinstance(question["right"][0], str):
            letters = [*question["right"][0]][::-1]
            assert all(checks.check_quiz(name, answer).right for answer in (letters, ", ".join(letters).lower()))
        for other in ([-77.5] * len(question["right"]), [0.1] * (len(question["right"]) + 1)):
            assert str(checks.check_quiz(name, *other)) == f"Not yet. {question['hint']}"
        assert "in place of the dots" in checks.check_quiz(name, *[...] * len(question["right"])).sentence

    def test_the_angles_of_the_hand_example(self):
        angles = torch.tensor([0, 8, 18, 30, 100], dtype=torch.float64).deg2rad()
        similarity = cosine_similarity(torch.stack([angles.cos(), angles.sin()], dim=1)).round(decimals=9)
        rho = density(similarity, similarity_threshold(similarity))
        assert [int(rho[1]), int(rho[4])] == checks.QUIZ["density of B and E"]["right"]
        passed = "".join(n for n, x in zip("ABCDE", eta(similarity, rho), strict=True) if x < 0.95)
        assert [passed] == checks.QUIZ["who passes the gate"]["right"]


def test_an_error_of_torch_is_no_empty_exercise():
    verdict = checks.check_precision(lambda is_wrong, first: is_wrong[:first].mean())
    assert "mean()" in str(verdict)
