"""The explorers: every callback at the ends of every slider, well-formed pictures; in a browser and in JupyterLab."""

import base64
import dataclasses
import itertools
import json
import re
import shlex
import shutil
import threading
import xml.etree.ElementTree as ElementTree

import numpy as np
import pandas as pd
import pytest
import torch
from dsl_lessons.explorers.page import FEATURES, Explorer, chosen, explorer_page, first_frame, packed, reduced
from dsl_lessons.explorers.prototypes import digits_set, toy_set
from dsl_lessons.explorers.runs import RunsExplorer, runs_page
from dsl_lessons.explorers.training import TrainingExplorer, batch_command

from dsl_teach import Settings, load_dataset
from dsl_teach.data.toy import toy_clusters
from dsl_teach.prototypes import cosine_similarity
from tests import jupyter_page
from tests.conftest import ROOT
from tests.explorer_cases import by_the_library, difference, file_page, module_page, random_set, random_values

SLIDERS = ("p", "m", "quantile", "eta_max", "noise_rate", "alpha")
SMALL = Settings(network="mlp", width=8, m=40, epochs=6, correction_start=2, learning_rate_drop=0)


@pytest.fixture(scope="module")
def sets():
    return toy_set(toy_clusters(seed=0, modes=4), seed=0), digits_set(seed=0)


@pytest.fixture
def training():
    made = TrainingExplorer(toy_clusters(seed=0, samples_per_class=40), SMALL)
    yield made
    made.stop()
    made.wait(60)


def test_what_is_handed_over_is_what_the_data_hold(sets):
    points, digits = sets
    told = packed(digits)
    numbers = {name: np.frombuffer(base64.b64decode(told[name]), kind) for name, kind in
               (("embeddings", "<f4"), ("order", "<u4"), ("clean", "u1"), ("images", "u1"))}  # fmt: skip
    assert digits.embeddings.shape[1] <= FEATURES
    assert np.array_equal(numbers["embeddings"].reshape(digits.embeddings.shape), digits.embeddings)
    assert np.array_equal(numbers["images"].reshape(-1, 8, 8), digits.images[:, 0])
    assert np.array_equal(numbers["clean"], digits.clean_labels)
    assert sorted(numbers["order"]) == list(range(told["n"]))
    assert json.loads(json.dumps(told)) == told
    for rate, text in zip(told["rates"], told["noisy"], strict=True):
        labels = np.frombuffer(base64.b64decode(text), "u1")
        assert (labels != numbers["clean"]).mean() == pytest.approx(rate, abs=0.001)
    assert (packed(points)["plane"], packed(points)["images"], told["plane"]) == (True, None, False)


def test_of_each_class_the_first_samples_in_order_are_drawn(sets):
    points = sets[0]
    labels = points.noisy_labels[0.3]
    few, more = (points.rows(0.3, m) for m in (20, 60))
    assert torch.bincount(labels[few]).tolist() == [20, 20, 20]
    assert torch.equal(few, few.sort().values)
    assert torch.isin(few, more).all()  # moving the slider adds samples and exchanges none
    assert torch.equal(points.rows(0.3, 600), torch.arange(600))


def test_the_library_chooses_the_same_with_rounded_similarities_and_without(sets):
    for points in sets:
        values = {"p": 5, "m": 60, "quantile": 0.6, "eta_max": 0.95, "noise_rate": 0.4}
        found, corrected = chosen(points, **values)
        reference = by_the_library(points, values)
        ours = [[c["rows"][place] for place in c["chosen"]] for c in reference["classes"]]
        assert found.index.tolist() == ours
        assert corrected.tolist() == reference["corrected"]


def test_fewer_features_keep_the_cosines_of_rows_that_lie_near_a_plane():
    draw = torch.Generator().manual_seed(0)
    rows = torch.randn(50, 20, generator=draw) @ torch.randn(20, 300, generator=draw)
    fewer = reduced(rows, 64)
    assert fewer.shape == (50, 50)  # no more directions than rows
    assert torch.allclose(cosine_similarity(fewer), cosine_similarity(rows), atol=1e-5)
    assert torch.equal(reduced(rows[:, :64], 64), rows[:, :64])


def test_a_data_set_gives_at_most_400_samples_a_class_and_needs_clean_labels():
    data = toy_clusters(seed=0, samples_per_class=450)
    points = toy_set(data, seed=0)
    assert torch.bincount(points.clean_labels).tolist() == [400, 400, 400]
    without, images = dataclasses.replace(data, clean_labels=None), load_dataset(Settings())
    for other, sentence in ((without, "no clean labels"), (images, "no points in the plane")):
        with pytest.raises(ValueError, match=sentence):
            toy_set(other, seed=0)


def test_the_page_names_no_address_and_its_text_cannot_close_a_script(sets, tmp_path):
    evil = dataclasses.replace(sets[0], name="</script><script>alert(1)", told="<b>&", class_names=("<i>", "b", "c"))
    text = explorer_page(tmp_path / "page.html", evil, noise_rate=0.33).read_text()
    assert text.count("</script") == 2
    assert not re.search("<b>|<i>|unsafe", text)
    assert set(re.findall(r"https?://[^\"' ]*", text)) <= {"http://www.w3.org/2000/svg"}
    frame = ElementTree.fromstring(first_frame(evil, Explorer(evil, noise_rate=0.33).values))
    stars = [text for text in frame.findall(".//{*}text") if text.text == "★"]
    assert len(stars) == 2 * 3 * 8  # one a prototype, on the map and in the decision graph


def test_the_widget_keeps_a_picture_and_no_address(sets):
    explorer = Explorer(*sets, p=3)
    bundle, _ = explorer._repr_mimebundle_()
    assert ElementTree.fromstring(bundle["image/svg+xml"]).tag.endswith("svg")
    assert bundle["text/plain"].startswith("Explorer(set=0, p=3, m=200")


@pytest.mark.slow
def test_the_browser_computes_what_the_library_computes(chrome):
    with module_page(chrome) as page:
        for seed in range(20):
            draw = torch.Generator().manual_seed(seed)
            same, apart = difference(page, random_set(draw), random_values(draw))
            assert same
            assert apart <= 1e-9


@pytest.mark.slow
def test_built_where_it_has_no_room_it_is_drawn_when_it_gets_some(chrome, sets):
    """As in a notebook whose cell is far below: the browser lays it out only when the reader comes near."""
    shown = "() => [...document.querySelectorAll('canvas.dsl-canvas')].map((c) => c.toDataURL())"
    with module_page(chrome) as page:
        errors = []
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.evaluate(
            """([sets, values]) => {
              document.body.insertAdjacentHTML("beforeend",
                "<style>canvas { width: 300px; height: 200px }</style><div id=far style='display: none'></div>");
              mount(document.getElementById("far"), { sets, values });
            }""",
            [[packed(sets[0])], Explorer(sets[0]).values],
        )
        before = page.evaluate(shown)
        assert "of 194 pass" in page.locator(".dsl-class small").first.text_content()
        page.evaluate("() => { document.getElementById('far').style.display = 'block'; }")
        both_changed = f"(before) => ({shown})().every((picture, side) => picture !== before[side])"
        page.wait_for_function(both_changed, arg=before)
        assert errors == []


@pytest.fixture
def opened(chrome, sets, tmp_path):
    """The page, from a file, as narrow as a telephone; it may ask for nothing else and report no error."""
    path = explorer_page(tmp_path / "page.html", *sets)
    with file_page(chrome, path, width=390) as page:
        yield page


SHOWN = "() => [...document.querySelectorAll('canvas.dsl-canvas')].map((c) => c.toDataURL()).join()"


def picture(page):
    return page.evaluate(SHOWN)


@pytest.mark.slow
def test_keys_move_every_slider_and_the_address_keeps_the_state(opened):
    assert opened.evaluate("() => document.documentElement.scrollWidth") == 390
    for name in SLIDERS:
        before = picture(opened)
        opened.locator(f"input[name={name}]").press("ArrowLeft")
        assert picture(opened) != before
    opened.locator("select").select_option("1")
    opened.locator(".dsl-class").nth(3).click()
    opened.wait_for_function("() => location.hash.includes('focus=3')")
    state, now = opened.evaluate("() => location.hash"), picture(opened)
    assert "p=7" in state
    opened.evaluate("() => { location.hash = '#set=0&p=99&m=oops&quantile=0.6&noise_rate=0.31'; }")
    opened.wait_for_function("() => document.querySelectorAll('.dsl-class').length === 3")
    assert opened.locator("input[name=p]").input_value() == "16"  # as far as the slider goes
    opened.evaluate("(state) => { location.hash = state; }", state)
    opened.wait_for_function("() => document.querySelectorAll('.dsl-class').length === 10")
    opened.mouse.move(0, 0)
    assert picture(opened) == now


@pytest.mark.slow
def test_a_tap_and_the_arrow_keys_tell_of_a_sample(opened, sets):
    canvas, card = opened.locator("canvas.dsl-canvas").first, opened.locator(".dsl-card")
    values = Explorer(*sets).values
    found, corrected = chosen(sets[0], **{name: values[name] for name in SLIDERS[:5]})
    labels = sets[0].noisy_labels[0.4]
    canvas.focus()
    opened.keyboard.press("ArrowRight")
    changed = int((corrected != labels).nonzero()[0])
    text = card.inner_text()
    assert f"sample {changed} " in " ".join(text.split()) + " "
    assert f"Changed from class {labels[changed]} to class {corrected[changed]}" in text
    opened.keyboard.press("Escape")
    assert "Point at a sample" in card.inner_text()
    opened.keyboard.press("ArrowDown")
    assert f"sample {found.index[0, 0]}" in " ".join(card.inner_text().split())
    assert "Prototype 1 of class 0" in card.inner_text()
    box = canvas.bounding_box()
    x, y = (float(v) for v in sets[0].places[5])
    scale = (min(box["width"], box["height"]) - 28) / 3.5
    opened.touchscreen.tap(box["x"] + box["width"] / 2 + x * scale, box["y"] + box["height"] / 2 - y * scale)
    assert "sample" in card.inner_text()
    opened.locator(".dsl-command button").click()
    command = opened.locator(".dsl-command code").inner_text()
    assert shlex.split(command.split(" && ")[1])[3:7] == ["-p", "p", "8", "-p"]
    assert opened.evaluate("() => getSelection().toString()") == command


def test_training_explorer_at_the_ends_of_every_slider(training):
    ends = [[(slider["name"], slider["min"]), (slider["name"], slider["max"])] for slider in training.sliders]
    for values in map(dict, itertools.product(*ends)):
        training.values = values
        training.train()
        training.wait(60)
        assert (training.live["state"], training.live["enabled"]) == ("Finished", ["train"])
        assert len(training.live["curves"]["test_accuracy"]) == 6
        json.dumps(training.live)  # nothing in it that cannot travel
    first = training.live["curves"]
    training.train()
    training.wait(60)
    assert training.live["before"] == first


def test_stop_ends_the_run_with_its_epoch():
    training = TrainingExplorer(toy_clusters(seed=0), SMALL.replace(epochs=100_000))
    drawn = threading.Event()
    training.observe(lambda change: len(change.new["curves"]["test_accuracy"]) >= 3 and drawn.set(), "live")
    training.train()
    assert drawn.wait(60)
    assert training.running
    assert training.live["enabled"] == ["stop"]
    training.train()  # a second press changes nothing
    training.stop()
    training.wait(60)
    assert 3 <= len(training.live["curves"]["test_accuracy"]) < 100_000
    assert training.live["state"] == "Stopped"


def test_an_error_in_training_reaches_the_reader():
    training = TrainingExplorer(toy_clusters(seed=0), SMALL.replace(learning_rate=1e30))
    training.train()
    with pytest.raises(FloatingPointError, match="diverged"):
        training.wait(60)
    assert str(training.error) in training.live["state"]
    assert training.live["enabled"] == ["train"]


def test_values_in_a_command_stand_for_themselves_and_the_notebook_is_quoted():
    make, run = batch_command("my lesson.ipynb").format(p=8, m=20, alpha=0.3, correction_start=5).split(" && ")
    assert shlex.split(make) == ["mkdir", "-p", "../runs"]
    assert shlex.split(run)[:6] == ["papermill", "my lesson.ipynb", "../runs/my lesson.ipynb", "-p", "p", "8"]


@pytest.fixture
def knob_rows():
    return pd.DataFrame(
        {"p": p, "m": 40, "alpha": alpha, "correction_start": start, "seed": seed,
         "test_accuracy": 0.6 + alpha / 10 + p / 1000 + start / 10_000, "label_accuracy": 0.5,
         "test_curve": [0.1] + 15 * [0.6 + seed / 10], "label_curve": [None] + 15 * [0.5]}
        for p in (1, 8) for alpha in (0.25, 0.5) for start in (0, 5) for seed in (0, 1)
    )  # fmt: skip


def test_stored_runs_are_means_over_seeds(knob_rows):
    explorer = RunsExplorer(knob_rows, made_by="<a>.yaml")
    assert len(explorer.runs) == 8
    assert explorer.values == {"p": 8, "m": 40, "alpha": 0.5, "correction_start": 5, "run": 7}  # the best
    assert {one["name"]: one["values"] for one in explorer.sliders} == {
        "p": [1, 8], "alpha": [0.25, 0.5], "correction_start": [0, 5]
    }  # fmt: skip
    curves = explorer.runs[0]["curves"]
    assert curves["test_accuracy"] == pytest.approx([0.1] + 15 * [0.65])
    assert curves["label_accuracy"] == [None] + 15 * [0.5]
    assert explorer.runs[0]["told"] == "test accuracy 62.6 ± 0.0 % (2 seeds), corrected labels right 50.0 %; <a>.yaml."
    frame = ElementTree.fromstring(explorer._repr_mimebundle_()[0]["image/svg+xml"])
    assert len(frame.findall(".//{*}polyline")) == 9
    with pytest.raises(ValueError, match="There is no finished run"):
        RunsExplorer(pd.DataFrame())


def test_methods_with_the_same_knobs_stay_apart(knob_rows):
    both = pd.concat([knob_rows.assign(method="SMP"), knob_rows.assign(method="soft", test_accuracy=0.7)])
    assert [one["name"] for one in RunsExplorer(both, made_by="a.yaml").runs] == ["SMP", "soft"] * 8


def test_the_rows_of_a_yaml_file_come_with_the_command_of_one_run():
    explorer = RunsExplorer("digits_knobs.yaml")
    assert len(explorer.runs) == 36
    assert "notebooks/configs/sweeps/digits_knobs.yaml" in explorer.runs[0]["told"]
    settings, train = explorer.command.split(" > run.yaml && ")
    assert json.loads(shlex.split(settings)[1])["noise_rate"] == 0.4
    assert train.startswith("dsl-teach train run.yaml --set p={p} --set m={m}")


@pytest.mark.slow
def test_stored_runs_on_a_page_by_keys_taps_and_the_address(chrome, knob_rows, tmp_path):
    path = runs_page(tmp_path / "runs.html", knob_rows, made_by="a.yaml", command="train p={p} alpha={alpha}")
    with file_page(chrome, path, width=390) as page:
        summary, before = page.locator(".dsl-summary"), picture(page)
        assert page.evaluate("() => document.documentElement.scrollWidth") == 390
        assert summary.inner_text().startswith("Stored run with p = 8, m = 40, alpha = 0.5, correction_start = 5: ")
        for name in ("p", "alpha", "correction_start"):
            now = picture(page)
            page.locator(f"input[name={name}]").press("ArrowLeft")
            assert picture(page) != now
        assert page.locator("code").inner_text() == "train p=1 alpha=0.25"
        page.wait_for_function("() => location.hash.includes('correction_start=0')")
        state, worst = page.evaluate("() => location.hash"), picture(page)
        strip = page.locator("canvas").nth(1)
        strip.tap(position={"x": strip.bounding_box()["width"] - 20, "y": 40})
        assert picture(page) == before
        strip.press("ArrowLeft")
        assert "correction_start = 0: test accuracy 65.8" in summary.inner_text()
        page.get_by_role("button", name="Play").tap()
        growing = picture(page)
        page.wait_for_function(f"(growing) => ({SHOWN})() !== growing", arg=growing)
        page.evaluate("(state) => { location.hash = state; }", state)
        page.wait_for_function(f"(worst) => ({SHOWN})() === worst", arg=worst)
        page.evaluate("() => { location.hash = '#p=99&alpha=oops&correction_start=9&run=99'; }")
        page.wait_for_function(f"(before) => ({SHOWN})() === before", arg=before)


@pytest.mark.slow
def test_the_browser_finds_the_nearest_run(chrome):
    runs = [{"knobs": {"p": p, "m": 10, "alpha": a, "correction_start": 1}} for p, a in ((1, 0.5), (8, 0.5), (8, 0.2))]
    with module_page(chrome) as page:
        for values, place in (({"p": 2, "alpha": 0.5}, 0), ({"p": 6, "alpha": 0.3}, 2), ({"p": 8, "alpha": 0.5}, 1)):
            wanted = {"m": 10, "correction_start": 1} | values
            assert page.evaluate("([runs, values]) => nearest(runs, values)", [runs, wanted]) == place


TRAINING = """
from dsl_teach import Settings
from dsl_teach.data.toy import toy_clusters
from dsl_lessons.explorers.training import TrainingExplorer
settings = Settings(network="mlp", m=40, epochs=400, learning_rate_drop=0, correction_start=2)
TrainingExplorer(toy_clusters(seed=0), settings)
"""


@pytest.fixture(scope="module")
def lab(chrome, tmp_path_factory):
    folder, scratch = tmp_path_factory.mktemp("lessons"), tmp_path_factory.mktemp("jupyter")
    shutil.copy(ROOT / "notebooks" / "02_prototypes.ipynb", folder)
    jupyter_page.write_notebook(folder / "training.ipynb", TRAINING, "answer = 6 * 7\nprint('free', answer)")
    with jupyter_page.jupyter_lab(folder, scratch) as running:
        yield running


def opened_in_lab(chrome, lab, name):
    """A notebook, opened cold and run from the menu; no error may be left in the end."""
    with jupyter_page.open_notebook(chrome, lab, name) as page:
        page.run_all(seconds=300)
        page.scroll_to(".dsl-explorer .dsl-canvas")
        yield page
        assert (page.kernel_errors(), page.errors, lab.tracebacks()) == ([], [], "")


@pytest.fixture(scope="module")
def lesson(chrome, lab):
    yield from opened_in_lab(chrome, lab, "02_prototypes.ipynb")


@pytest.fixture(scope="module")
def training_in_lab(chrome, lab):
    yield from opened_in_lab(chrome, lab, "training.ipynb")


def wait_for_other_picture(page, before):
    page.wait_for_function(f"(before) => ({SHOWN})() !== before", arg=before, timeout=120_000)


@pytest.mark.slow
def test_keys_move_a_slider_and_tab_leads_to_the_next_one(lesson):
    page = lesson.page
    lesson.scroll_to("input[name=p]")
    for name in SLIDERS:
        handle = page.locator(f"input[name={name}]")
        before, value = picture(page), float(handle.input_value())
        handle.press("ArrowLeft")
        assert float(handle.input_value()) == pytest.approx(value - float(handle.get_attribute("step")))
        assert picture(page) != before
        handle.press("ArrowRight")
        assert picture(page) == before
    page.locator("input[name=p]").focus()
    for name in SLIDERS[1:]:
        page.keyboard.press("Tab")
        assert page.evaluate("() => document.activeElement.name") == name


@pytest.mark.slow
def test_the_picture_and_the_batch_command_follow_the_mouse_and_the_kernel_follows_too(lesson):
    page = lesson.page
    for name in SLIDERS:
        handle = page.locator(f"input[name={name}]")
        box, before = handle.bounding_box(), picture(page)
        page.mouse.move(box["x"] + box["width"] * 0.7, box["y"] + box["height"] / 2)
        page.mouse.down()
        page.mouse.move(box["x"] + box["width"] * 0.25, box["y"] + box["height"] / 2, steps=4)
        assert picture(page) != before  # while the button is still down
        page.mouse.up()
    row = page.locator(".dsl-explorer .dsl-command").first
    for name in SLIDERS[:5]:
        value = page.locator(f"input[name={name}] + output").inner_text()
        assert f"-p {name} {value}" in row.locator("code").inner_text()
    row.get_by_role("button").click()
    assert page.evaluate("() => getSelection().toString()") == row.locator("code").inner_text()


@pytest.mark.slow
def test_training_draws_as_it_goes_leaves_the_notebook_free_and_stops(training_in_lab):
    page = training_in_lab.page
    before, summary = picture(page), page.locator(".dsl-summary").first
    train, stop = (page.get_by_role("button", name=name, exact=True) for name in ("Train", "Stop"))
    assert stop.is_disabled()
    train.click()
    wait_for_other_picture(page, before)
    assert summary.inner_text().startswith("Running")
    assert train.is_disabled()
    wait_for_other_picture(page, picture(page))
    page.locator(".jp-Notebook .jp-CodeCell").nth(1).click()
    page.keyboard.press("Control+Enter")
    page.wait_for_function("() => document.body.innerText.includes('free 42')", timeout=120_000)
    assert summary.inner_text().startswith("Running")
    stop.click()
    page.wait_for_function("() => document.querySelector('.dsl-summary').textContent.startsWith('Stopped')")
    stopped = picture(page)
    page.wait_for_timeout(1000)
    assert picture(page) == stopped
    assert train.is_enabled()
