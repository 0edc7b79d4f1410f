"""The fingerprint of a data set: what changes it, what does not, and the sentence on where."""

import dataclasses
import json
import os
import shutil
from pathlib import Path

import pytest
import torch
from PIL import Image

from dsl_teach.data.dataset import ImageFiles, NoisyDataset
from dsl_teach.data.fingerprint import BLOCKS, digest, fingerprint, first_difference
from dsl_teach.data.folders import image_folder
from dsl_teach.data.toy import toy_clusters


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for label in range(3):
        (tmp_path / f"data/class{label}").mkdir(parents=True)
        for number in range(50):
            colour = (40 * label, 5 * number, 0)
            Image.new("RGB", (4, 4), colour).save(tmp_path / f"data/class{label}/{number:02d}.bmp")
    return tmp_path / "data"


def read(root: Path) -> NoisyDataset:
    files = ImageFiles(root, tuple(sorted(path.relative_to(root).as_posix() for path in root.rglob("*.bmp"))))
    names = tuple(sorted(path.name for path in root.iterdir()))
    labels = torch.tensor([names.index(path.partition("/")[0]) for path in files.paths])
    test = torch.zeros(3, 3, 4, 4, dtype=torch.uint8)
    return NoisyDataset("mine", files, labels, names, test, torch.arange(3), labels.clone())


def test_same_data_wherever_they_lie_have_the_same_fingerprint(root: Path, tmp_path: Path) -> None:
    before = fingerprint(read(root))
    shutil.copytree(root, tmp_path / "elsewhere/other")
    now = json.loads(json.dumps(fingerprint(read(tmp_path / "elsewhere/other"))))
    assert now == before
    assert digest(now) == digest(before)
    assert len(digest(now)) == 16
    assert first_difference(before, now) is None


def exchange(one: Path, other: Path) -> None:
    first, second = one.read_bytes(), other.read_bytes()
    assert len(first) == len(second)
    one.write_bytes(second)
    other.write_bytes(first)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (  # the 51st image, in blocks of 3
            lambda root: (root / "class1/00.bmp").rename(root / "class1/00b.bmp"),
            "paths of training images 48 to 50 differ",
        ),
        (
            lambda root: exchange(root / "class0/00.bmp", root / "class0/01.bmp"),
            "contents of training images 0 to 2 differ: 0 is class0/00.bmp",
        ),
        (lambda root: os.truncate(root / "class2/49.bmp", 1000), "file sizes of training images 147 to 149 differ"),
        (lambda root: (root / "class0/07.bmp").unlink(), "The number of training images: 150 before, 149 now."),
        (lambda root: (root / "class2").rename(root / "other"), "are now class0, class1, other"),
    ],
)
def test_a_change_on_disk_is_found_and_named(root, change, expected):
    before = fingerprint(read(root))
    change(root)
    now = fingerprint(read(root))
    assert digest(now) != digest(before)
    assert expected in str(first_difference(before, now))


def test_an_image_that_turned_unreadable_is_counted(root: Path) -> None:
    before = fingerprint(image_folder(root))
    (root / "class1/03.bmp").write_bytes(b"no image")
    with pytest.warns(UserWarning, match="left out"):
        now = fingerprint(image_folder(root))
    assert "1 left out" in str(first_difference(before, now))


@pytest.mark.parametrize("field", ["images", "noisy_labels", "clean_labels", "test_images", "test_labels"])
@pytest.mark.parametrize("row", [0, 299, 599])
def test_any_changed_number_in_memory_is_found_with_its_place(field: str, row: int) -> None:
    data = toy_clusters(seed=0)
    changed = getattr(data, field).clone()
    changed[row] = 1.5 if changed.is_floating_point() else (changed[row] + 1) % 3
    now = fingerprint(dataclasses.replace(data, **{field: changed}))
    found = str(first_difference(fingerprint(data), now))
    start = row // -(-600 // BLOCKS) * -(-600 // BLOCKS)
    assert f"images {start} to " in found
    assert ("test" if field.startswith("test") else "training") in found


@pytest.mark.parametrize(("field", "told"), [("clean_labels", "clean labels"), ("images", "float64")])
def test_labels_no_longer_known_and_points_of_another_kind_are_said(field: str, told: str) -> None:
    data = toy_clusters(seed=0)
    assert isinstance(data.images, torch.Tensor)
    other = dataclasses.replace(data, **{field: None if field == "clean_labels" else data.images.double()})
    assert told in str(first_difference(fingerprint(data), fingerprint(other)))
