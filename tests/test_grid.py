"""Grids of runs: what a YAML file means."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from dsl_lessons.grid import Grid, read_grid

CONFIGS = Path(__file__).parent.parent / "notebooks" / "configs"
GRIDS = [path for path in sorted(CONFIGS.glob("*.yaml")) if "methods" in yaml.safe_load(path.read_text("utf-8"))]


def grid_of(tmp_path, text: str) -> Grid:
    (tmp_path / "grid.yaml").write_text(text)
    return read_grid(tmp_path / "grid.yaml")


def test_every_combination_once_seed_by_seed(tmp_path):
    cells = grid_of(
        tmp_path,
        """
        base: {epochs: 2}
        cases: {even: {}, uneven: {rarest_share: 0.5}}
        methods: {SMP: {}, other: {alpha: 1}}
        grid: {p: [1, 8]}
        seeds: [3, 5]
        """,
    ).cells()
    assert len(cells) == 16
    assert [cell.labels["seed"] for cell in cells] == [3] * 8 + [5] * 8
    assert cells[-1].labels == {"case": "uneven", "method": "other", "p": 8, "seed": 5}
    assert cells[-1].parameters == {"epochs": 2, "p": 8, "rarest_share": 0.5, "alpha": 1, "seed": 5}
    assert len({cell.name for cell in cells}) == 16


def test_a_method_keeps_the_knob_that_it_sets_and_runs_once(tmp_path):
    text = "methods: {cross-entropy: {alpha: 0}, SMP: {}}\ngrid: {alpha: [0.3, 0.5]}\nseeds: 3"
    cells = grid_of(tmp_path, text).cells()
    assert len(cells) == 3 + 3 * 2
    assert [cell.labels["alpha"] for cell in cells if cell.labels["method"] == "cross-entropy"] == [0, 0, 0]


def test_the_name_of_a_cell_follows_from_its_parameters_and_not_from_places(tmp_path):
    text = "base: {dataset: cifar10, data_root: %s, epochs: %d}"
    one, moved, other = (grid_of(tmp_path, text % values).cells()[0] for values in (("a", 2), ("b", 2), ("a", 3)))
    assert one.name == moved.name != other.name
    assert "data_root" not in grid_of(tmp_path, text % ("a", 2)).plan()["base"]


def test_changes_go_over_the_base(tmp_path):
    (tmp_path / "grid.yaml").write_text("base: {epochs: 2}")
    (cell,) = read_grid(tmp_path / "grid.yaml", {"epochs": 7}).cells()
    assert cell.parameters == {"epochs": 7, "seed": 0}


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("- 1", "must hold names and values"),
        ("method: {}", "a grid has no 'method'; it has notebook, base_from, base, cases"),
        ("methods: [SMP]", "methods must hold names and values"),
        ("methods: {SMP: 3}", "SMP must hold names and values, but it is 3"),
        ("seeds: 0", "seeds must be a number of seeds"),
        ("seeds: [a]", "seeds must be a number of seeds"),
        ("base: {alhpa: 0}", "There is no setting alhpa. Did you mean alpha?"),
        ("grid: {p: [0]}", "p must be at least 1, but it is 0"),
        ("a: {", "no plain YAML file"),
    ],
)
def test_a_faulty_grid_is_refused_with_its_name(tmp_path, text, sentence):
    with pytest.raises(ValueError, match=r"grid\.yaml.*" + sentence):
        grid_of(tmp_path, text).cells()


def test_a_missing_notebook_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"there is no notebook .*nowhere\.ipynb"):
        grid_of(tmp_path, "notebook: nowhere.ipynb")


@pytest.mark.parametrize("path", GRIDS, ids=lambda path: path.stem)
def test_committed_grids_name_settings_that_exist_and_where_rows_go(path):
    grid = read_grid(path, {"data_root": "data"})
    assert len(grid.cells()) > 1
    if grid.notebook is None or grid.rows:
        assert grid.rows is not None
        assert grid.rows.parent == CONFIGS.parent / "results"


def test_the_base_may_come_from_another_file(tmp_path):
    (tmp_path / "other.yaml").write_text("epochs: 2\np: 3\n")
    (cell,) = grid_of(tmp_path, "base_from: other.yaml\nbase: {p: 4}").cells()
    assert cell.parameters == {"epochs": 2, "p": 4, "seed": 0}


def test_more_settings_of_base_and_method_are_merged(tmp_path):
    (tmp_path / "lesson.ipynb").write_text("")
    text = "notebook: lesson.ipynb\nbase: {more_settings: {a: 1, b: 2}}\nmethods: {x: {more_settings: {b: 3}}}"
    (cell,) = grid_of(tmp_path, text).cells()
    assert cell.parameters["more_settings"] == {"a": 1, "b": 3}
