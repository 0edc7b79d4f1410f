"""docs/equations.md tells the truth: functions, tests and lessons that it names are there."""

from __future__ import annotations

import ast
import importlib
import re
from pathlib import Path

import nbformat
import pytest

ROOT = Path(__file__).parent.parent
ROW = re.compile(r"^\| (.+?) \| (.+) \| `([\w.]+)` \| `([\w/.]+)::(\w+)` \| (\d\d): `(.+?)` \|$", re.MULTILINE)
ROWS = ROW.findall((ROOT / "docs" / "equations.md").read_text(encoding="utf-8"))


def test_every_line_of_the_table_is_read():
    lines = [line for line in (ROOT / "docs" / "equations.md").read_text().splitlines() if line.startswith("| ")]
    assert len(ROWS) == len(lines) - 2 >= 15  # the head and the rule


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0])
class TestEquation:
    def test_its_function_can_be_imported_and_says_what_it_does(self, row):
        module, _, name = row[2].rpartition(".")
        assert getattr(importlib.import_module(module), name).__doc__

    def test_its_test_exists(self, row):
        tree = ast.parse((ROOT / row[3]).read_text(encoding="utf-8"))
        assert row[4] in {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}

    def test_its_lesson_calls_it(self, row):
        (path,) = (ROOT / "notebooks").glob(f"{row[5]}_*.ipynb")
        cells = nbformat.read(path, as_version=4).cells
        call = re.compile(r"(?<!\w)" + re.escape(row[6]))  # my_density( is not density(
        assert any(call.search(cell.source) for cell in cells if cell.cell_type == "code")


def test_the_formulas_of_the_method_are_all_there():
    """Every public formula of prototypes, loss and correction report has its line."""
    wanted = {"cosine_similarity", "similarity_threshold", "density", "eta", "choose", "select_prototypes"}
    wanted |= {"class_scores", "correct_labels", "self_learning_loss", "chance_changed", "correction_report"}
    assert wanted <= {row[2].rpartition(".")[2] for row in ROWS}
