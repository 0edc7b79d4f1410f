"""Which of the listed images can be used: broken ones are counted, written down and left out, up to a named share.

How thoroughly the files are looked at is the loaders' setting ``check``:

===========  ==========================================================================================
``"auto"``   trust what data_scripts/verify.py wrote down about these very images; else ``"quick"``
``"list"``   the same, but an error if nothing was written down
``"quick"``  open each file and look at its ends; decode those that look cut off
``"decode"`` decode each file
``"none"``   look at nothing: a broken file stops the training that meets it
===========  ==========================================================================================
"""

from __future__ import annotations

import json
import tempfile
import warnings
from collections.abc import Set
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Literal, get_args

import torch
from torch import Tensor

from dsl_teach.data.dataset import UNKNOWN
from dsl_teach.data.lists import write_text
from dsl_teach.data.look import Sighting, copies, glance, inspect, look_at, missing_files
from dsl_teach.data.parts import Listed

Check = Literal["auto", "list", "quick", "decode", "none"]

RECORD = "verified.json"
"""In the data folder: what verify.py found, for the loaders."""
LEFT_OUT = "left_out.tsv"
"""In the data folder: what the last loading left out, for people."""


@dataclass(frozen=True)
class Problems:
    """Which images cannot be used, and why."""

    train: dict[str, str] = field(default_factory=dict)
    test: dict[str, str] = field(default_factory=dict)
    copies: dict[str, str] = field(default_factory=dict)
    """Training images that hold the same bytes as a test image, with the test image's path."""

    def any(self) -> bool:
        """Whether there is one."""
        return bool(self.train or self.test or self.copies)


def usable_rows(
    train: Listed, test: Listed, *, folder: Path, check: Check = "auto", max_unreadable: float = 0.001
) -> tuple[Tensor, Tensor]:
    """Find the rows that can be used; write down and warn about the others.

    Args:
        train: the training images. One that holds the same bytes as a test image is left out too.
        test: the test images.
        folder: the data folder: verify.py's record is read there, and ``left_out.tsv`` written.
        check: how thoroughly to look, see the top of this file.
        max_unreadable: the share of the images of a list that may be missing, unreadable or without a label.

    Returns:
        The rows of ``train`` and of ``test`` to keep.

    Raises:
        ValueError: if an image stands on both sides, or too many cannot be used.
    """
    _require_settings(check, max_unreadable)
    _require_apart(train, test)
    found = _problems(train, test, folder, check)
    found = Problems(without_label(train) | found.train, without_label(test) | found.test, found.copies)
    if found.any():
        _tell(found, train, test, folder=folder, max_unreadable=max_unreadable)
    return _rows_without(train, found.train.keys() | found.copies.keys()), _rows_without(test, found.test.keys())


def find_problems(train: Listed, test: Listed, seen: dict[str, list[Sighting]]) -> Problems:
    """Say which images cannot be used, from a sighting of every file of ``seen["train"]`` and ``seen["test"]``."""
    broken, broken_test = _broken(train, seen["train"]), _broken(test, seen["test"])
    same = copies(train.files, seen["train"], test.files, seen["test"])
    return Problems(broken, broken_test, {path: other for path, other in same.items() if path not in broken})


def _broken(listed: Listed, seen: list[Sighting]) -> dict[str, str]:
    pairs = zip(listed.files.paths, seen, strict=True)
    return {path: sighting.problem for path, sighting in pairs if sighting.problem}


def without_label(listed: Listed) -> dict[str, str]:
    """The images whose list gives no label, with that reason."""
    rows = (listed.labels == UNKNOWN).nonzero().flatten().tolist()
    return {listed.files.paths[row]: "no label" for row in rows}


def write_record(folder: Path, pairs: list[tuple[Listed, Listed, Problems]]) -> None:
    """Write down what was found about each pair of training and test images, so that loaders need not look again."""
    record = {_pair(train, test): asdict(problems) for train, test, problems in pairs}
    write_text(folder / RECORD, json.dumps(record, indent=1, sort_keys=True) + "\n")


def read_record(folder: Path, train: Listed, test: Listed) -> Problems | None:
    """What verify.py wrote down about these images; None if nothing, or if files have come or gone since.

    Raises:
        ValueError: if the record is no record.
    """
    try:
        record = json.loads((folder / RECORD).read_text(encoding="utf-8"))
        found = record.get(_pair(train, test))
        problems = Problems(**found) if found is not None else None
    except FileNotFoundError:
        return None
    except (ValueError, TypeError, AttributeError) as error:
        raise ValueError(f"{folder / RECORD} is damaged. Remove it, or run data_scripts/verify.py again.") from error
    if problems is None or not _still_true(problems, train, test):
        return None
    return problems


def write_left_out(folder: Path, found: Problems, train: Listed, test: Listed) -> Path:
    """Write the images that cannot be used, and why, to a table; where the folder may not be written, elsewhere.

    Returns:
        The table's path.
    """
    rows = [(train.source, *item) for item in found.train.items()]
    rows += [(test.source, *item) for item in found.test.items()]
    rows += [(train.source, path, f"the same bytes as the test image {other}") for path, other in found.copies.items()]
    text = "list\tpath\treason\n" + "".join("\t".join(row) + "\n" for row in rows)
    try:
        write_text(folder / LEFT_OUT, text)
    except OSError:
        folder = Path(tempfile.mkdtemp(prefix="left_out_"))
        write_text(folder / LEFT_OUT, text)
    return folder / LEFT_OUT


def _problems(train: Listed, test: Listed, folder: Path, check: Check) -> Problems:
    if check == "none":
        return Problems()
    recorded = read_record(folder, train, test) if check in ("auto", "list") else None
    if recorded is None and check == "list":
        raise ValueError(
            f"{folder / RECORD} says nothing about these images, or files have come or gone since. "
            "Run data_scripts/verify.py, or set check='quick'."
        )
    if recorded is not None:
        return recorded
    look = inspect if check == "decode" else glance
    sides = (("train", train), ("test", test))
    return find_problems(train, test, {side: look_at(x.files, look, what=x.source) for side, x in sides})


def _tell(found: Problems, train: Listed, test: Listed, *, folder: Path, max_unreadable: float) -> None:
    table = write_left_out(folder, found, train, test)
    for listed, problems in ((train, found.train), (test, found.test)):
        if problems:
            _refuse_or_warn(listed, problems, max_unreadable, table)
    if found.copies:
        first, other = next(iter(found.copies.items()))
        warnings.warn(
            f"{len(found.copies)} training image(s) of {train.source} hold the same bytes as a test image and are left "
            f"out of training, the first is {first} (test image {other}). All are listed in {table}.",
            stacklevel=4,
        )


def _refuse_or_warn(listed: Listed, problems: dict[str, str], max_unreadable: float, table: Path) -> None:
    first, reason = next(iter(problems.items()))
    share = len(problems) / len(listed.labels)
    what = f"{len(problems)} of {len(listed.labels)} images of {listed.source} ({share:.3%})"
    example = f"the first is {listed.files.root / first}: {reason}. All are listed in {table}."
    if share > max_unreadable:
        raise ValueError(
            f"{what} cannot be used, more than max_unreadable = {max_unreadable} allows; {example} "
            "Restore them, or raise max_unreadable to go on without them."
        )
    warnings.warn(f"{what} cannot be used and are left out; {example}", stacklevel=5)


def _rows_without(listed: Listed, left_out: Set[str]) -> Tensor:
    return torch.tensor([row for row, path in enumerate(listed.files.paths) if path not in left_out], dtype=torch.int64)


def _pair(train: Listed, test: Listed) -> str:
    return f"{train.fingerprint()}-{test.fingerprint()}"


def _still_true(problems: Problems, train: Listed, test: Listed) -> bool:
    sides = ((train, problems.train), (test, problems.test))
    return all(
        missing_files(listed.files) == {path for path, reason in found.items() if reason == "missing"}
        for listed, found in sides
    )


def _require_settings(check: str, max_unreadable: float) -> None:
    if check not in get_args(Check):
        raise ValueError(f"check must be one of {', '.join(get_args(Check))}, but it is {check!r}.")
    if not 0 <= max_unreadable < 1:
        raise ValueError(f"max_unreadable must be a share from 0 to below 1, but it is {max_unreadable}.")


def _require_apart(train: Listed, test: Listed) -> None:
    if train.files.root != test.files.root:
        return
    shared = set(train.files.paths) & set(test.files.paths)
    if shared:
        raise ValueError(
            f"{len(shared)} image(s) stand in {train.source} and in {test.source}, one is {min(shared)}. A test on "
            f"images that were trained on says nothing: remove the line from {train.source}."
        )
