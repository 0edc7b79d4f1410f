"""Write the public address of pyproject.toml to the pages that need one: ``python tools/address.py``.

While ``[project.urls]`` has no ``Repository``, no page shows an address: the first cell of lessons 00 to 03 then
installs from the clone that the notebook lies in, or says that it lies in none.
"""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import nbformat

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
LESSONS = sorted((ROOT / "notebooks").glob("0[0-3]_*.ipynb"))
CELL = """\
# Does nothing where dsl_teach is installed; elsewhere it installs it from a clone of the repository
import sys
from importlib.util import find_spec
from pathlib import Path

if not (find_spec("dsl_teach") and find_spec("dsl_lessons")):
    clone = next((x for x in Path("x").absolute().parents if (x / "notebooks" / "dsl_lessons").is_dir()), None)
    if clone is None:
        {elsewhere}
    %pip install --quiet --editable "{{clone}}[lab]"
    sys.path[:0] = [str(clone), str(clone / "notebooks")]"""
REFUSE = (
    'raise FileNotFoundError("This notebook lies in no clone of dsl_teach. Open it in the folder notebooks of one.")'
)
FETCH = """\
!git clone --quiet --depth 1 {address} dsl_teach
        clone = Path("dsl_teach").absolute()"""


def address() -> str:
    """The ``Repository`` of ``[project.urls]``; empty while there is none."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return str(project.get("urls", {}).get("Repository", ""))


def install_cell(address: str) -> str:
    """The first code cell of lessons 00 to 03."""
    return CELL.format(elsewhere=FETCH.format(address=address) if address else REFUSE)


def main() -> None:
    """Write the address, or its absence, to the lessons and the README."""
    for path in LESSONS:
        notebook = nbformat.read(path, as_version=4)
        cell = next(cell for cell in notebook.cells if cell.cell_type == "code")
        cell.source = install_cell(address())
        nbformat.write(notebook, path)
    line, text = f"git clone {address() or 'ADDRESS'} dsl_teach", README.read_text(encoding="utf-8")
    README.write_text(re.sub(r"git clone \S+ dsl_teach", line, text), encoding="utf-8")


if __name__ == "__main__":
    main()
