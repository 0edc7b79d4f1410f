"""The rules of the notebooks: what is saved, what is shown, what it costs; and the solutions of their exercises."""

from __future__ import annotations

import ast
import dataclasses
import importlib.util
import re
from itertools import pairwise
from pathlib import Path

import nbformat
import pytest
from dsl_lessons import checks

from dsl_teach import Settings

ROOT = Path(__file__).parent.parent
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
LESSONS = [path for path in NOTEBOOKS if not path.name.startswith("00")]
OWN_PARAMETERS = {
    "seeds": "how many seeds",
    "workers": "runs side by side",
    "output_folder": "where results go",
    "made_by": "which YAML made the results",
    "alphas": "values of alpha to compare",
    "starts": "values of correction_start to compare",
    "flip_alphas": "values of alpha to compare under pair flips",
    "flip_rates": "rates of pair flips to compare",
    "images_per_class": "size of a stand-in",
    "baseline": "whether cross-entropy is trained too",
    "more_runs": "changes of settings, a run for each",
    "more_settings": "other settings of the runs",
    "compare_with": "the other data set, or a folder with its runs",
    "device": "auto, cpu or cuda",
    "processes": "that train one run together",
    "images_per_second": "a rate that the reader measured",
    "runs_folder": "where run folders are",
    "suspects": "which mistakes to switch on, one at a time",
    "styles": "into how many ways of writing digits are divided",
    "sample": "which training image to explain; -1: the most doubtful one",
}
"""Parameters that are no setting of a run. Everything else in a parameters cell carries a setting's name."""

MACHINE_PATHS = re.compile(r"/(?:home|root|work|tmp|Users|mnt|usr|opt|var)/[\w.]|[A-Z]:\\\\")
CHECK_CALL = re.compile(r"checks\.(check_\w+)\((my_\w+)\)")
COST_CARD = re.compile(
    r"\| minutes \| memory \| disk \| accelerator \|\n\|[-| ]+\|\n\| ([\d.]+)[^|]*\|[^|]+\|[^|]+\|[^|]+\|"
)


def name_of(path: Path) -> str:
    return path.stem


def read(path: Path):
    return nbformat.read(path, as_version=4)


def code_cells(path: Path):
    return [cell for cell in read(path).cells if cell.cell_type == "code"]


def texts(cell) -> str:
    """Everything a cell printed or shows as text."""
    parts = []
    for output in cell.outputs:
        parts += [output.get("text", ""), *output.get("data", {}).values(), *output.get("traceback", [])]
    return "\n".join("".join(part) for part in parts if isinstance(part, (str, list)))


def parameters(path: Path) -> dict[str, object]:
    tagged = [cell for cell in code_cells(path) if "parameters" in cell.metadata.get("tags", [])]
    assert len(tagged) == 1, f"{path.name} needs one cell tagged parameters"
    lines = ast.parse(tagged[0].source).body
    return {line.targets[0].id: ast.literal_eval(line.value) for line in lines if isinstance(line, ast.Assign)}


every = pytest.mark.parametrize("path", NOTEBOOKS, ids=name_of)
lessons = pytest.mark.parametrize("path", LESSONS, ids=name_of)


@every
def test_cells_were_run_in_order_and_once(path):
    counts = [cell.execution_count for cell in code_cells(path)]
    assert counts == list(range(1, len(counts) + 1)), f"run it: python -m dsl_lessons.execute notebooks/{path.name}"


@every
def test_outputs_are_saved_and_hold_no_error(path):
    outputs = [output for cell in code_cells(path) for output in cell.outputs]
    assert len(outputs) >= 5
    assert any("image/png" in output.get("data", {}) for output in outputs), "no picture is saved"
    assert not [output for output in outputs if output.output_type == "error"]


@every
def test_no_widget_state_and_nothing_of_the_runner_is_saved(path):
    notebook = read(path)
    assert "widgets" not in notebook.metadata
    assert "papermill" not in notebook.metadata
    for cell in notebook.cells:
        assert not {"papermill", "execution"} & set(cell.metadata), "metadata of a runner"
        for output in cell.get("outputs", []):
            assert "application/vnd.jupyter.widget-view+json" not in output.get("data", {}), (
                "a widget without its kernel"
            )


@every
def test_no_machine_paths(path):
    for cell in read(path).cells:
        shown = cell.source + (texts(cell) if cell.cell_type == "code" else "")
        found = MACHINE_PATHS.search(re.sub(r"[A-Za-z0-9+/]{200,}", "", shown))  # not in the bytes of pictures
        assert not found, f"{path.name} shows {shown[found.start() : found.end() + 40]!r}"


@every
def test_code_cells_are_short(path):
    lengths = [len(cell.source.splitlines()) for cell in code_cells(path)]
    assert max(lengths) <= 25
    assert sum(lengths) / len(lengths) <= 10


@lessons
def test_a_lesson_has_25_to_45_cells(path):
    assert 25 <= len(read(path).cells) <= 45


@every
def test_parameters_carry_the_names_of_settings(path):
    defaults = {field.name: field.default for field in dataclasses.fields(Settings)}
    for name, value in parameters(path).items():
        assert name in defaults or name in OWN_PARAMETERS, f"{name} is neither a setting nor explained in {__file__}"
        if name in defaults:
            Settings().replace(**{name: value})  # right type and range


@every
def test_the_cost_card_is_there_and_tells_what_was_measured(path):
    """Within a factor of two, or half a minute, of the processor time that one run took."""
    first = read(path).cells[0]
    assert first.cell_type == "markdown"
    assert "you can" in first.source
    card = COST_CARD.search(first.source)
    assert card, "the first cell needs the table | minutes | memory | disk | accelerator |"
    measured = read(path).metadata.get("dsl_teach", {}).get("measured_minutes")
    assert measured, f"measure it: python -m dsl_lessons.execute notebooks/{path.name}"
    told = float(card.group(1))
    assert measured / 2 <= told <= 2 * measured or abs(told - measured) <= 0.5


@every
def test_some_outputs_are_compared(path):
    marked = [cell for cell in code_cells(path) if "# NBVAL_CHECK_OUTPUT" in cell.source]
    assert 1 <= len(marked) <= 6
    for cell in marked:
        assert texts(cell).strip(), "a marked cell prints nothing"
        assert not re.search(r"\d\.\d{5,}", texts(cell)), "compared figures are to be rounded"


@every
def test_the_last_cells_sum_up_ask_and_lead_on(path):
    end = "\n".join(cell.source for cell in read(path).cells[-3:])
    for word in ("Summary", "Questions", "Next"):
        assert word in end


@every
def test_links_between_notebooks_lead_somewhere(path):
    for cell in read(path).cells:
        for target in re.findall(r"\]\(([\w./]+)\)", cell.source) if cell.cell_type == "markdown" else []:
            assert (path.parent / target).exists(), f"{path.name} links to {target}"


@lessons
def test_exercises_run_as_committed_and_their_checks_say_not_yet(path):
    exercises = [cell for cell in code_cells(path) if CHECK_CALL.search(cell.source)]
    assert len(exercises) >= 3
    for cell in exercises:
        assert "Not yet." in texts(cell), "an exercise comes unsolved, and its check says so"


@lessons
def test_each_exercise_says_how_hard_it_is_how_long_it_takes_and_gives_a_hint(path):
    cells = read(path).cells
    for before, cell in pairwise(cells):
        if cell.cell_type == "code" and CHECK_CALL.search(cell.source):
            words = before.source.lower()
            assert re.search(r"easy|medium|hard", words)
            assert "minute" in words
            assert "hint" in words


def solutions() -> list[tuple[str, str, str]]:
    return [
        (path.name[:2], *call)
        for path in LESSONS
        for cell in code_cells(path)
        for call in CHECK_CALL.findall(cell.source)
    ]


@pytest.mark.parametrize(("lesson", "check", "mine"), solutions())
def test_each_solution_passes_its_check(lesson, check, mine):
    source = ROOT / "notebooks" / "solutions" / f"lesson_{lesson}.py"
    spec = importlib.util.spec_from_file_location(source.stem, source)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    verdict = getattr(checks, check)(getattr(module, mine))
    assert verdict.right, str(verdict)
