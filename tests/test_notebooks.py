"""The lessons as they are committed: run in order, short, without machine paths; cost cards, exercises, solutions."""

import ast
import json
import re
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import nbformat
import pytest
from dsl_lessons.exercises import checks

from dsl_teach.config import Settings
from tests.conftest import ROOT, solutions

NOTEBOOKS = sorted((ROOT / "notebooks").glob("[0-9][0-9]_*.ipynb"))
LESSONS = NOTEBOOKS[1:]
OWN_PARAMETERS = """
    seeds alphas starts flip_rates flip_alphas base methods images_per_class images_per_second device workers
    processes loader_workers output_folder made_by variants styles sample
"""
"""Parameters that are no setting of a run. Everything else in a parameters cell carries a setting's name."""
MACHINE_PATHS = re.compile(r"/(?:home|root|work|tmp|Users|mnt|usr|opt|var)/[\w.]|[A-Z]:\\\\")
CHECK_CALL = re.compile(r"checks\.(check_\w+)\((my_\w+)\)")
COST_CARD = re.compile(r"\| minutes \| memory \| disk \| accelerator \|\n\|[-| ]+\|\n\| ([\d.]+)[^|]*(?:\|[^|]+){3}\|")

every = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
lessons = pytest.mark.parametrize("path", LESSONS, ids=lambda path: path.stem)


def read(path: Path):
    return nbformat.read(path, as_version=4)


def code_cells(path: Path):
    return [cell for cell in read(path).cells if cell.cell_type == "code"]


def texts(cell) -> str:
    """Everything a cell printed or shows as text."""
    parts = []
    for output in cell.get("outputs", []):
        parts += [output.get("text", ""), *output.get("data", {}).values(), *output.get("traceback", [])]
    return "\n".join("".join(part) for part in parts if isinstance(part, (str, list)))


@every
def test_cells_are_few_and_short_and_were_run_in_order_without_an_error(path):
    cells = code_cells(path)
    lengths = [len(cell.source.splitlines()) for cell in cells]
    assert max(lengths) <= 25
    assert sum(lengths) / len(lengths) <= 10
    assert len(read(path).cells) <= 35
    counts = [cell.execution_count for cell in cells]
    assert counts == list(range(1, len(counts) + 1)), f"run it: python tools/run_notebooks.py notebooks/{path.name}"
    outputs = [output for cell in cells for output in cell.outputs]
    assert any("image/png" in output.get("data", {}) for output in outputs), "no picture is saved"
    assert not [output for output in outputs if output.output_type == "error"]


@every
def test_nothing_of_a_runner_a_widget_or_a_machine_is_saved(path):
    notebook = read(path)
    assert not {"widgets", "papermill"} & set(notebook.metadata)
    for cell in notebook.cells:
        assert not {"papermill", "execution"} & set(cell.metadata)
        kinds = {kind for output in cell.get("outputs", []) for kind in output.get("data", {})}
        assert "application/vnd.jupyter.widget-view+json" not in kinds
        shown = re.sub(r"[A-Za-z0-9+/]{200,}", "", cell.source + texts(cell))  # not in the bytes of pictures
        found = MACHINE_PATHS.search(shown)
        assert not found, f"{path.name} shows {shown[found.start() : found.end() + 40]!r}"


@every
def test_parameters_carry_the_names_of_settings(path):
    (cell,) = [cell for cell in code_cells(path) if "parameters" in cell.metadata.get("tags", [])]
    lines = [line for line in ast.parse(cell.source).body if isinstance(line, ast.Assign)]
    values = {line.targets[0].id: ast.literal_eval(line.value) for line in lines}
    unknown = values.keys() - Settings.model_fields.keys() - set(OWN_PARAMETERS.split())
    assert not unknown, f"{unknown} are not listed in {__file__}"
    said = {name: value for name, value in values.items() if name in Settings.model_fields and value != ""}
    Settings(**{"data_root": "."} | said)  # right types and ranges, and they go together


@every
def test_the_cost_card_tells_what_was_measured(path):
    """Within a factor of two, or half a minute, of the processor time that one run took."""
    card = COST_CARD.search(read(path).cells[0].source)
    assert card, "the first cell needs the table | minutes | memory | disk | accelerator |"
    told, measured = float(card.group(1)), read(path).metadata.get("dsl_teach", {}).get("measured_minutes")
    assert measured, f"measure it: python tools/run_notebooks.py notebooks/{path.name}"
    assert measured / 2 <= told <= 2 * measured or abs(told - measured) <= 0.5


@every
def test_some_outputs_are_compared(path):
    marked = [cell for cell in code_cells(path) if "# NBVAL_CHECK_OUTPUT" in cell.source]
    assert 1 <= len(marked) <= 6
    for cell in marked:
        assert texts(cell).strip(), "a marked cell prints nothing"
        assert not re.search(r"\d\.\d{5,}", texts(cell)), "compared figures are to be rounded"


@every
def test_links_between_notebooks_lead_somewhere(path):
    for cell in read(path).cells:
        for target in re.findall(r"\]\(([\w./]+)\)", cell.source) if cell.cell_type == "markdown" else []:
            assert (path.parent / target).exists(), f"{path.name} links to {target}"


@lessons
def test_exercises_come_unsolved_and_say_how_hard_and_how_long_they_are(path):
    pairs = [(words, cell) for words, cell in pairwise(read(path).cells) if CHECK_CALL.search(cell.source)]
    quizzes = [cell for cell in code_cells(path) if "checks.check_quiz(" in cell.source]
    assert pairs
    assert len(pairs) + len(quizzes) >= 3
    for words, cell in pairs:
        assert "Not yet." in texts(cell)
        assert re.search(r"(easy|medium|hard).*minute.*hint", words.source.lower(), flags=re.DOTALL)


SOLUTIONS = [
    (path.name[:2], *call) for path in LESSONS for cell in code_cells(path) for call in CHECK_CALL.findall(cell.source)
]


@pytest.mark.parametrize(("lesson", "check", "mine"), SOLUTIONS)
def test_each_solution_passes_its_check(lesson, check, mine):
    verdict = getattr(checks, check)(getattr(solutions(lesson), mine))
    assert verdict.right, str(verdict)


def papermill(output: Path, *words: str, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    """Lesson 06, as small as can be, from any folder."""
    command = [sys.executable, "-m", "papermill", str(ROOT / "notebooks" / "06_full_runs.ipynb"), str(output)]
    tiny = "network: strided_cnn, width: 4, epochs: 2, batch_size: 8, m: 20, correction_start: 1"
    small = f"base: {{dataset: clothing1m, {tiny}}}"
    more = ["--no-progress-bar", "-p", "images_per_class", "4", "-y", small, *words]
    return subprocess.run(command + more, cwd=cwd, capture_output=True, text=True, timeout=600)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("data_root", "data_root names none_such, and there is no such folder"),
        ("sedes", "This notebook has no parameter sedes. Did you mean seeds?"),
        ("workers", "workers must be of the kind of 1, but it is 'none_such'."),
    ],
)
def test_a_notebook_that_cannot_run_says_why_without_a_traceback_and_is_kept(tmp_path, name, sentence):
    done = papermill(tmp_path / "out.ipynb", "-p", name, "none_such")
    assert done.returncode == 1
    assert sentence in done.stderr
    cells = [cell for cell in read(tmp_path / "out.ipynb").cells if "cell_type" in cell]
    (error,) = [x for cell in cells for x in cell.get("outputs", []) if x.output_type == "error"]
    assert sentence in error.traceback[0]
    assert len(error.traceback) == 1


@pytest.mark.slow
def test_a_notebook_runs_from_any_folder_and_takes_up_what_is_finished(tmp_path):
    rows = []
    for folder, cwd in ((str(tmp_path / "x"), ROOT), ("./x", tmp_path)):
        done = papermill(tmp_path / "out.ipynb", "-p", "output_folder", folder, cwd=cwd)
        assert done.returncode == 0, done.stderr
        rows.append(json.loads((tmp_path / "x" / "results.json").read_text())["rows"])
    assert rows[0] == rows[1]
