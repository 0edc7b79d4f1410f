"""Six short faulty listings to find the bug in: published mistakes, rewritten in our own words.

Each listing is real code: it is run as it stands and with the faulty line fixed, and a figure shows the difference.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd
import torch
from torch import Tensor
from torch.nn.functional import normalize

from dsl_lessons.exercises.judge import Function
from dsl_teach.prototypes import cosine_similarity, density, eta, similarity_threshold


@dataclass(frozen=True)
class Listing:
    """A faulty listing, the line that is wrong, and what to tell about each line."""

    code: str
    line: int
    """The faulty line, counted from 1."""
    fixed: str
    """What that line should be."""
    reason: str
    others: Mapping[int, str]
    """Lines that look faulty and are right: number -> why."""
    measured: str
    """What the effect counts."""
    effect: Function
    """Runs the function of the listing on a small example and returns a number."""

    @property
    def lines(self) -> list[str]:
        """The lines of the code."""
        return self.code.strip("\n").splitlines()

    def figure(self, *, fixed: bool) -> Tensor:
        """The effect of the code as it stands, or with the faulty line fixed."""
        lines = self.lines
        if fixed:
            lines[self.line - 1] = self.fixed
        namespace: dict[str, Any] = {}
        exec("\n".join(lines), {"torch": torch, "normalize": normalize}, namespace)  # our own, nothing from outside
        return round(float(self.effect(*namespace.values())), 2)


def numbered(name: str) -> str:
    """The listing of this name, each line with its number."""
    return "\n".join(f"{number:2}  {line}" for number, line in enumerate(LISTINGS[name].lines, start=1))


def mark(answer: tuple[str, int]) -> tuple[bool, str]:
    """Whether the line is the faulty one, and why or why not.

    Args:
        answer: the name of a listing and the number of a line.
    """
    name, line = answer if isinstance(answer, tuple) and len(answer) == 2 else ("", None)
    if name not in LISTINGS:
        return False, f"An answer is a pair of a listing and a line. The listings are {', '.join(LISTINGS)}."
    listing = LISTINGS[name]
    if line == 0:
        return False, "No line is marked yet. Put the number of the line that is wrong in the place of 0."
    if not isinstance(line, int) or isinstance(line, bool) or not 1 <= line <= len(listing.lines):
        return False, f"This listing has lines 1 to {len(listing.lines)}, but you marked {line!r}."
    if line != listing.line:
        usual = f"Line {line}, “{listing.lines[line - 1].strip()}”, does what it should."
        return False, listing.others.get(line, usual)
    return True, f"{listing.reason} Fixed, line {line} reads “{listing.fixed.strip()}”."


def effects() -> pd.DataFrame:
    """Every listing run as it stands and fixed: what is measured, and both figures."""
    rows = {
        name: {
            "measured": listing.measured,
            "as it stands": listing.figure(fixed=False),
            "fixed": listing.figure(fixed=True),
        }
        for name, listing in LISTINGS.items()
    }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("listing")


def _own_label(relabel: Function) -> Tensor:
    order = torch.randperm(100, generator=torch.Generator().manual_seed(0))
    loader = [(rows % 10, rows % 10, rows) for rows in order.split(20)]
    labels = relabel(loader, lambda images: images, 100)
    return (labels == torch.arange(100) % 10).double().mean()


def _two_islands() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    centres = torch.tensor([[1.0, 0.0], [0.0, 1.0]]).repeat_interleave(20, dim=0)
    points = centres + 0.35 * torch.randn(40, 2, generator=generator)
    similarity = cosine_similarity(points)
    return similarity, density(similarity, similarity_threshold(similarity))


def _nearest_class(relabel: Function) -> Tensor:
    points = normalize(torch.randn(60, 8, generator=torch.Generator().manual_seed(1)), dim=1)
    prototypes = torch.eye(8)[:5, None].repeat(1, 3, 1)
    noisy_labels = torch.randint(5, (60,), generator=torch.Generator().manual_seed(2))
    right = points[:, :5].argmax(dim=1)
    return (relabel(points, prototypes, noisy_labels) == right).double().mean()


def _density_of_chosen(choose: Function) -> Tensor:
    similarity, rho = _two_islands()
    return rho[choose(rho, eta(similarity, rho), 2)].double().mean()


def _share_that_passes(eta_of: Function) -> Tensor:
    return (eta_of(*_two_islands()) < 0.95).double().mean()


def _moved_statistics(features: Function) -> Tensor:
    network = torch.nn.Sequential(torch.nn.BatchNorm1d(2)).eval()
    features(network, torch.ones(20, 2), torch.zeros(20, dtype=torch.int64), 0)
    return network.state_dict()["0.running_mean"].abs().max()


def _test_images_trained_on(divide: Function) -> float:
    noisy, clean = ({f"image {number}": number % 3 for number in numbers} for numbers in (range(100), range(90, 110)))
    train, test = divide(noisy, clean)
    return len(set(train) & set(test)) / len(test)


LISTINGS = {
    "stored labels": Listing(
        code="""
def relabel(loader, label_of, count):
    corrected, place = torch.zeros(count, dtype=torch.int64), 0
    for images, noisy_labels, index in loader:
        found = label_of(images)
        corrected[place : place + len(found)] = found
        place += len(found)
    return corrected
""",
        line=5,
        fixed="        corrected[index] = found",
        reason="Labels are stored by their place in the pass. The loader shuffles, so they belong to other images as "
        "soon as they are read by sample.",
        others={
            2: "Zeros are overwritten, and counting from 0 is no error. Ask what the places stand for.",
            3: "Nothing is wrong with the loop: it even hands out the index. Who uses it?",
            6: "The place is counted rightly. Ask whether a place means anything when the loader shuffles.",
            7: "What is returned has one label a sample. Ask in which order.",
        },
        measured="share of labels that belong to their image",
        effect=_own_label,
    ),
    "winning class": Listing(
        code="""
def relabel_batch(embeddings, prototypes, noisy_labels):
    rows = normalize(embeddings, dim=1)
    stars = normalize(prototypes, dim=2)
    scores = torch.einsum("nd,kpd->nk", rows, stars) / stars.shape[1]
    winner = scores.argmax(dim=1)
    return noisy_labels[winner]
""",
        line=6,
        fixed="    return winner",
        reason="The number of the winning class is the label. Here it is used as a place in the batch, and whichever "
        "label stands there is given.",
        others={
            3: "Prototypes are (K, P, D), so features are dim=2: that is right.",
            4: "The sum over d and p, divided by p, is the mean cosine to each class's prototypes.",
            5: "The best class of each sample: right. Ask what kind of number comes out.",
        },
        measured="share of samples with the label of the nearest class",
        effect=_nearest_class,
    ),
    "choice": Listing(
        code="""
def choose(rho, eta, p):
    rows = torch.arange(len(rho))
    passed = rows[eta < 0.95]
    order = eta[passed].argsort(descending=True)
    return passed[order[:p]]
""",
        line=4,
        fixed="    order = rho[passed].argsort(descending=True)",
        reason="Eta has done its work at the gate. Among the samples that pass, the densest are the prototypes; "
        "sorting by eta keeps those that just slipped through.",
        others={
            3: "The gate lets the small eta through: samples unlike anything denser. That is right.",
            5: "The first p of the order, as row numbers of the class: right. Ask what the order is by.",
        },
        measured="mean density of the two chosen",
        effect=_density_of_chosen,
    ),
    "eta": Listing(
        code="""
def eta_of(S, rho):
    eta = S.diagonal().clone()
    for i in range(len(S)):
        denser = (rho > rho[i]).nonzero().flatten()
        if len(denser) == 0:
            eta[i] = S[i].min()
        for j in denser:
            eta[i] = torch.maximum(eta[i], S[i, j])
    return eta
""",
        line=2,
        fixed="    eta = torch.full((len(S),), -1.0)",
        reason="The maximum begins with the similarity of a sample to itself, 1. Nothing is greater, so it stays 1 and "
        "only the densest samples pass the gate.",
        others={
            4: "Denser means strictly greater rho: that is our reading.",
            6: "The densest samples have nothing denser. They take their smallest similarity, so that they pass.",
            8: "The greatest similarity to anything denser: right. Ask where the maximum begins.",
        },
        measured="share of samples that pass the gate",
        effect=_share_that_passes,
    ),
    "features": Listing(
        code="""
def class_features(network, images, labels, c):
    network.train()
    with torch.no_grad():
        members = images[labels == c]
        features = network(members)
    return features
""",
        line=2,
        fixed="    network.eval()",
        reason="In train mode batch norm scales by the batch, here by a single class, and moves its own statistics "
        "towards it. The features lose what tells classes apart, and the network is changed.",
        others={
            3: "No gradients are needed. But batch norm's statistics move without gradients, too.",
            4: "Taking one class at a time is what the method asks for. Ask in which mode.",
            5: "The network is called on the members of the class: right. Ask in which mode it is.",
        },
        measured="how far the running mean of batch norm moved",
        effect=_moved_statistics,
    ),
    "division": Listing(
        code="""
def divide(noisy_labels, clean_labels):
    paths = sorted(noisy_labels)
    test = sorted(clean_labels)
    train = [path for path in paths if path in noisy_labels]
    return train, test
""",
        line=4,
        fixed="    train = [path for path in paths if path not in clean_labels]",
        reason="Some images carry both a noisy and a clean label. This trains on every noisy entry, so the test holds "
        "images that were trained on.",
        others={
            2: "All images with a noisy label, in a fixed order: right as a start.",
            3: "Testing on images with a clean label is right, if they are kept out of training.",
            5: "The two lists are returned as they are. Ask whether they overlap.",
        },
        measured="share of the test images that were trained on",
        effect=_test_images_trained_on,
    ),
}
"""Name -> listing."""
