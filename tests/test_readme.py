"""What the README points to is there: files, targets of make, commands, names."""

import importlib.util
import pkgutil
import re
from pathlib import Path

import pytest
import typer

from dsl_teach.cli import app

ROOT = Path(__file__).parent.parent
PAGES = {name: (ROOT / name).read_text(encoding="utf-8") for name in ("README.md", "docs/running.md", "docs/data.md")}
README = "\n".join(PAGES.values())
CODE = "\n".join(re.findall(r"^```.*?^```|`[^`\n]+`", README, flags=re.MULTILINE | re.DOTALL))
"""Fenced blocks, and what stands between backticks."""
DATA = "\n".join(line for line in PAGES["docs/data.md"].splitlines() if line[:1] == "|")
"""The lines of its table of data."""


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


def test_every_command_of_make_exists():
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))
    assert set(found(r"\bmake ([a-z]+)")) <= targets


@pytest.mark.parametrize("script", found(r"\bpython[\d.]* ([\w./-]+\.py)"))
def test_a_script_that_python_is_to_run_is_there(script):
    assert (ROOT / script).is_file()


@pytest.mark.parametrize("module", found(r" -m ([\w.]+)"))
def test_a_module_that_python_is_to_run_can_be_imported(module):
    assert importlib.util.find_spec(module)


@pytest.mark.parametrize("command", found(r"\bdsl-teach ([a-z-]+)"))
def test_a_command_of_dsl_teach_exists(command):
    assert command in typer.main.get_command(app).commands


@pytest.mark.parametrize("name", found(r"`((?:[a-z]\w*\.)+(?!py`)\w+)`", DATA))
def test_a_name_in_the_table_of_data_is_one_of_dsl_teach(name):
    pkgutil.resolve_name(f"dsl_teach.{name.removeprefix('dsl_teach.')}")
