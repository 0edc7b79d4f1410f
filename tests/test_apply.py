"""From decisions to labels, a tree of folders, a trained network and what it says; and from a folder through all."""

import csv
import json
import os
from pathlib import Path, PurePosixPath

import numpy as np
import pytest
import torch
from PIL import Image

from dsl_teach import cli
from dsl_teach.config import Settings
from dsl_teach.data import load_dataset
from dsl_teach.data.folders import held_out
from dsl_teach.own_data.apply import apply_decisions
from dsl_teach.own_data.network import fine_tune, predict_folder
from dsl_teach.seeds import stream
from dsl_teach.training.records import Callback
from tests.conftest import draw_photos, rows_of, state_of

OTHER = {"red/0.png": "green", "green/0.png": "red"}
"""Misfiled image -> its true class."""
OUTSIDE = ["../secret.png", "/etc/passwd", "C:/secret.png", "..\\secret.png"]
NEW_LINE = 'green/new\r\n"line", صورة.png'
TRAIN = {"dataset": "image_folder", "network": "small_cnn", "width": 4, "batch_size": 8, "alpha": 0.0, "trust": True}
TRAIN |= {"epochs": 1, "learning_rate_drop": 0}
CORRECTED = {"alpha": 0.9, "correction_start": 0, "epochs": 2}
FROZEN = {"network": "timm:tf_efficientnet_lite0", "frozen_blocks": 14, "width": Settings().width, "epochs": 3}


def write(path: Path, *rows: tuple[str, ...]) -> Path:
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows(rows)
    return path


def labels_of(path: Path) -> dict[str, str]:
    return {PurePosixPath(row["file_name"]).as_posix(): row["label"] for row in rows_of(path)}


@pytest.fixture
def output(tmp_path):
    """A folder of photographs, and beside it what correct writes about it: one image of each class is misfiled."""
    rows = [("file_name", "given_label", "predicted_label", "corrected_label")]
    names = [f"{c}/{i}.png" for c in ("red", "green") for i in range(6)] + [NEW_LINE, "red/=1.png"]
    draw_photos(tmp_path / "photos", names, OTHER)
    for name in names:
        given = name.split("/")[0]
        right = OTHER.get(name, given)
        rows.append((f"./{name}" if "=" in name else name, given, right, right))
    (tmp_path / "out").mkdir()
    write(tmp_path / "out" / "labels.csv", *rows)
    (tmp_path / "out" / "run.json").write_text(json.dumps({"folder": str(tmp_path / "photos")}))
    return tmp_path / "out"


def rewrite(output: Path, **changes: str) -> None:
    rows = [row | changes for row in rows_of(output / "labels.csv")]
    write(output / "labels.csv", tuple(rows[0]), *(tuple(row.values()) for row in rows))


def decide(output: Path, *rows: tuple[str, str, str]) -> None:
    write(output / "decisions.csv", ("file_name", "decision", "label"), *rows)


def test_decided_images_get_their_label_and_all_others_keep_theirs(output):
    before = state_of(output.parent / "photos")
    decide(output, ("red/0.png", "accepted", "green"), ("green/0.png", "rejected", "green"), (NEW_LINE, "skipped", ""))
    assert cli.main(["apply", str(output)]) == 0
    found = {row["file_name"]: row["label"] for row in rows_of(output / "reviewed.csv")}
    assert len(found) == 14
    assert {name for name, label in found.items() if label != name.removeprefix("./").split("/")[0]} == {"red/0.png"}
    assert state_of(output.parent / "photos") == before


def test_undecided_images_get_what_is_proposed_if_asked_for(output):
    with pytest.raises(FileNotFoundError, match=r"report\.html"):
        apply_decisions(output)
    apply_decisions(output, all_proposed=True)
    found = {row["file_name"]: row["label"] for row in rows_of(output / "reviewed.csv")}
    assert (found["red/0.png"], found["green/0.png"]) == ("green", "red")
    decide(output, ("red/0.png", "rejected", "red"))
    with pytest.raises(ValueError, match=r"reviewed\.csv holds other labels"):
        apply_decisions(output, all_proposed=True)


@pytest.mark.parametrize(
    ("row", "sentence"),
    [
        *(((name, "accepted", "red"), "leaves the data folder") for name in OUTSIDE),
        (("red/none.png", "accepted", "red"), r"'red/none\.png' is no image"),
        (("red/1.png", "accepted", "owl"), "'owl', no class"),
        (("red/1.png", "accepted", ""), "'', no class"),
        (("red/1.png", "burnt", "red"), "'burnt', not one of"),
        (("./red/0.png", "rejected", "red"), "twice"),
        (("red/1.png", "accepted"), "line 3: there must be 3 fields"),
    ],
)
def test_what_cannot_be_is_refused_and_nothing_is_written(output, row, sentence):
    decide(output, ("red/0.png", "accepted", "green"), row)
    with pytest.raises(ValueError, match=rf"decisions\.csv.*{sentence}"):
        apply_decisions(output, to=output / "tree")
    assert not {"reviewed.csv", "tree"} & set(os.listdir(output))


@pytest.mark.parametrize("made_of", ["links", "copies"])
def test_a_tree_holds_every_image_once_in_the_folder_of_its_label(output, made_of):
    photos = output.parent / "photos"
    before = state_of(photos)
    apply_decisions(output, all_proposed=True, to=output / "tree", made_of=made_of)
    files = [path for path in (output / "tree").rglob("*") if not path.is_dir()]
    old = {path: photos.joinpath(*path.relative_to(output / "tree").parts[1:]) for path in files}
    assert len(set(old.values())) == 14
    assert all(path.is_symlink() == (made_of == "links") for path in files)
    assert all(path.read_bytes() == old[path].read_bytes() for path in files)
    assert old[output / "tree" / "green" / "red" / "0.png"] == photos / "red" / "0.png"
    assert state_of(photos) == before


def test_a_tree_overwrites_nothing_stays_outside_and_follows_no_link_out(output):
    photos = output.parent / "photos"
    for to, sentence in ((output, "exists already"), (photos / "tree", "nothing is written")):
        with pytest.raises(ValueError, match=sentence):
            apply_decisions(output, all_proposed=True, to=to)
    (photos / "red" / "1.png").unlink()
    (photos / "red" / "1.png").symlink_to(output / "labels.csv")
    with pytest.raises(ValueError, match="leads out of the data folder"):
        apply_decisions(output, all_proposed=True, to=output / "tree", made_of="copies")
    assert not (output / "tree").exists()


@pytest.mark.parametrize("label", ["..", "a/b", "../x", "/x", "."])
def test_a_label_that_is_no_name_of_a_folder_makes_no_tree(output, label):
    rewrite(output, given_label=label, corrected_label=label)
    with pytest.raises(ValueError, match=r"No folder can be called|leaves"):
        apply_decisions(output, all_proposed=True, to=output / "tree")
    assert not (output / "tree").exists()


def test_an_image_folder_takes_the_labels(output, tmp_path):
    apply_decisions(output, all_proposed=True)
    where = {"data_root": str(tmp_path / "photos"), "labels_file": str(output / "reviewed.csv")}
    data, labels = load_dataset(Settings(**TRAIN, **where)), labels_of(output / "reviewed.csv")
    for images, given in ((data.images, data.noisy_labels), (data.test_images, data.test_labels)):
        assert [data.class_names[c] for c in given.tolist()] == [labels[path] for path in images.paths]
    assert {*data.images.paths, *data.test_images.paths} == labels.keys()


def assert_predictions_have_the_accuracy_that_was_told(settings, labels):
    """What predict says of the held-out images has the accuracy that training told last; rows of the predictions."""
    Path("run.yaml").write_text(settings.to_yaml())
    assert cli.main(["train", "run.yaml", "--device", "cpu"]) == 0
    (run,) = Path("runs").iterdir()
    assert cli.main(["predict", str(run), "photos", "--output", "predictions.csv", "--device", "cpu"]) == 0
    found = rows_of("predictions.csv")
    predicted = {row["file_name"]: row["predicted_label"] for row in found}
    assert predicted.keys() == labels.keys()
    held_out = load_dataset(settings).test_images.paths
    right = sum(predicted[path] == labels[path] for path in held_out) / len(held_out)
    assert right == json.loads((run / "result.json").read_text())["test_accuracy"]
    return found


@pytest.mark.slow
@pytest.mark.parametrize("changes", [{}, {"averaged_weights": 0.5}, FROZEN], ids=["plain", "averaged", "frozen"])
def test_the_trained_network_is_used(output, tmp_path, monkeypatch, capsys, changes):
    monkeypatch.chdir(tmp_path)
    apply_decisions(output, all_proposed=True)
    monkeypatch.setenv("DSL_TEACH_CACHE", str(tmp_path / "cache"))
    settings = Settings(**TRAIN | {"data_root": "photos", "labels_file": "out/reviewed.csv"} | changes)
    Path("photos/red/broken.png").write_bytes(b"no picture")
    found = assert_predictions_have_the_accuracy_that_was_told(settings, labels_of(Path("out/reviewed.csv")))
    assert "1 cannot be read" in capsys.readouterr().out
    assert all(0.5 <= float(row["probability"]) <= 1 for row in found)


class Broken(Callback):
    def on_epoch_end(self, state):
        raise KeyboardInterrupt


def test_fine_tuning_trains_on_the_corrected_labels_and_goes_on_after_a_break(output, tmp_path):
    rewrite(output, predicted_label="red")  # the corrected label counts, not this one
    settings = Settings(**TRAIN | CORRECTED | {"data_root": str(tmp_path / "photos")})
    with pytest.raises(KeyboardInterrupt):
        fine_tune(output, settings, callbacks=[Broken()])
    history = output / "network" / "history.jsonl"
    begun = history.read_text()  # with the seconds that its epoch took
    fine_tune(output, settings)
    assert history.read_text().startswith(begun)
    assert [text.count("\n") for text in (begun, history.read_text())] == [1, 2]
    corrected = {PurePosixPath(row["file_name"]): row["corrected_label"] for row in rows_of(output / "labels.csv")}
    names = sorted(corrected)
    given = torch.tensor([name.parts[0] == "red" for name in names]).long()
    kept = (~held_out(given, stream(settings.seed, "held out"))).nonzero().flatten().tolist()
    trained_on = torch.load(output / "network" / "corrected_labels.pt", weights_only=True).tolist()
    assert [["green", "red"][c] for c in trained_on] == [corrected[names[row]] for row in kept]
    assert any(corrected[names[row]] != names[row].parts[0] for row in kept)
    predict_folder(output / "network", tmp_path / "photos", output / "p.csv")
    assert len(rows_of(output / "p.csv")) == 14
    rewrite(output, corrected_label="red")
    with pytest.raises(ValueError, match="trained on other labels"):
        fine_tune(output, settings)


def test_where_every_image_is_alone_in_its_class_none_can_be_held_out(output, tmp_path):
    settings = Settings(**TRAIN | CORRECTED | {"data_root": str(tmp_path / "photos")})
    rows = [row | {"given_label": str(place)} for place, row in enumerate(rows_of(output / "labels.csv"))]
    write(output / "labels.csv", tuple(rows[0]), *(tuple(row.values()) for row in rows))
    with pytest.raises(ValueError, match="one image a class"):
        fine_tune(output, settings)


def test_predict_says_what_it_needs(tmp_path):
    (tmp_path / "settings.yaml").write_text("epochs: 1\n")
    (tmp_path / "data.json").write_text('{"class_names": ["a", "b"]}')
    with pytest.raises(ValueError, match="not on image files"):
        predict_folder(tmp_path, tmp_path, tmp_path / "p.csv")


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("name,label\na,b\n", "must have the columns file_name, label"),
        ("file_name,label\n../a.png,red\n", "leaves the data folder"),
        ("file_name,label\nred/1.png,red\nred/1.png,green\n", "twice"),
        ("file_name,label\nred/1.png,\n", "has no label"),
        ("file_name,label\nred/1.png\n", "line 2: there must be 2 fields"),
        ('file_name,label\nred/1.png,"red\n', "unexpected end"),
    ],
)
def test_a_labels_file_that_is_none_is_refused(output, tmp_path, text, sentence):
    path = tmp_path / "mine.csv"
    path.write_text(text)
    with pytest.raises(ValueError, match=rf"mine\.csv.*{sentence}"):
        load_dataset(Settings(**TRAIN, data_root=str(tmp_path / "photos"), labels_file=str(path)))


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
    page = chrome.new_page()
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
    page.close()
    for made_of in ("links", "copies"):
        assert cli.main(["apply", "review", "--to", made_of, "--as", made_of]) == 0
    labels = {row["file_name"]: row["label"] for row in rows_of("review/reviewed.csv")}
    assert {name for name, label in labels.items() if not name.startswith(label)} == MISFILED
    assert len([path for path in Path("copies").rglob("*") if path.is_file()]) == 20
    settings = Settings(**TRAIN | {"data_root": "photos", "labels_file": "review/reviewed.csv", "epochs": 3})
    assert_predictions_have_the_accuracy_that_was_told(settings, labels)
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
