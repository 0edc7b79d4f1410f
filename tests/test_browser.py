"""Lesson 02 and both explorers as a reader sees them: JupyterLab in a real browser, moved by keyboard and mouse."""

import shutil
from pathlib import Path

import pytest

from tests import jupyter_page

pytestmark = pytest.mark.slow
SLIDERS = ("p", "m", "quantile", "eta_max", "noise_rate", "alpha")
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
    if jupyter_page.chromium() is None:
        pytest.skip(jupyter_page.HOW_TO_INSTALL)
    folder, scratch = tmp_path_factory.mktemp("lessons"), tmp_path_factory.mktemp("jupyter")
    shutil.copy(NOTEBOOKS / "02_prototypes.ipynb", folder)
    jupyter_page.write_notebook(folder / "training.ipynb", TRAINING, "answer = 6 * 7\nprint('free', answer)")
    with jupyter_page.jupyter_lab(folder, scratch) as running:
        yield running


@pytest.fixture(scope="module")
def chrome(lab):
    with jupyter_page.browser() as started:
        yield started


def opened(chrome, lab, name):
    """A notebook, opened cold and run from the menu; no error may be left in the end."""
    with jupyter_page.open_notebook(chrome, lab, name) as page:
        page.run_all(seconds=300)
        page.scroll_to(".dsl-explorer .dsl-canvas")
        yield page
        assert (page.kernel_errors(), page.errors, lab.tracebacks()) == ([], [], "")


@pytest.fixture(scope="module")
def lesson(chrome, lab):
    yield from opened(chrome, lab, "02_prototypes.ipynb")


@pytest.fixture(scope="module")
def training(chrome, lab):
    yield from opened(chrome, lab, "training.ipynb")


def canvases(opened: jupyter_page.NotebookPage) -> str:
    return opened.page.evaluate("() => [...document.querySelectorAll('.dsl-canvas')].map((c) => c.toDataURL()).join()")


def wait_for_other_picture(opened: jupyter_page.NotebookPage, before: str) -> None:
    changed = "(before) => [...document.querySelectorAll('.dsl-canvas')].map((c) => c.toDataURL()).join() !== before"
    opened.page.wait_for_function(changed, arg=before, timeout=20_000)


def test_keys_move_a_slider_and_tab_leads_to_the_next_one(lesson):
    lesson.scroll_to("input[name=p]")
    for name in SLIDERS:
        handle = lesson.page.locator(f"input[name={name}]")
        before, value = canvases(lesson), float(handle.input_value())
        handle.press("ArrowLeft")
        assert float(handle.input_value()) == pytest.approx(value - float(handle.get_attribute("step")))
        assert canvases(lesson) != before
        handle.press("ArrowRight")
        assert canvases(lesson) == before
    lesson.page.locator("input[name=p]").focus()
    for name in SLIDERS[1:]:
        lesson.page.keyboard.press("Tab")
        assert lesson.page.evaluate("() => document.activeElement.name") == name


def test_the_picture_and_the_batch_command_follow_the_mouse_and_the_kernel_follows_too(lesson):
    for name in SLIDERS:
        handle = lesson.page.locator(f"input[name={name}]")
        box, before = handle.bounding_box(), canvases(lesson)
        lesson.page.mouse.move(box["x"] + box["width"] * 0.7, box["y"] + box["height"] / 2)
        lesson.page.mouse.down()
        lesson.page.mouse.move(box["x"] + box["width"] * 0.25, box["y"] + box["height"] / 2, steps=4)
        assert canvases(lesson) != before  # while the button is still down
        lesson.page.mouse.up()
    row = lesson.page.locator(".dsl-explorer .dsl-command").first
    for name in SLIDERS[:5]:
        value = lesson.page.locator(f"input[name={name}] + output").inner_text()
        assert f"-p {name} {value}" in row.locator("code").inner_text()
    row.get_by_role("button").click()
    assert lesson.page.evaluate("() => getSelection().toString()") == row.locator("code").inner_text()


def test_training_draws_as_it_goes_leaves_the_notebook_free_and_stops(training):
    before, summary = canvases(training), training.page.locator(".dsl-summary").first
    train, stop = (training.page.get_by_role("button", name=name, exact=True) for name in ("Train", "Stop"))
    assert stop.is_disabled()
    train.click()
    wait_for_other_picture(training, before)
    assert summary.inner_text().startswith("Running")
    assert train.is_disabled()
    wait_for_other_picture(training, canvases(training))
    training.page.locator(".jp-Notebook .jp-CodeCell").nth(1).click()
    training.page.keyboard.press("Control+Enter")
    training.page.wait_for_function("() => document.body.innerText.includes('free 42')", timeout=20_000)
    assert summary.inner_text().startswith("Running")
    stop.click()
    training.page.wait_for_function("() => document.querySelector('.dsl-summary').textContent.startsWith('Stopped')")
    stopped = canvases(training)
    training.page.wait_for_timeout(1000)
    assert canvases(training) == stopped
    assert train.is_enabled()
