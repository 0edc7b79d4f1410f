"""Lesson 02 and both explorers as a reader sees them: JupyterLab in a real browser, moved by keyboard and mouse."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from dsl_lessons.explorers.prototypes import SLIDERS

from tests.jupyter_page import (
    HOW_TO_INSTALL,
    NotebookPage,
    browser,
    chromium,
    jupyter_lab,
    open_notebook,
    write_notebook,
)

NOTEBOOKS = Path(__file__).parent.parent / "notebooks"
TRAINING = """
from dsl_teach import Settings
from dsl_teach.data.toy import toy_clusters
from dsl_lessons.explorers.training import TrainingExplorer
settings = Settings(network="mlp", m=40, epochs=400, learning_rate_drop=0, correction_start=2)
TrainingExplorer(toy_clusters(seed=0), settings)
"""


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    if chromium() is None:
        pytest.skip(HOW_TO_INSTALL)
    folder, scratch = tmp_path_factory.mktemp("lessons"), tmp_path_factory.mktemp("jupyter")
    shutil.copy(NOTEBOOKS / "02_prototypes.ipynb", folder)
    write_notebook(folder / "training.ipynb", TRAINING, "answer = 6 * 7\nprint('free', answer)")
    with jupyter_lab(folder, scratch) as running:
        yield running


@pytest.fixture(scope="module")
def chrome(lab):
    with browser() as started:
        yield started


@pytest.fixture(scope="module")
def lesson(chrome, lab):
    """Lesson 02, opened cold and run from the menu."""
    with open_notebook(chrome, lab, "02_prototypes.ipynb") as opened:
        opened.run_all(seconds=300)
        opened.scroll_to(".dsl-explorer .dsl-picture svg")
        yield opened


@pytest.fixture(scope="module")
def training(chrome, lab):
    with open_notebook(chrome, lab, "training.ipynb") as opened:
        opened.run_all(seconds=120)
        opened.scroll_to(".dsl-explorer .dsl-picture svg")
        yield opened


def picture(opened: NotebookPage) -> str:
    return opened.page.locator(".dsl-explorer .dsl-picture").first.inner_html()


def wait_for_other_picture(opened: NotebookPage, before: str) -> None:
    changed = "(before) => document.querySelector('.dsl-explorer .dsl-picture').innerHTML !== before"
    opened.page.wait_for_function(changed, arg=before, timeout=20_000)


@pytest.mark.parametrize("slider", SLIDERS, ids=lambda slider: slider.name)
def test_keys_move_a_slider_and_change_the_picture(lesson, slider, tmp_path):
    handle = lesson.page.get_by_label(slider.label)
    before, value = picture(lesson), float(handle.input_value())
    handle.focus()
    handle.press("ArrowLeft")
    wait_for_other_picture(lesson, before)
    assert float(handle.input_value()) == pytest.approx(value - slider.step)
    lesson.page.screenshot(path=tmp_path / f"{slider.name}.png")
    again = picture(lesson)
    handle.press("ArrowRight")
    wait_for_other_picture(lesson, again)
    assert picture(lesson) == before


@pytest.mark.parametrize("slider", SLIDERS, ids=lambda slider: slider.name)
def test_the_picture_follows_the_mouse(lesson, slider):
    handle = lesson.page.get_by_label(slider.label)
    box = handle.bounding_box()
    before, middle = picture(lesson), box["y"] + box["height"] / 2
    lesson.page.mouse.move(box["x"] + box["width"] * 0.7, middle)
    lesson.page.mouse.down()
    for share in (0.6, 0.4, 0.25):
        lesson.page.mouse.move(box["x"] + box["width"] * share, middle, steps=4)
    wait_for_other_picture(lesson, before)  # while the button is still down
    lesson.page.mouse.up()
    assert float(handle.input_value()) < (slider.least + slider.most) / 2


def test_tab_leads_from_slider_to_slider(lesson):
    lesson.page.get_by_label(SLIDERS[0].label).focus()
    for slider in SLIDERS[1:]:
        lesson.page.keyboard.press("Tab")
        assert lesson.page.evaluate("() => document.activeElement.name") == slider.name


def test_the_batch_command_follows_the_sliders_and_is_copied(lesson):
    row = lesson.page.locator(".dsl-explorer .dsl-command").first
    values = [lesson.page.get_by_label(slider.label).input_value() for slider in SLIDERS]
    lesson.page.wait_for_timeout(500)
    for slider, value in zip(SLIDERS, values, strict=True):
        assert f"-p {slider.name} {value}" in row.locator("code").inner_text()
    row.get_by_role("button").click()
    assert lesson.page.evaluate("() => getSelection().toString()") == row.locator("code").inner_text()


def test_the_lesson_leaves_no_error_behind(lesson, lab):
    assert lesson.kernel_errors() == []
    assert lesson.errors == []
    assert lab.tracebacks() == ""


def test_an_exercise_names_the_mistake(lesson):
    """The fifth exercise as it stands keeps the largest eta; its check says so under the cell."""
    lesson.scroll_to("text=You kept the largest")


def test_training_draws_as_it_goes_and_stops(training, tmp_path):
    before, summary = picture(training), training.page.locator(".dsl-summary").first
    train, stop = (training.page.get_by_role("button", name=name, exact=True) for name in ("Train", "Stop"))
    assert stop.is_disabled()
    train.click()
    wait_for_other_picture(training, before)
    assert summary.inner_text().startswith("Running")
    assert train.is_disabled()
    halfway = picture(training)
    wait_for_other_picture(training, halfway)
    training.page.screenshot(path=tmp_path / "running.png")
    stop.click()
    training.page.wait_for_function("() => document.querySelector('.dsl-summary').textContent.startsWith('Stopped')")
    stopped = picture(training)
    training.page.wait_for_timeout(1000)
    assert picture(training) == stopped
    assert train.is_enabled()


def test_the_notebook_stays_free_while_training(training):
    training.page.get_by_role("button", name="Train", exact=True).click()
    training.page.locator(".jp-Notebook .jp-CodeCell").nth(1).click()
    training.page.keyboard.press("Control+Enter")
    summary = training.page.locator(".dsl-summary").first
    training.page.wait_for_function("() => document.body.innerText.includes('free 42')", timeout=20_000)
    assert summary.inner_text().startswith("Running")
    training.page.get_by_role("button", name="Stop", exact=True).click()
    training.page.wait_for_function("() => document.querySelector('.dsl-summary').textContent.startsWith('Stopped')")


def test_training_leaves_no_error_behind(training, lab):
    assert training.kernel_errors() == []
    assert training.errors == []
    assert lab.tracebacks() == ""
