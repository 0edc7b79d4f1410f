"""docs/equations.md tells the truth: functions, tests and lessons that it names are there."""

import ast
import importlib
import re
from pathlib import Path

import nbformat
import pytest

ROOT = Path(__file__).parent.parent
LINES = [line for line in (ROOT / "docs" / "equations.md").read_text("utf-8").splitlines() if line.startswith("| ")]
ROW = re.compile(r"\| (.+?) \| (.+) \| `([\w.]+)` \| `([\w/.]+)::([\w:]+)` \| (?:(\d\d): `(.+?)`|no lesson) \|")


@pytest.mark.parametrize("line", LINES[2:], ids=lambda line: line.split(" | ")[0][2:])
def test_a_line_names_a_function_its_test_and_the_lesson_that_calls_it(line):
    _, _, function, file, test, lesson, call = ROW.fullmatch(line).groups()
    module, _, name = function.rpartition(".")
    assert getattr(importlib.import_module(module), name).__doc__
    node = ast.parse((ROOT / file).read_text(encoding="utf-8"))
    for part in test.split("::"):  # as pytest names it: a class where there is one, then the function
        (node,) = [inner for inner in node.body if getattr(inner, "name", None) == part]
    assert isinstance(node, ast.FunctionDef)
    if lesson is None:
        return
    (path,) = (ROOT / "notebooks").glob(f"{lesson}_*.ipynb")
    called = re.compile(r"(?<!\w)" + re.escape(call))  # my_density( is not density(
    assert any(called.search(c.source) for c in nbformat.read(path, 4).cells if c.cell_type == "code")


def test_the_formulas_of_the_method_are_all_there():
    """Every public formula of prototypes, loss and correction report has its line."""
    wanted = {"cosine_similarity", "similarity_threshold", "density", "eta", "choose", "select_prototypes"}
    wanted |= {"class_scores", "correct_labels", "self_learning_loss", "chance_changed", "correction_report"}
    assert wanted <= {ROW.fullmatch(line).group(3).rpartition(".")[2] for line in LINES[2:]}


def test_the_functions_on_the_symbol_card_can_be_imported():
    names = re.findall(r"`(dsl_teach(?:\.\w+)+)`", (ROOT / "docs" / "symbols.md").read_text("utf-8"))
    assert len(names) > 15
    for module, _, name in (name.rpartition(".") for name in names):
        assert hasattr(importlib.import_module(module), name), f"{module} has no {name}"
