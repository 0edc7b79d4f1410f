"""What the README and docs name is there: functions, tests, lessons, files, targets of make, commands."""

import ast
import os
import pkgutil
import re
from pathlib import Path

import nbformat
import pytest
import typer

from dsl_teach.cli import app

ROOT = Path(__file__).parent.parent
LINES = [line for line in (ROOT / "docs" / "equations.md").read_text("utf-8").splitlines() if line.startswith("| ")]
ROW = re.compile(r"\| (.+?) \| (.+) \| `([\w.]+)` \| `([\w/.]+)::([\w:]+)` \| (?:(\d\d): `(.+?)`|no lesson) \|")


@pytest.mark.parametrize("line", LINES[2:], ids=lambda line: line.split(" | ")[0][2:])
def test_a_line_names_a_function_its_test_and_the_lesson_that_calls_it(line):
    _, _, function, file, test, lesson, call = ROW.fullmatch(line).groups()
    assert pkgutil.resolve_name(function).__doc__
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


PAGES = {name: (ROOT / name).read_text(encoding="utf-8") for name in ("README.md", "docs/running.md", "docs/data.md")}
README = "\n".join(PAGES.values())
CODE = "\n".join(re.findall(r"^```.*?^```|`[^`\n]+`", README, flags=re.MULTILINE | re.DOTALL))
"""Fenced blocks, and what stands between backticks."""
DATA = "\n".join(line for line in PAGES["docs/data.md"].splitlines() if line[:1] == "|")
"""The lines of its table of data."""
SYMBOLS = (ROOT / "docs" / "symbols.md").read_text("utf-8")


def found(pattern: str, text: str = CODE) -> list[str]:
    """What the pattern finds, at least once: a check that finds nothing checks nothing."""
    names = sorted(set(re.findall(pattern, text, flags=re.MULTILINE)))
    assert names, f"the README has nothing like {pattern}"
    return names


def test_every_link_into_the_repository_leads_somewhere():
    pages = [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]
    links = [(page, link) for page in pages for link in re.findall(r"\]\((?!http|#)([^)#]+)", page.read_text("utf-8"))]
    assert len(links) > len(pages)
    assert [(page.name, link) for page, link in links if not (page.parent / link).exists()] == []


def ours(name):
    return pkgutil.resolve_name(f"dsl_teach.{name.removeprefix('dsl_teach.')}")


TARGETS = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE)
NAMED = [
    *((TARGETS.index, name) for name in found(r"\bmake ([a-z]+)")),
    *((os.stat, ROOT / name) for name in found(r"\bpython[\d.]* ([\w./-]+\.py)")),
    *((pkgutil.resolve_name, name) for name in found(r" -m ([\w.]+)")),
    *((typer.main.get_command(app).commands.__getitem__, name) for name in found(r"\bdsl-teach ([a-z-]+)")),
    *((ours, name) for name in found(r"`((?:[a-z]\w*\.)+(?!py`)\w+)`", DATA)),
    *((ours, name) for name in found(r"`(dsl_teach(?:\.\w+)+)`", SYMBOLS)),
]


@pytest.mark.parametrize(("look_up", "name"), NAMED)
def test_what_a_page_names_is_there(look_up, name):
    look_up(name)
