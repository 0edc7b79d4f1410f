"""The first cell of lessons 00 to 03: nothing where the package is installed; a clone is installed where it is not."""

import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import nbformat
import pytest

from tools.address import LESSONS, ROOT, address, install_cell

NAMES = 'import dsl_lessons.paths, dsl_teach; print("found", dsl_teach.__path__[0], dsl_lessons.paths.NOTEBOOKS)'


@pytest.fixture
def python(tmp_path):
    """Runs a cell by IPython without dsl_teach; pip and git note what they are asked, and git "clones" by a link."""
    (tmp_path / "pip.py").write_text("import sys; open(__file__ + '.log', 'a').write(' '.join(sys.argv[1:]) + '\\n')")
    (tmp_path / "git").write_text(f'#!/bin/sh\necho "$@" >> "$0.log"\nfor to; do :; done\nln -s "{ROOT}" "$to"\n')
    (tmp_path / "git").chmod(0o755)

    def run(cell: str, cwd: Path, *installed: Path) -> tuple[str, list[str]]:
        (tmp_path / "cell.ipy").write_text(f"{cell}\n{NAMES}\n")
        paths = [str(tmp_path), *map(str, installed), sysconfig.get_path("purelib")]  # -S: its .pth files are not read
        env = os.environ | {"PYTHONPATH": os.pathsep.join(paths), "IPYTHONDIR": str(tmp_path / "ipython")}
        env["PATH"] = f"{tmp_path}{os.pathsep}{env['PATH']}"
        command = [sys.executable, "-S", "-m", "IPython", "--colors=NoColor", str(tmp_path / "cell.ipy")]
        done = subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, timeout=600)
        logs = [tmp_path / "git.log", tmp_path / "pip.py.log"]
        return done.stdout + done.stderr, [log.read_text().strip() for log in logs if log.exists()]

    return run


def found(root: Path) -> str:
    return f"found {root / 'dsl_teach'} {root / 'notebooks'}"


@pytest.mark.parametrize("path", LESSONS, ids=lambda path: path.stem)
def test_lessons_begin_with_the_cell_for_the_address_of_the_project(path):
    first = next(cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code")
    assert first.source == install_cell(address()), "run python tools/address.py"


@pytest.mark.parametrize("known", ["", "https://example.org/dsl_teach"])
def test_where_the_package_is_installed_the_cell_does_nothing(python, tmp_path, known):
    said, asked = python(install_cell(known), tmp_path, ROOT, ROOT / "notebooks")
    assert found(ROOT) in said
    assert asked == []


@pytest.mark.parametrize("folder", [".", "notebooks", "docs/figures"])
def test_in_a_clone_that_clone_is_installed_and_found_at_once(python, folder):
    said, asked = python(install_cell("https://example.org/dsl_teach"), ROOT / folder)
    assert found(ROOT) in said
    assert asked == [f"install --quiet --editable {ROOT}[lab]"]


def test_outside_a_clone_one_is_made_if_the_address_is_known(python, tmp_path):
    said, asked = python(install_cell("https://example.org/dsl_teach"), tmp_path)
    cloned = "clone --quiet --depth 1 https://example.org/dsl_teach dsl_teach"
    assert asked == [cloned, f"install --quiet --editable {tmp_path / 'dsl_teach'}[lab]"]
    assert f"found {tmp_path / 'dsl_teach' / 'dsl_teach'}" in said


def test_outside_a_clone_a_sentence_says_what_to_do_if_no_address_is_known(python, tmp_path):
    said, asked = python(install_cell(""), tmp_path)
    assert "FileNotFoundError: This notebook lies in no clone of dsl_teach" in said
    assert asked == []
