"""Where the files of the lessons lie, whatever folder a notebook is run from."""

from __future__ import annotations

from pathlib import Path

from dsl_teach.storage import open_folder

_BESIDE = Path(__file__).resolve().parents[1]
NOTEBOOKS = _BESIDE if (_BESIDE / "configs").is_dir() else Path.cwd()
"""The folder of the lessons; where only the packages are installed, the folder that one works in."""
ROOT = NOTEBOOKS.parent
CONFIGS, RESULTS, DATA, RUNS = NOTEBOOKS / "configs", NOTEBOOKS / "results", ROOT / "data", ROOT / "runs"


def output_folder(name: str | Path) -> Path:
    """The folder that a notebook writes to, made if it is not there: a bare name lies in ``runs/``, a path as usual."""
    return open_folder(RUNS / name if Path(name).name == str(name) else name)
