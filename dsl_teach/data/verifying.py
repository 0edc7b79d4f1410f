"""Does a folder hold the whole data set? Every list is read, every image decoded, every count compared.

What is found goes to two files in the data folder: ``verified.json``, which the loaders trust from then on, and
``verify_report.tsv`` for people. A run that is stopped goes on where it was.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from dsl_teach.data.lists import write_text
from dsl_teach.data.look import Sighting, full_paths, in_parallel, inspect, processes, same_bytes
from dsl_teach.data.parts import Listed
from dsl_teach.data.usable import Problems, find_problems, without_label, write_record

T = TypeVar("T")

REPORT = "verify_report.tsv"
"""In the data folder: list, path and what is wrong."""
JOURNAL = "verify.part"
"""In the data folder while a run is under way: the images found good so far."""


@dataclass
class Report:
    """What was found. ``problems`` make the data set unfit; ``notes`` are worth knowing."""

    name: str
    stand_in: bool = False
    counts: dict[str, tuple[int, int | None]] = field(default_factory=dict)
    """What was counted: how many there are, and how many there should be where that is known."""
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    rows: list[tuple[str, str, str]] = field(default_factory=list)
    """List, path and reason of every image with something about it."""

    @property
    def good(self) -> bool:
        """Whether the data set can be used as it is."""
        return not self.problems

    def read(self, read: Callable[[], T]) -> T | None:
        """Read a list; if it is missing or wrong, that is a problem, and the answer is None."""
        try:
            return read()
        except (FileNotFoundError, ValueError) as error:
            self.problems.append(str(error))
            return None

    def count(self, what: str, number: int, expected: Mapping[str, int]) -> None:
        """Note a number; one that is not the published one is a problem, unless this is a stand-in."""
        right = None if self.stand_in else expected.get(what)
        self.counts[what] = (number, right)
        if right is not None and number != right:
            self.problems.append(f"{what}: there are {number:,}, but the published data set has {right:,}.")

    def text(self) -> str:
        """The report for people."""
        kind = " (a stand-in drawn by the project: published counts do not apply)" if self.stand_in else ""
        lines = [f"{self.name}{kind}"]
        for what, (number, right) in self.counts.items():
            mark = "" if right is None else " as published" if number == right else f", published: {right:,}"
            lines.append(f"  {what}: {number:,}{mark}")
        lines += [f"  note: {note}" for note in self.notes] + [f"  PROBLEM: {problem}" for problem in self.problems]
        return "\n".join([*lines, "Everything is in order." if self.good else "This data set is not in order."])


def sightings(parts: Iterable[Listed], folder: Path, *, workers: int) -> dict[str, Sighting]:
    """Decode every image of the parts once; what an earlier, stopped run found good is not decoded again."""
    done = _read_journal(folder / JOURNAL)
    write_text(folder / JOURNAL, "".join(f"{sighting.mark}\t{path}\n" for path, sighting in done.items()))
    paths = dict.fromkeys(path for part in parts for path in full_paths(part.files))
    todo = [path for path in paths if path not in done]
    with (folder / JOURNAL).open("a", encoding="utf-8") as journal, processes(workers) as pool:
        found = in_parallel(inspect, todo, pool, what="decoding")
        for path, sighting in zip(todo, found, strict=True):
            done[path] = sighting
            if not sighting.problem:
                journal.write(f"{sighting.mark}\t{path}\n")
    return done


def check_images(
    report: Report,
    folder: Path,
    parts: list[Listed],
    pairs: list[tuple[Listed, Listed]],
    *,
    workers: int,
    max_unreadable: float,
) -> None:
    """Look at all images of the lists, and write down what was found for the pairs that loaders ask for."""
    seen = sightings(parts, folder, workers=workers)
    for part in parts:
        _report_unusable(report, part, _of(part, seen), max_unreadable)
        _report_doubles(report, part, _of(part, seen))
    record: list[tuple[Listed, Listed, Problems]] = []
    for train, test in pairs:
        found = find_problems(train, test, {"train": _of(train, seen), "test": _of(test, seen)})
        record.append((train, test, found))
        _report_copies(report, train, test, found.copies)
    write_record(folder, record)
    rows = "".join("\t".join(row) + "\n" for row in dict.fromkeys(report.rows))
    write_text(folder / REPORT, f"list\tpath\twhat\n{rows}")
    (folder / JOURNAL).unlink()


def _report_unusable(report: Report, part: Listed, seen: list[Sighting], max_unreadable: float) -> None:
    unusable = without_label(part) | {
        path: x.problem for path, x in zip(part.files.paths, seen, strict=True) if x.problem
    }
    words = {"missing": "missing", "no label": "without a label"}
    for kind, number in Counter(words.get(reason, "unreadable") for reason in unusable.values()).items():
        report.counts[f"{part.source}: {kind}"] = (number, None)
    report.rows += [(part.source, path, reason) for path, reason in unusable.items()]
    sentence = f"{len(unusable)} of {len(seen)} images of {part.source} cannot be used; they are listed in {REPORT}."
    if len(unusable) > max_unreadable * len(seen):
        report.problems.append(f"{sentence} That is more than max_unreadable = {max_unreadable} allows: restore them.")
    elif unusable:
        report.notes.append(f"{sentence} The loaders leave them out.")


def _report_doubles(report: Report, part: Listed, seen: list[Sighting]) -> None:
    first: dict[int, str] = {}
    doubles = []
    for path, sighting in zip(part.files.paths, seen, strict=True):
        other = first.setdefault(sighting.mark, path)
        if sighting.mark and other != path and same_bytes(part.files.root / path, part.files.root / other):
            doubles.append((part.source, path, f"the same bytes as {other}"))
    if doubles:
        report.counts[f"{part.source}: double"] = (len(doubles), None)
    report.rows += doubles


def _report_copies(report: Report, train: Listed, test: Listed, copies: dict[str, str]) -> None:
    report.rows += [(train.source, path, f"the same bytes as the test image {other}") for path, other in copies.items()]
    if copies:
        report.notes.append(
            f"{len(copies)} images of {train.source} hold the same bytes as an image of {test.source}. The loaders "
            f"leave them out of training; they are listed in {REPORT}."
        )


def _of(part: Listed, seen: Mapping[str, Sighting]) -> list[Sighting]:
    return [seen[path] for path in full_paths(part.files)]


def _read_journal(path: Path) -> dict[str, Sighting]:
    """The finished lines: the last one may have been cut off."""
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    rows = (line.split("\t", 1) for line in text[: text.rfind("\n") + 1].splitlines())
    return {name: Sighting("", int(mark)) for mark, name in rows}
