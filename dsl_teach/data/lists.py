"""Reading the text files that come with a data set: key lists, labels and tables, each line checked."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from dsl_teach.data.dataset import UNKNOWN


def read_lines(path: Path, *, hint: str) -> Iterator[tuple[int, str]]:
    """The lines of a text file that hold something, with their numbers from 1.

    Raises:
        FileNotFoundError: if the file is missing; the sentence ends with ``hint``, which says where to get it.
        ValueError: if the file is not text in UTF-8.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise FileNotFoundError(f"The list {path} is missing. {hint}") from None
    except UnicodeDecodeError as error:
        raise ValueError(f"The list {path} is not text in UTF-8 ({error.reason}). {hint}") from None
    lines = (line.rstrip("\r") for line in text.split("\n"))
    return ((number, line) for number, line in enumerate(lines, start=1) if line.strip())


def read_keys(path: Path, *, hint: str, prefix: str = "") -> tuple[str, ...]:
    """The image paths of a key list, one a line; ``prefix`` is taken off where a path begins with it.

    Raises:
        FileNotFoundError: if the file is missing.
        ValueError: if a path leaves the data folder, or stands there twice.
    """
    keys: dict[str, int] = {}
    for number, line in read_lines(path, hint=hint):
        add_once(keys, inside(line, path, number).removeprefix(prefix), number, path, number)
    return tuple(keys)


def read_key_values(path: Path, num_classes: int, *, hint: str, prefix: str = "") -> dict[str, int]:
    """The label of each image path: lines of a path, one space and a number.

    A line without a label gives ``UNKNOWN``; ``prefix`` is taken off where a path begins with it.

    Raises:
        FileNotFoundError: if the file is missing.
        ValueError: if a label is no number or out of range, or a path leaves the data folder or stands there twice.
    """
    labels: dict[str, int] = {}
    for number, line in read_lines(path, hint=hint):
        key, _, word = line.rpartition(" ")
        if not key or not word:  # a path alone, with or without the space
            key, label = line.strip(), UNKNOWN
        else:
            label = _label(word, num_classes, path, number)
        add_once(labels, inside(key, path, number).removeprefix(prefix), label, path, number)
    return labels


def read_table(path: Path, header: tuple[str, ...], *, hint: str) -> Iterator[tuple[int, list[str]]]:
    """The rows of a table with tabs between its columns, with their line numbers.

    Raises:
        FileNotFoundError: if the file is missing.
        ValueError: if the first line is not ``header``, or a row has another number of columns.
    """
    lines = read_lines(path, hint=hint)
    _, first = next(lines, (1, ""))
    if tuple(first.split("\t")) != header:
        raise ValueError(
            f"{path} must begin with the header {'<tab>'.join(header)!r}, but its first line is {first!r}. "
            "Take the file as it was published."
        )
    return _rows(lines, len(header), path)


def _rows(lines: Iterable[tuple[int, str]], columns: int, path: Path) -> Iterator[tuple[int, list[str]]]:
    for number, line in lines:
        row = line.split("\t")
        if len(row) != columns:
            raise ValueError(f"{path}, line {number}: {line!r} has {len(row)} column(s), but the header has {columns}.")
        yield number, row


def inside(key: str, path: Path, number: int) -> str:
    """The key, if it stays inside the data folder.

    Raises:
        ValueError: if it is absolute, climbs with ``..``, or names a drive; the sentence gives file and line.
    """
    if leaves_folder(key):
        raise ValueError(
            f"{path}, line {number}: {key!r} leaves the data folder. Image paths must be relative and without '..'; "
            "correct the line, or remove it."
        )
    return key


def leaves_folder(key: str) -> bool:
    """Whether a relative path could point outside its folder, on any system."""
    return key[:1] == "/" or "\\" in key or "\0" in key or key[1:2] == ":" or (".." in key and ".." in key.split("/"))


def add_once(found: dict[str, int], key: str, value: int, path: Path, number: int) -> None:
    """Put a key into the dictionary.

    Raises:
        ValueError: if it is there already.
    """
    if key in found:
        raise ValueError(f"{path}, line {number}: {key!r} stands in this list twice. Remove one of the two lines.")
    found[key] = value


def _label(word: str, num_classes: int, path: Path, number: int) -> int:
    if not word.lstrip("-").isdecimal():
        raise ValueError(f"{path}, line {number}: the label {word!r} is not a whole number. Correct the line.")
    if not 0 <= int(word) < num_classes:
        raise ValueError(
            f"{path}, line {number}: the label {word} is out of range, it must lie in 0 .. {num_classes - 1}. "
            "Correct the line, or check that the list of class names belongs to it."
        )
    return int(word)


def write_text(path: Path, text: str) -> None:
    """Write a text file whole or not at all: a run that is stopped leaves the old file."""
    unfinished = path.with_name(path.name + ".part")
    unfinished.write_text(text, encoding="utf-8")
    os.replace(unfinished, path)
