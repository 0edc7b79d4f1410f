"""A folder of one's own: what is read, what is skipped and why, how doubtful labels are ranked, and what is written."""

import json
import os
import types

import numpy as np
import pytest
import torch
from PIL import Image

from dsl_teach import cli
from dsl_teach.own_data.correct import COLUMNS, correct_folder, rank
from dsl_teach.own_data.folder import looked_at, read_folder
from dsl_teach.own_data.scores import class_mean_scores, judge, principal_axes, wrong_in_first
from tests.conftest import rows_of, state_of

STRANGE = ["with space", 'quo"te', "<b>html", "new\nline", "שלום", "猫", "50%, a;b"]


def picture(path, seed=0, size=(40, 32), mode="RGB", **how):
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    Image.fromarray(pixels).convert(mode).save(path, **how)


def blobs(n=600, k=4, d=20, seed=0):
    """Clean labels, and points around the middle of their class."""
    generator = torch.Generator().manual_seed(seed)
    clean = torch.randint(k, (n,), generator=generator)
    return clean, 2 * torch.randn(k, d, generator=generator)[clean] + torch.randn(n, d, generator=generator)


def mislabelled(clean, wrong, k=4, seed=1):
    generator = torch.Generator().manual_seed(seed)
    rows = torch.randperm(len(clean), generator=generator)[:wrong]
    noisy = clean.clone()
    noisy[rows] = (clean[rows] + torch.randint(1, k, (wrong,), generator=generator)) % k
    return noisy


def loops(x, y, k, shrinkage=0.1):
    """The scores, by computing means and covariance anew without each sample."""
    means = torch.stack([x[y == c].mean(dim=0) for c in range(k)])
    sphere = (x - means[y]).square().sum() / len(x) / x.shape[1] * torch.eye(x.shape[1])
    found = []
    for i in range(len(x)):
        others = torch.arange(len(x)) != i
        means = torch.stack([x[others & (y == c)].mean(dim=0) for c in range(k)])
        rest = (x - means[y])[others]
        inverse = torch.linalg.inv((1 - shrinkage) * rest.T @ rest / len(x) + shrinkage * sphere)
        length = (x[i] @ inverse @ x[i]) * ((means @ inverse) * means).sum(dim=1)
        found.append(x[i] @ inverse @ means.T / length.sqrt())
    return torch.stack(found)


def test_class_means_are_those_of_really_leaving_each_sample_out():
    clean, x = blobs(n=60, k=3, d=5)
    x = x - x.mean(dim=0)
    scores = class_mean_scores(x, clean, num_classes=3)
    torch.testing.assert_close(scores, loops(x, clean, 3), rtol=1e-3, atol=1e-4)


def test_a_samples_own_label_does_not_count():
    clean, x = blobs(n=80, k=4, d=5)
    x[0] += 5 * torch.randn(5, generator=torch.Generator().manual_seed(3))  # far off: its label would weigh much
    for label in range(4):
        changed = torch.cat([torch.tensor([label]), clean[1:]])
        scores = class_mean_scores(x, changed, num_classes=4)
        torch.testing.assert_close(scores[0], loops(x, changed, 4)[0], rtol=1e-2, atol=1e-3)


def test_turning_and_scaling_the_features_changes_no_score():
    clean, x = blobs(d=6)
    turn, _ = torch.linalg.qr(torch.randn(6, 6, generator=torch.Generator().manual_seed(2)))
    plain, turned = (class_mean_scores(principal_axes(z), clean, num_classes=4) for z in (x, 3 * x @ turn + 1))
    torch.testing.assert_close(plain, turned, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("wrong", [0, 6, 60, 200])
def test_it_tells_how_many_labels_that_fell_at_random_are_wrong(wrong):
    inside = 0
    for seed in range(10):
        clean, x = blobs(seed=seed)
        noisy = mislabelled(clean, wrong, seed=seed)
        found = judge(class_mean_scores(principal_axes(x), noisy, num_classes=4), noisy)
        expected, low, high = wrong_in_first(found)
        truth = int((noisy != clean)[found.quality.argsort()[:100]].sum())
        assert 0 <= low <= expected <= high <= 100
        inside += low - 0.5 <= truth <= high + 0.5
    assert inside >= 8


def test_class_folders_splits_and_a_table_give_the_same_labels(tmp_path):
    for split in ("train", "test"):
        for c in ("cat", "dog"):
            picture(tmp_path / "a" / split / c / f"{split}.png")
            picture(tmp_path / "b" / c / f"{split}.png")
    rows = "".join(f"{s}/{c}/{s}.png,{c}\n" for s in ("test", "train") for c in ("cat", "dog"))
    (tmp_path / "table.csv").write_text(f"path,label\n{rows}")
    split, table = read_folder(tmp_path / "a"), read_folder(tmp_path / "a", tmp_path / "table.csv")
    assert split.class_names == ("cat", "dog") == read_folder(tmp_path / "b").class_names
    assert split.files.paths == ("test/cat/test.png", "test/dog/test.png", "train/cat/train.png", "train/dog/train.png")
    assert split.labels.tolist() == [0, 1, 0, 1] == table.labels.tolist()


def hostile(root, outside):
    """Class folders with strange names, four images each, and among them what is no image."""
    for number, name in enumerate(STRANGE):
        for copy in range(4):
            picture(root / name / f"{copy} {name}.png", seed=10 * number + copy)
    first = root / STRANGE[0]
    Image.new("CMYK", (40, 30)).save(first / "cmyk.jpg")
    Image.fromarray(np.arange(1200, dtype=np.uint16).reshape(30, 40) * 50).save(first / "deep.png")
    frames = [Image.new("RGB", (40, 30), (shade, 0, 0)) for shade in (0, 90, 180)]
    frames[0].save(first / "moving.gif", save_all=True, append_images=frames[1:])
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (60, 30)).save(first / "turned.jpg", exif=exif)
    (root / STRANGE[1] / "same.png").write_bytes((first / f"0 {STRANGE[0]}.png").read_bytes())
    (first / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0 no image")
    (first / "empty.png").touch()
    Image.new("1", (20_000, 10_000)).save(first / "huge.png")
    (first / "notes.txt").write_text("hello")
    picture(root / "loose.png")
    picture(root / ".hidden" / "x.png")
    os.mkfifo(first / "pipe.png")
    picture(outside / "secret.png")
    (first / "link.png").symlink_to(outside / "secret.png")
    (root / "linked class").symlink_to(outside)
    return {"broken.jpg", "empty.png", "huge.png", "notes.txt", "pipe.png", "link.png"}


def test_a_hostile_folder_gives_right_rows_and_a_reason_for_each_that_is_skipped(tmp_path, monkeypatch):
    monkeypatch.setenv("DSL_TEACH_CACHE", str(tmp_path / "cache"))
    pytest.importorskip("timm")
    root, output = tmp_path / "data", tmp_path / "out"
    bad = hostile(root, tmp_path / "elsewhere")
    before = state_of(root)
    assert cli.main(["correct", str(root), "--output", str(output)]) == 0
    assert state_of(root) == before
    rows = rows_of(output / "labels.csv")
    skipped = {row["file_name"]: row["reason"] for row in rows_of(output / "skipped.csv")}
    assert {row["given_label"] for row in rows} == set(STRANGE)
    assert len(rows) == 4 * len(STRANGE) + 5
    assert {f"{STRANGE[0]}/{name}" for name in bad} | {"loose.png", ".hidden", "linked class"} == set(skipped)
    assert all(skipped.values())
    assert "leads out" in skipped[f"{STRANGE[0]}/link.png"]
    assert "pipe" in skipped[f"{STRANGE[0]}/pipe.png"]
    twin = next(row for row in rows if row["file_name"].endswith("same.png"))
    assert f"the same bytes as {STRANGE[0]}/0 {STRANGE[0]}.png" in twin["reason"]
    assert all((root / row["file_name"]).is_file() for row in rows)
    assert len(np.load(output / "embeddings.npy")) == len(rows)


def folder_with(tmp_path, labels):
    """Images whose paths are in the order of the labels' rows, by a table."""
    for row in range(len(labels)):
        picture(tmp_path / "data" / f"{row:04}.png", seed=row, size=(8, 8))
    text = "file_name,label\n" + "".join(f"{row:04}.png,class {c}\n" for row, c in enumerate(labels.tolist()))
    (tmp_path / "table.csv").write_text(text)
    return {"root": tmp_path / "data", "labels": tmp_path / "table.csv", "output": tmp_path / "out"}


def test_what_is_written_follows_the_ranking_and_finds_the_wrong_labels(tmp_path):
    clean, x = blobs(n=200)
    noisy = mislabelled(clean, 20)
    np.save(tmp_path / "x.npy", x.numpy())
    how = folder_with(tmp_path, noisy)
    correct_folder(**how, embeddings=tmp_path / "x.npy")
    rows = rows_of(how["output"] / "labels.csv")
    assert tuple(rows[0]) == COLUMNS
    qualities = [float(row["label_quality"]) for row in rows]
    assert 0 <= qualities[0] <= qualities[-1] <= 1
    assert qualities == sorted(qualities)
    index = torch.tensor([int(row["file_name"][:4]) for row in rows])
    assert float((noisy != clean)[index[:20]].double().mean()) > 0.9
    np.testing.assert_array_equal(np.load(how["output"] / "embeddings.npy"), x[index].numpy())
    for row in rows:
        kept = row["given_label"] if row["is_label_issue"] == "False" else row["predicted_label"]
        assert row["corrected_label"] == kept
    assert rows_of(how["output"] / "changed.csv") == [row for row in rows if row["is_label_issue"] == "True"]
    corrected = torch.tensor([int(row["corrected_label"][-1]) for row in rows])
    assert float((corrected == clean[index]).double().mean()) > 0.97
    assert json.loads((how["output"] / "run.json").read_text())["fingerprint"]


def test_classes_of_one_or_two_images_are_never_changed():
    clean, x = blobs(n=100)
    labels = torch.cat([clean[:97], torch.tensor([4, 5, 5])])
    files = types.SimpleNamespace(paths=tuple(f"{row}.png" for row in range(100)))
    folder = types.SimpleNamespace(labels=labels, class_names=tuple("abcdef"), doubles={}, files=files)
    result = rank(folder, x)
    assert not result.is_issue[97:].any()
    assert "the only image" in next(result.rows(torch.tensor([97])))["reason"]
    assert int(result.order[-1]) == 97


def test_what_makes_no_sense_is_a_sentence(tmp_path):
    for name in ("one/cat", "two/cat", "two/=1+1"):
        picture(tmp_path / name / "1.png")
    (tmp_path / "bad.csv").write_text("name,label\n1.png,cat\n")
    how = folder_with(tmp_path, torch.tensor([0, 1, 0, 1]))
    np.save(tmp_path / "x.npy", np.zeros((3, 2)))
    for call, sentence in (
        (lambda: read_folder(tmp_path / "one"), "at least two"),
        (lambda: read_folder(tmp_path / "none"), "no folder"),
        (lambda: read_folder(tmp_path / "two"), "formula"),
        (lambda: correct_folder(tmp_path / "one", tmp_path / "one" / "out"), "lies in"),
        (lambda: read_folder(tmp_path / "one", tmp_path / "bad.csv"), "must have a column file_name"),
        (lambda: correct_folder(**how, embeddings=tmp_path / "x.npy"), "each of the 4 images"),
    ):
        with pytest.raises((ValueError, FileNotFoundError), match=sentence):
            call()


def test_names_that_are_no_text_and_rows_without_an_image_are_skipped(tmp_path):
    for name in "ab":
        picture(tmp_path / name / "1.png")
    os.rename(tmp_path / "a" / "1.png", os.fsencode(tmp_path / "a") + b"/\xff.png")
    picture(tmp_path / "a" / "2.png", seed=5)
    (tmp_path / "t.csv").write_text("file_name,label\na/2.png,x\nb/1.png,y\n../c.png,y\ngone.png,x\n")
    folder, _ = looked_at(read_folder(tmp_path, tmp_path / "t.csv"))
    skipped = dict(folder.skipped)
    assert "UTF-8" in skipped["a/\\udcff.png"]
    assert {"../c.png", "gone.png"} < set(skipped)
    assert folder.class_names == ("x", "y")
