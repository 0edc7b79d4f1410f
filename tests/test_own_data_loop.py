"""The commands one after the other on real files: correct, a review in a real browser, apply, train, predict."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dsl_teach import cli
from dsl_teach.config import Settings
from tests.conftest import draw_photos, rows_of, state_of
from tests.test_apply import assert_predictions_have_the_accuracy_that_was_told

TRAIN = {"dataset": "image_folder", "data_root": "photos", "labels_file": "review/reviewed.csv", "network": "small_cnn"}
TRAIN |= {"width": 4, "batch_size": 8, "alpha": 0.0, "trust": True, "epochs": 3, "learning_rate_drop": 0}
MISFILED = {"red/3.png", "green/7.png"}


@pytest.fixture
def photos(tmp_path, monkeypatch):
    """Twenty pictures, two of them in the other's folder, that nobody may write to; their mean colours beside them."""
    monkeypatch.chdir(tmp_path)
    names = [f"{label}/{i}.png" for label in ("green", "red") for i in range(10)]
    np.save("colours.npy", draw_photos(Path("photos"), names, MISFILED))
    folders = [*Path("photos").iterdir(), Path("photos")]
    for path, mode in [*((Path("photos", name), 0o444) for name in names), *((folder, 0o555) for folder in folders)]:
        path.chmod(mode)
    yield Path("photos")
    for folder in folders:
        folder.chmod(0o755)


@pytest.mark.slow
def test_from_a_folder_to_predictions_and_the_folder_stays_as_it_is(chrome, photos):
    before = state_of(photos)
    assert cli.main(["correct", "photos", "--output", "review", "--embeddings", "colours.npy"]) == 0
    context = chrome.new_context()
    page = context.new_page()
    page.goto(Path("review/report.html").absolute().as_uri())
    page.locator(".card button").first.wait_for()
    names = [row["file_name"] for row in rows_of("review/labels.csv")]
    assert set(names[:2]) == MISFILED
    for place, name in enumerate(names):
        if place == 10:
            page.reload()
            page.locator(".card button").first.wait_for()
            page.locator("#state").select_option("undecided")
            page.locator("h1").click()
        page.keyboard.press("a" if name in MISFILED else "r")
    assert page.locator("#status").inner_text() == "20 of 20 decided: 2 accepted, 18 kept"
    with page.expect_download() as download:
        page.get_by_role("button", name="Save").click()
    download.value.save_as("review/decisions.csv")
    context.close()
    for made_of in ("links", "copies"):
        assert cli.main(["apply", "review", "--to", made_of, "--as", made_of]) == 0
    labels = {row["file_name"]: row["label"] for row in rows_of("review/reviewed.csv")}
    assert {name for name, label in labels.items() if not name.startswith(label)} == MISFILED
    assert len([path for path in Path("copies").rglob("*") if path.is_file()]) == 20
    assert_predictions_have_the_accuracy_that_was_told(Settings(**TRAIN), labels)
    assert state_of(photos) == before


@pytest.mark.slow
def test_a_network_is_trained_on_what_was_found_and_used(photos, monkeypatch):
    pytest.importorskip("timm")
    monkeypatch.setenv("DSL_TEACH_CACHE", "cache")
    before = state_of(photos)
    for _ in range(2):  # the second time all is there
        assert cli.main(["correct", "photos", "--output", "review", "--embeddings", "colours.npy", "--fine-tune"]) == 0
    assert cli.main(["predict", "review/network", "photos", "--output", "p.csv", "--device", "cpu"]) == 0
    right = {row["file_name"] for row in rows_of("p.csv") if row["file_name"].startswith(row["predicted_label"])}
    assert {row["file_name"] for row in rows_of("p.csv")} - right == MISFILED
    assert state_of(photos) == before


@pytest.mark.slow
def test_ten_thousand_classes_of_two_images_are_ranked_and_nothing_is_changed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    k, d, random = 10_000, 64, np.random.default_rng(0)
    truth = np.repeat(np.arange(k), 2)
    features = (random.normal(size=(k, d))[truth] + 0.3 * random.normal(size=(2 * k, d))).astype(np.float32)
    given, wrong = truth.copy(), random.permutation(2 * k)[:200]
    given[wrong] = random.integers(k, size=200)
    text = "".join(f"{row:05}.png,{label:04}\n" for row, label in enumerate(given))
    Path("labels.csv").write_text(f"file_name,label\n{text}")
    Path("images").mkdir()
    for row in range(2 * k):
        Image.new("RGB", (2, 2), (row % 256, row // 256, 99)).save(f"images/{row:05}.png")
    np.save("features.npy", features)
    options = ("--output", "out", "--labels", "labels.csv", "--embeddings", "features.npy")
    assert cli.main(["correct", "images", *options]) == 0
    rows = rows_of("out/labels.csv")
    first = [int(row["file_name"][:5]) for row in rows[:100]]
    assert (given != truth)[first].mean() > 0.9
    assert [row for row in rows if row["corrected_label"] != row["given_label"]] == []
    assert Path("out/report.html").stat().st_size < 25_000_000
