"""Where the files of the lessons lie, whatever folder a notebook is run from."""

from __future__ import annotations

import runpy
from pathlib import Path

from dsl_teach.storage import open_folder

_BESIDE = Path(__file__).resolve().parents[1]
NOTEBOOKS = _BESIDE if (_BESIDE / "configs").is_dir() else Path.cwd()
"""The folder of the lessons; where only the packages are installed, the folder that one works in."""
ROOT = NOTEBOOKS.parent
SWEEPS, RESULTS, DATA, RUNS = NOTEBOOKS / "configs" / "sweeps", NOTEBOOKS / "results", ROOT / "data", ROOT / "runs"


def output_folder(name: str | Path) -> Path:
    """The folder that a notebook writes to, made if it is not there: a bare name lies in ``runs/``, a path as usual."""
    return open_folder(RUNS / name if Path(name).name == str(name) else name)


def data_folder(dataset: str, data_root: str, *, images_per_class: int = 20) -> Path:
    """The folder of the data; without one, that of a synthetic data set, which is drawn where none is yet.

    Raises:
        FileNotFoundError: if ``data_root`` names a folder that is not there.
    """
    if data_root:
        if not Path(data_root).is_dir():
            raise FileNotFoundError(
                f"data_root names {data_root}, and there is no such folder. Name the folder of {dataset}, or leave "
                "data_root empty for a synthetic data set."
            )
        return Path(data_root).resolve()
    folder = RUNS / "synthetic" / f"{dataset}_{images_per_class}"
    if not folder.exists():
        script = runpy.run_path(str(ROOT / "data_scripts" / "make_synthetic.py"))
        script[f"make_{dataset}"](folder, images_per_class=images_per_class)
    return folder
