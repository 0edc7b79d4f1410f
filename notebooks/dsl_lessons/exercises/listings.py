"""Six short faulty listings to find the bug in: published mistakes, rewritten in our own words.

Each listing is real code: it is run as it stands and with the faulty line fixed, and a figure shows the difference.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import torch
import yaml
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
        return self.code.splitlines()

    def figure(self, *, fixed: bool) -> float:
        """The effect of the code as it stands, or with the faulty line fixed."""
        lines = self.lines
        if fixed:
            lines[self.line - 1] = self.fixed
        namespace: dict[str, Any] = {}
        exec("\n".join(lines), {"torch": torch, "normalize": normalize}, namespace)  # our own, nothing from outside
        return round(float(self.effect(*namespace.values())), 2)


def mark(answer: tuple[str, int]) -> tuple[bool, str]:
    """Whether a line, named by its listing and its number, is the faulty one, and why or why not."""
    name, line = answer if isinstance(answer, tuple) and len(answer) == 2 else ("", None)
    if name not in LISTINGS:
        return False, f"An answer is a pair of a listing and a line. The listings are {', '.join(LISTINGS)}."
    listing = LISTINGS[name]
    if line == 0:
        return False, "No line is marked yet. Put the number of the line that is wrong instead of 0."
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


_EFFECTS = {
    "stored labels": _own_label,
    "winning class": _nearest_class,
    "choice": _density_of_chosen,
    "eta": _share_that_passes,
    "features": _moved_statistics,
    "division": _test_images_trained_on,
}
_TEXTS = yaml.safe_load((Path(__file__).parent / "listings.yaml").read_text(encoding="utf-8"))
LISTINGS = {name: Listing(**texts, effect=_EFFECTS[name]) for name, texts in _TEXTS.items()}
"""Name -> listing."""
