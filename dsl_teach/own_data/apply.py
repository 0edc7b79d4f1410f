"""From what a person decided on the report to a file of labels, and to a new tree of folders; nothing is changed."""

from __future__ import annotations

import csv
import io
import os
import shutil
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path, PurePosixPath

from dsl_teach._validate import require
from dsl_teach.data.decode import require_image_file
from dsl_teach.data.folders import read_by_file, require_inside
from dsl_teach.files import read_json
from dsl_teach.storage import write_atomically

DECISIONS = ("accepted", "rejected", "relabelled", "skipped")
"""What the report exports; skipped, which it once did, counts as undecided."""
MAKE: dict[str, Callable[[Path, Path], object]] = {"links": os.symlink, "copies": shutil.copyfile}


def apply_decisions(
    folder: Path, decisions: Path | None = None, *, all_proposed: bool = False, to: Path | None = None,
    made_of: str = "copies",
) -> str:  # fmt: skip
    """Write ``reviewed.csv`` into the output folder of ``correct``: every image, with the label that was decided.

    Images that nobody decided about keep the given label, or get ``corrected_label`` if ``all_proposed``. In the new
    folder ``to``, an image stands as ``label/path``, path being the one it has in the folder that was looked at.

    Returns:
        What was done, in a sentence.

    Raises:
        ValueError: if a file says what cannot be, or something would be overwritten.
    """
    listed = read_by_file(folder / "labels.csv", "given_label", "corrected_label")
    path = decisions or folder / "decisions.csv"
    nobody = all_proposed and decisions is None and not path.exists()
    decided = {} if nobody else read_decisions(path, {name: row["given_label"] for name, row in listed.items()})
    undecided = "corrected_label" if all_proposed else "given_label"
    labels = {name: decided.get(name) or row[undecided] for name, row in listed.items()}
    text = csv_text(("file_name", "label"), sorted((row["file_name"], labels[x]) for x, row in listed.items()))
    reviewed, changed = folder / "reviewed.csv", sum(labels[x] != row["given_label"] for x, row in listed.items())
    taken = reviewed.exists() and reviewed.read_bytes() != text.encode()
    require(not taken, f"{reviewed} holds other labels and is not overwritten. Rename it, or remove it.")
    tree = "" if to is None else make_tree(labels, Path(read_json(folder / "run.json")["folder"]), to, made_of)
    write_atomically(reviewed, text)
    return f"{reviewed}: {len(labels)} images, {len(decided)} decided, {changed} with another label than before.{tree}"


def read_decisions(path: Path, given: Mapping[str, str]) -> dict[str, str]:
    """Image -> label that a person gave it, of the images and classes in ``given``; nothing of skipped images."""
    if not path.exists():
        way = "Open report.html, decide, save decisions.csv and put it there; or give --all-proposed."
        raise FileNotFoundError(f"There are no decisions in {path}. {way}")
    rows, classes = read_by_file(path, "decision"), set(given.values())
    for name, row in rows.items():
        decision, label = row["decision"], row.get("label", "")
        require(name in given, f"{path}: {name!r} is no image of labels.csv. Is it of another folder?")
        require(decision in DECISIONS, f"{path}: {name!r} is {decision!r}, not one of {', '.join(DECISIONS)}.")
        require(decision == "skipped" or label in classes, f"{path}: {name!r} gets {label!r}, no class of labels.csv.")
    return {name: row["label"] for name, row in rows.items() if row["decision"] != "skipped"}


def make_tree(labels: Mapping[str, str], root: Path, to: Path, made_of: str) -> str:
    """Put every image of a folder into a new one, in the folder of its label, as a link or a copy; what was done."""
    require(made_of in MAKE, f"--as is links or copies, but it is {made_of!r}.")
    require(not os.path.lexists(to), f"{to} exists already. The tree goes into a new folder only: name another.")
    inside = to.resolve().is_relative_to(root.resolve())
    require(not inside, f"{to} lies in {root}, where nothing is written: name a folder elsewhere.")
    for label in set(labels.values()):
        require(PurePosixPath(require_inside(label)).parts == (label,), f"No folder can be called {label!r}.")
    for name in labels:
        require_image_file(root / name, root)
    for name, label in labels.items():
        (new := to / label / name).parent.mkdir(parents=True, exist_ok=True)
        MAKE[made_of](root.resolve() / name, new)
    return f" {to}: {len(labels)} {made_of}, each as label/old path, so that no two files of one name meet."


def csv_text(columns: Iterable[str], rows: Iterable[Iterable[object]]) -> str:
    """A CSV file, its lines ended as its standard says: names with line breaks of any kind are quoted then."""
    text = io.StringIO()
    csv.writer(text).writerows([columns, *rows])
    return text.getvalue()
