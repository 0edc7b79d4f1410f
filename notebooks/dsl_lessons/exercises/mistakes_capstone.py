"""The usual mistakes in lesson 03's capstone: SMP in four steps of plain PyTorch, and the library's side of each."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, normalize

from dsl_lessons.exercises.judge import SENTENCES, Function, Told, Wrong, told
from dsl_lessons.exercises.mistakes_density import DENSITY, ETA, SIMILARITY, THRESHOLD
from dsl_lessons.exercises.mistakes_prototypes import SELECTION, plain_choose
from dsl_teach.config import Settings
from dsl_teach.data.batches import Batch
from dsl_teach.prototypes import density, eta, similarity_threshold
from dsl_teach.training.evaluation import evaluation

Parts = Callable[[int], Iterable[Batch]]
"""The batches of an epoch."""


def embed(network: nn.Module, images: Tensor) -> Tensor:
    """G(x) of all images at once, in eval mode and without gradients."""
    with evaluation(network):
        return network(images)[1].clone()


def _training(network: nn.Module, images: Tensor, place: int = 1) -> Tensor:
    with torch.no_grad():
        return network.train()(images)[place]


def _logits(network: nn.Module, images: Tensor) -> Tensor:
    with evaluation(network):
        return network(images)[0].clone()


EMBED: Wrong = {
    "train mode": _training,
    "logits in train mode": partial(_training, place=0),
    "logits": _logits,
    "probabilities": lambda f, x: _logits(f, x).softmax(dim=1),
}


def _places(rows: Tensor, places: Tensor) -> Tensor:
    return rows[places]


def _cosines(x: Tensor) -> Tensor:
    """S without the library's care for tiny and huge rows, and exact where lengths are powers of 2."""
    return normalize(x, dim=1) @ normalize(x, dim=1).T


def prototypes_by(
    similarity: Function = _cosines,
    threshold: Function = similarity_threshold,
    density: Function = density,
    eta: Function = eta,
    selection: Function = plain_choose,
    of: Function = _places,
    members: Function = torch.eq,
) -> Function:
    """Step 2 from the parts of lesson 02, any of which may be another one."""

    def prototypes(embeddings: Tensor, noisy_labels: Tensor, p: int) -> Tensor:
        found = []
        for c in range(int(noisy_labels.max()) + 1):
            rows = members(noisy_labels, c).nonzero().flatten()
            s = similarity(embeddings[rows])
            rho = density(s, threshold(s, 0.6))
            found.append(of(rows, selection(rho, eta(s, rho), p=p, eta_max=0.95)))
        return torch.stack(found)

    return prototypes


prototypes = prototypes_by()
PROTOTYPES: Told = told(
    "prototypes",
    {
        "first rows": prototypes_by(selection=lambda rho, eta, p, eta_max: torch.arange(p)),
        "places in the class": prototypes_by(of=lambda rows, places: places),
        "class ignored": prototypes_by(members=lambda labels, c: labels >= 0),
        "close only": prototypes_by(density=DENSITY["close only"]),
    },
) + [
    (sentence, prototypes_by(**{step: wrong}))
    for step, table, names in (
        ("selection", SELECTION, ("largest eta", "no gate", "eta alone", "smaller row", "smallest rho", "too few")),
        ("eta", ETA, ("ties as denser", "ties by order", "smallest", "less dense", "top: 1")),
        ("threshold", THRESHOLD, ("wrong end", "no diagonal", "interpolated", "face value", "rounded down", "mean")),
        ("similarity", SIMILARITY, ("dot products",)),
    )
    for sentence, wrong in told(step, {name: table[name] for name in names})
]
"""The mistakes of lesson 02 that show in the rows chosen, by their sentences."""


def _scores(x: Tensor, stars: Tensor) -> Tensor:
    return normalize(x, dim=1) @ normalize(x, dim=1)[stars].mean(dim=1).T


def labels(embeddings: Tensor, prototypes: Tensor) -> Tensor:
    """(N,) int64, the class whose prototypes, (K, p) row numbers, each sample resembles most on average."""
    return _scores(embeddings, prototypes).argmax(dim=1)


LABELS: Wrong = {
    "wrong axis": lambda x, stars: _scores(x, stars).argmax(dim=0),
    "nearest": lambda x, stars: (normalize(x, dim=1) @ normalize(x, dim=1)[stars].mT).amax(dim=2).argmax(dim=0),
    "dot products": lambda x, stars: (x @ x[stars].mean(dim=1).T).argmax(dim=1),
    "worst": lambda x, stars: _scores(x, stars).argmin(dim=1),
    "scores": _scores,
    "first prototype": lambda x, stars: labels(x, stars[:, :1]),
}


def plain_fit(
    network: nn.Module, images: Tensor, noisy_labels: Tensor, batches: Parts, settings: Settings, *, wrong: str = ""
) -> Tensor:
    """The loop in plain PyTorch, with one of the usual mistakes, or none; the last corrected labels."""
    s, decay = settings, 0.0 if wrong == "no decay" else settings.weight_decay
    momentum, p = 0.0 if wrong == "no momentum" else s.momentum, 1 if wrong == "one prototype" else s.p
    first = optimizer = torch.optim.SGD(network.parameters(), s.learning_rate, momentum, weight_decay=decay)
    corrected, given, alpha = noisy_labels, noisy_labels, 1 - s.alpha if wrong == "swapped" else s.alpha
    start = {"at once": 0, "early": s.correction_start - 1, "late": s.correction_start + 1}.get(
        wrong, s.correction_start
    )
    for epoch in range(s.epochs):
        optimizer = torch.optim.SGD([first.param_groups[0]]) if wrong == "new optimizer" else first
        due = epoch == start if wrong == "once" else epoch >= start
        if due:
            x = _training(network, images) if wrong == "train mode" else embed(network, images)
            corrected = labels(x, prototypes(x, given, p))
            given = corrected if wrong == "drift" else noisy_labels
        network.train(mode=not (due and wrong == "eval mode"))
        place = 0
        for batch in batches(0 if wrong == "same batches" else epoch):
            places = slice(place, place + len(batch.index))
            rows = {"by place": places, "first places": slice(len(batch.index))}.get(wrong, batch.index)
            place += len(batch.index)
            logits = network(batch.images)[0]
            noisy, theirs = (cross_entropy(logits, y) for y in (batch.noisy_labels, corrected[rows]))
            alone = {"corrected alone": [theirs], "noisy alone": [noisy]}
            parts = alone.get(wrong, [(1 - alpha) * noisy, alpha * theirs])
            before = [(1 - alpha) * noisy if wrong == "early alpha" else noisy]
            if wrong != "no zero_grad":
                optimizer.zero_grad()
            sum(parts if epoch >= start else before, torch.zeros(())).backward()
            optimizer.step()
    if wrong == "once more":
        x = embed(network, images)
        corrected = labels(x, prototypes(x, given, p))
    return corrected


LOOP: Wrong = {wrong: partial(plain_fit, wrong=wrong) for wrong in SENTENCES["loop"]}
