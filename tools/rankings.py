"""Doubtful labels beside cleanlab: tables of README and docs/findings.md from ``benchmarks/results/own_data*.jsonl``.

    .venv/bin/python -m tools.rankings

Average precision, in percent, paired by seed, Holm over the rows of a file. The opponent of a row is that of cleanlab's
scores which ranks best there.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from dsl_lessons.contrasts import Contrast, contrast, holm, small

RESULTS = Path(__file__).parents[1] / "benchmarks" / "results"
OURS = "ours"
FILES = {
    "Photographs of clothes": "own_data",
    "Digits, pixels": "own_data_digits",
    "CIFAR-10, 3,000 images a seed": "own_data_cifar10",
}
"""What the images are, and the file of the rows."""
NOISES = {"random": "at random", "confusion": "confusions of others"}
BOUND = 1.0
"""Points of average precision within which two rankings are equivalent."""


@dataclass(frozen=True)
class Line:
    """Ours beside the best of cleanlab's scores, on one noise at one rate."""

    noise: str
    rate: float
    ours: float
    theirs: float
    opponent: str
    found: Contrast
    p: float

    @property
    def difference(self) -> str:
        """In points, and the verdict after Holm."""
        verdict = self.found.verdict(self.p)
        told = f"{self.found.points}, {verdict}"
        return f"**{told}**" if verdict == "better" else told


def lines_of(file: str) -> list[Line]:
    """A line a noise and rate, in the order of the file; where the rate differs by seed, its mean."""
    rows = pd.read_json(RESULTS / f"{file}.jsonl", lines=True)
    if not set(NOISES) & set(rows["noise"]):
        rows["rate"] = rows.groupby("noise")["rate"].transform("mean").round(3)
    made = []
    for noise, rate in rows[["noise", "rate"]].drop_duplicates().itertuples(index=False):
        group = rows[(rows["noise"] == noise) & (rows["rate"] == rate)]
        table = group.pivot_table(index="seed", columns="method", values="average_precision").dropna()
        theirs = table.filter(like="cleanlab").mean().idxmax()
        ours, best = table[OURS], table[theirs]
        made.append((noise, rate, ours, best, theirs, contrast(ours.tolist(), best.tolist(), bound=BOUND)))
    corrected = holm([found.p for *_, found in made])
    return [
        Line(noise, rate, 100 * ours.mean(), 100 * best.mean(), str(theirs).removeprefix("cleanlab, "), found, p)
        for (noise, rate, ours, best, theirs, found), p in zip(made, corrected, strict=True)
    ]


def whole_table(file: str) -> str:
    """Every line of a file, in Markdown."""
    head = ["wrong labels", "share", "seeds", "ours", "cleanlab's best", "which", "difference", "p (Holm)"]
    told = [head, ["---"] * len(head)]
    for line in lines_of(file):
        means = [f"{line.ours:.1f}", f"{line.theirs:.1f}"]
        name = NOISES.get(line.noise, line.noise)
        told.append(
            [name, f"{line.rate:.1%}", str(line.found.seeds), *means, line.opponent, line.difference, small(line.p)]
        )
    return "\n".join(f"| {' | '.join(entries)} |" for entries in told)


def readme_table() -> str:
    """Photographs alone, a line a rate, both kinds of mistakes beside each other."""
    lines, theirs = lines_of("own_data"), "cleanlab"
    told = [
        ["planted", "at random: ours", theirs, "difference", "another network's confusions: ours", theirs, "difference"]
    ]
    told.append(["---"] * len(told[0]))
    for rate in dict.fromkeys(line.rate for line in lines):
        found = [next(line for line in lines if (line.noise, line.rate) == (noise, rate)) for noise in NOISES]
        cells = [cell for line in found for cell in (f"{line.ours:.1f}", f"{line.theirs:.1f}", line.difference)]
        told.append([f"{100 * rate:g} %", *cells])
    return "\n".join(f"| {' | '.join(entries)} |" for entries in told)


def whole_tables() -> str:
    """Of all files, each below what its images are."""
    return "\n\n".join(f"{images}:\n\n{whole_table(file)}" for images, file in FILES.items())


if __name__ == "__main__":
    print(readme_table(), whole_tables(), sep="\n\n")
