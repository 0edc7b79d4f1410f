"""Reading files that people write: text, YAML, JSON and CSV, with bounds, and what is wrong in sentences."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import stat
from pathlib import Path
from typing import Any

import yaml

LARGEST_SETTINGS = 2**20
LARGEST_LIST = 2**30
"""Bytes of a file of settings, and of any other text."""
DEEPEST = 20
"""Levels of YAML inside each other."""


def require_regular(path: str | Path) -> Path:
    """The path of a file that holds its bytes; a pipe or a device, whose reading may never end, is a ValueError."""
    if not stat.S_ISREG(os.stat(path).st_mode):
        raise ValueError(f"{path} must be a file, but it is a folder, a pipe or a device. Name another one.")
    return Path(path)


def read_text(path: str | Path, *, largest: int = LARGEST_LIST) -> str:
    """The text of a file, its lines ending as they do there.

    A ValueError if it is no regular file, has more than ``largest`` bytes, or is not text in UTF-8.
    """
    size = require_regular(path).stat().st_size
    if size > largest:
        raise ValueError(f"{path} has {size:,} bytes, more than the {largest:,} that are read. Is it the right file?")
    try:
        with open(path, "rb") as file:
            return file.read(largest).decode("utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not text in UTF-8: {error.reason} at byte {error.start}.") from None


def read_json(path: str | Path, *, lines: bool = False) -> Any:
    """What a JSON file holds, or each of its lines; a ValueError names the file and the place where it is none."""
    text = read_text(path)
    try:
        return [json.loads(line) for line in text.splitlines()] if lines else json.loads(text)
    except (json.JSONDecodeError, RecursionError) as error:
        raise ValueError(f"{path} is no whole JSON file: {error}.") from None


def read_table(path: str | Path, *columns: str) -> list[dict[str, str]]:
    """The rows of a CSV file; a ValueError if it lacks one of the columns, or a row has too few fields or too many."""
    reader = csv.DictReader(io.StringIO(read_text(path).removeprefix("\ufeff"), newline=""), strict=True)
    if lacking := [name for name in columns if name not in (reader.fieldnames or ())]:
        raise ValueError(f"{path} must have the columns {', '.join(columns)}, but {lacking[0]} is missing.")
    rows = []
    try:
        for row in reader:
            if None in row or None in row.values():
                raise csv.Error(f"there must be {len(reader.fieldnames or ())} fields")
            rows.append(row)
    except csv.Error as error:
        raise ValueError(f"{path}, line {reader.line_num}: {error}.") from None
    return rows


def read_yaml(path: str | Path) -> dict[str, Any]:
    """The names and values of a YAML file, read as they look.

    Numbers are those of YAML 1.2's core schema, 1e-3 too; 1:30 and 0100 are words, which no number setting takes, and
    so are yes and no. Each name may stand once; tags and aliases, which such files do not need, are refused.

    Raises:
        FileNotFoundError: if there is none.
        ValueError: if it holds anything else; the sentence names file and line.
    """
    try:
        content = yaml.load(read_text(path, largest=LARGEST_SETTINGS), _Plain)  # a SafeLoader, and less
    except yaml.MarkedYAMLError as error:
        line = f", line {error.problem_mark.line + 1}" if error.problem_mark else ""
        raise ValueError(f"{path}{line}: {error.problem or error.context}.") from None
    except yaml.YAMLError as error:
        raise ValueError(f"{path} is no YAML file: {' '.join(str(error).split())}.") from None
    if not isinstance(content, dict | None):
        raise ValueError(f"{path}: its lines must be of the form 'name: value', not a {type(content).__name__}.")
    return content or {}


def read_value(text: str) -> Any:
    """What a YAML file would hold for a value; text that is no YAML is a word."""
    try:
        return yaml.load(text, _Plain)
    except yaml.YAMLError:
        return text


class _Plain(yaml.SafeLoader):
    """YAML without what surprises: tags, aliases, names that stand twice, and the numbers of YAML 1.1."""

    depth = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        event, problem = self.peek_event(), ""
        self.depth += 1
        if isinstance(event, yaml.AliasEvent) or getattr(event, "tag", None):
            problem = "tags (!) and aliases (*) are not read; write the value itself"
        elif self.depth > DEEPEST:
            problem = f"more than {DEEPEST} levels inside each other"
        if problem:
            raise yaml.MarkedYAMLError(problem=problem, problem_mark=event.start_mark)
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        found: dict[Any, Any] = {}
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode) or key.value in found:
                problem = f"{key.value} stands twice" if isinstance(key, yaml.ScalarNode) else "a name must be a word"
                raise yaml.MarkedYAMLError(problem=problem, problem_mark=key.start_mark)
            found[key.value] = self.construct_object(value, deep=True)
        return found

    def construct_number(self, node: Any) -> int | float:
        try:
            return int(node.value)
        except ValueError:
            return float(node.value.replace(".inf", "inf").replace(".nan", "nan"))


_Plain.yaml_implicit_resolvers = {}
for _tag, _pattern, _first in (
    ("bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("number", r"[-+]?(0|[1-9][0-9]*)|[-+]?(\.[0-9]+|(0|[1-9][0-9]*)(\.[0-9]*)?)([eE][-+]?[0-9]+)?", "-+.0123456789"),
    ("number", r"[-+]?\.inf|\.nan", "-+."),
):
    _Plain.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(f"^(?:{_pattern})$"), _first)
_Plain.add_constructor("tag:yaml.org,2002:number", _Plain.construct_number)
