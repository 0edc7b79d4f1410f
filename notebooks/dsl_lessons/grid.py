"""A grid of runs from a YAML file: cases x methods x values of knobs x seeds, each one a cell with a name of its own.

notebook: ../05_clothing1m.ipynb   # every cell is this notebook, run by papermill; without it, a run of settings
    base_from: clothing1m_smp.yaml     # what all cells share, from another file beside this one
    base: {epochs: 40}                 # and here; this counts
cases: {even: {}, uneven: {rarest_share: 0.2}}
methods: {cross-entropy: {alpha: 0}, SMP: {}}
grid: {p: [1, 8]}                  # every combination; a method that sets a knob itself keeps its own value
seeds: 10                          # 0 to 9; or a list
rows: ../results/my_grid.json      # where the rows go, seen from the folder of the YAML file
"""

from __future__ import annotations

import hashlib
import itertools
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import reduce
from pathlib import Path
from typing import Any

import yaml

from dsl_teach.config import Settings

KEYS = ("notebook", "base_from", "base", "cases", "methods", "grid", "seeds", "rows")
PLACES = ("data_root", "test_root", "labels_file")
"""Settings that say where something lies: they change nothing about a result, and stay out of names and rows."""


@dataclass(frozen=True)
class Cell:
    """One run of a grid."""

    labels: dict[str, Any]
    """``case``, ``method``, the values of the knobs, ``seed``."""
    parameters: dict[str, Any]
    """Settings of the run, or parameters of the notebook, by name."""
    notebook: Path | None = None

    @property
    def name(self) -> str:
        """Tells the cells of a grid apart for people, and its end for good: other parameters, other name."""
        words = "-".join(
            re.sub(r"[^\w.]+", "_", str(value)).strip("_") for value in self.labels.values() if value != ""
        )
        kept = {name: value for name, value in self.parameters.items() if name not in PLACES}
        said = json.dumps([self.notebook and self.notebook.name, kept], sort_keys=True)
        return f"{words[:80]}-{hashlib.sha256(said.encode()).hexdigest()[:8]}"

    def __str__(self) -> str:
        knobs = [f"{name} {value}" for name, value in self.labels.items() if name not in ("case", "method")]
        return ", ".join([*(str(self.labels[name]) for name in ("case", "method") if self.labels[name] != ""), *knobs])


@dataclass(frozen=True)
class Grid:
    """What a YAML file of a grid says."""

    path: Path
    base: dict[str, Any] = field(default_factory=dict)
    cases: dict[str, dict[str, Any]] = field(default_factory=lambda: {"": {}})
    methods: dict[str, dict[str, Any]] = field(default_factory=lambda: {"": {}})
    grid: dict[str, list[Any]] = field(default_factory=dict)
    seeds: tuple[int, ...] = (0,)
    notebook: Path | None = None
    rows: Path | None = None

    def cells(self) -> list[Cell]:
        """Every cell once, seed by seed, so that an unfinished grid holds whole comparisons.

        Raises:
            ValueError: if a cell has no valid settings.
        """
        found = {cell.name: cell for cell in self._cells()}
        return list(found.values())

    def _cells(self) -> Iterator[Cell]:
        knobs = [dict(zip(self.grid, values, strict=True)) for values in itertools.product(*self.grid.values())]
        for seed, case, method, chosen in itertools.product(self.seeds, self.cases, self.methods, knobs):
            parameters = reduce(merged, (self.base, chosen, self.cases[case], self.methods[method], {"seed": seed}))
            values = {name: parameters[name] for name in self.grid}
            labels = {"case": case, "method": method, **values, "seed": seed}
            if self.notebook is None:
                _require_settings(self.path, parameters)
            yield Cell(labels, parameters, self.notebook)

    def plan(self) -> dict[str, Any]:
        """What the rows were made by, without places on this machine."""
        base = {name: value for name, value in self.base.items() if name not in PLACES}
        return {"base": base, "cases": self.cases, "methods": self.methods, "grid": self.grid, "seeds": self.seeds}


def read_grid(path: str | Path, changes: Mapping[str, Any] | None = None) -> Grid:
    """Read a grid from its YAML file.

    Args:
        path: the file.
        changes: put into ``base``, over what stands there: a data folder, say.

    Raises:
        FileNotFoundError: if the file, or the notebook that it names, is missing.
        ValueError: if it is no mapping, or a name in it is unknown.
    """
    path = Path(path)
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise ValueError(f"{path} is no plain YAML file: {error}") from error
    if not isinstance(content, dict):
        raise ValueError(f"{path} must hold names and values: {', '.join(KEYS)}.")
    unknown = [str(name) for name in content if name not in KEYS]
    if unknown:
        raise ValueError(f"{path}: a grid has no {unknown[0]!r}; it has {', '.join(KEYS)}.")
    read: dict[str, Any] = {n: _mapping(path, n, content[n]) for n in ("base", "grid") if n in content}
    for name in ("cases", "methods"):
        if name in content:
            entries = _mapping(path, name, content[name])
            read[name] = {str(key): _mapping(path, key, value) for key, value in entries.items()}
    read["base"] = _base_from(path, content.get("base_from")) | read.get("base", {}) | dict(changes or {})
    read["grid"] = {knob: value if isinstance(value, list) else [value] for knob, value in read.get("grid", {}).items()}
    places: dict[str, Any] = {
        name: (path.parent / content[name]).resolve() for name in ("notebook", "rows") if content.get(name)
    }
    if "notebook" in places and not places["notebook"].is_file():
        raise FileNotFoundError(f"{path}: there is no notebook {places['notebook']}.")
    return Grid(path, seeds=_seeds(path, content.get("seeds", 1)), **read, **places)


def _base_from(path: Path, name: str | None) -> dict[str, Any]:
    return {} if not name else _mapping(path, name, yaml.safe_load((path.parent / name).read_text(encoding="utf-8")))


def merged(before: dict[str, Any], after: dict[str, Any]) -> dict[str, Any]:
    """The later value of each name counts; where both are mappings, as ``more_settings`` is, they are merged too."""
    both = {
        name
        for name in before.keys() & after.keys()
        if isinstance(before[name], dict) and isinstance(after[name], dict)
    }
    return before | after | {name: before[name] | after[name] for name in both}


def _mapping(path: Path, name: object, value: Any) -> dict[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise ValueError(f"{path}: {name} must hold names and values, but it is {value!r}.")
    return value


def _seeds(path: Path, value: Any) -> tuple[int, ...]:
    seeds = list(range(value)) if isinstance(value, int) and not isinstance(value, bool) else value
    if not isinstance(seeds, list) or not seeds or not all(type(seed) is int and seed >= 0 for seed in seeds):
        raise ValueError(f"{path}: seeds must be a number of seeds, or a list of whole numbers, but it is {value!r}.")
    return tuple(seeds)


def _require_settings(path: Path, parameters: dict[str, Any]) -> None:
    try:
        Settings().replace(**parameters)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{path}: {error}") from error
