"""Image folders, Clothing1M and Food-101N: what loaders give, and what they refuse."""

import os
import shutil
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from make_synthetic import CLOTHES
from PIL import Image
from verify import verify

from dsl_teach.data.batches import OnDiskBatches
from dsl_teach.data.clothing1m import Clothing1MLists, clothing1m
from dsl_teach.data.dataset import UNKNOWN
from dsl_teach.data.decode import UnreadableImage, decode_image
from dsl_teach.data.folders import SYNTHETIC, UNREADABLE, image_folder
from dsl_teach.data.food101n import food101n
from tests.conftest import lines, listed_image, true_labels

STRAY = pytest.mark.filterwarnings("ignore:1 verification label")


@pytest.fixture
def folder(tmp_path):
    random = np.random.default_rng(0)
    for side, number in (("train", 5), ("test", 2)):
        for name in ("cat", "dog", "owl"):
            (tmp_path / side / name).mkdir(parents=True)
            for i in range(number):
                pixels = random.integers(0, 256, (20, 24, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(tmp_path / side / name / f"{i}.jpg")
        (tmp_path / side / SYNTHETIC).touch()  # spares each test the note that nothing was verified
    return tmp_path


def change(path, old, new):
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def cut_off(path):
    path.write_bytes(path.read_bytes()[:-100])


def test_clothing1m_trains_on_the_key_list_and_tests_on_right_labels(small_clothing1m):
    data = clothing1m(small_clothing1m)
    assert len(data) == len(lines(small_clothing1m / "noisy_train_key_list.txt")) == 30
    assert len(lines(small_clothing1m / "noisy_label_kv.txt")) > 30
    assert data.class_names == CLOTHES[:3]
    assert data.clean_labels is None
    labels = dict(line.rsplit(" ", 1) for line in lines(small_clothing1m / "noisy_label_kv.txt"))
    assert [int(labels[f"images/{path}"]) for path in data.images.paths] == data.noisy_labels.tolist()
    assert len(data.test_images) == 6
    assert torch.equal(data.test_labels, true_labels(data.test_images))
    assert data.made_from.startswith("synthetic data set drawn by the project, not Clothing1M; labels")


def test_images_that_carry_both_labels_are_of_the_clean_train_list(small_clothing1m):
    lists = Clothing1MLists(small_clothing1m)
    images, clean_labels = lists.with_both_labels()
    assert len(images.labels) == len(clean_labels) == 3
    assert torch.equal(clean_labels, true_labels(images.files))
    assert images.labels.tolist() == [lists.noisy[path] for path in images.files.paths]
    assert set(images.files.paths) < set(lists.keys("clean_train")) - set(lists.keys("noisy_train"))


def rewrite(root, old, new):
    for path in root.glob("*.txt"):
        path.write_bytes(path.read_bytes().replace(old, new))


def in_annotations(root):
    rewrite(root, b"images/", b"")
    (root / "annotations").mkdir()
    for path in root.glob("*.txt"):
        path.rename(root / "annotations" / path.name)
    (root / SYNTHETIC).touch()


def without_images_folder(root):
    rewrite(root, b"\n", b"\r\n")
    for top in (root / "images").iterdir():
        top.rename(root / top.name)


@pytest.mark.parametrize("layout", [in_annotations, without_images_folder])
def test_clothing1m_in_its_other_layouts(clothing, small_clothing1m, layout):
    layout(clothing)
    here, there = clothing1m(clothing), clothing1m(small_clothing1m)
    assert here.images.paths == there.images.paths
    assert torch.equal(here.noisy_labels, there.noisy_labels)


def test_clothing1m_refuses_a_folder_that_is_not_unpacked(clothing):
    shutil.rmtree(clothing / "images")
    with pytest.raises(FileNotFoundError, match=r"data_scripts/prepare\.py"):
        clothing1m(clothing)


@pytest.mark.parametrize("name", ["category_names_eng.txt", "noisy_label_kv.txt", "clean_test_key_list.txt"])
def test_clothing1m_refuses_a_list_that_is_missing_or_no_text(clothing, name):
    (clothing / name).write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ValueError, match=rf"{name} is not text in UTF-8"):
        clothing1m(clothing)
    (clothing / name).unlink()
    with pytest.raises(FileNotFoundError, match=rf"{name} is missing\. Put the lists of Clothing1M into"):
        clothing1m(clothing)


OUTSIDE = ["../secret.jpg", "images/../../secret.jpg", "/etc/secret.jpg", "..\\secret", "C:/a.jpg"]


@pytest.mark.parametrize(
    ("name", "line", "message"),
    [
        *(("noisy_label_kv.txt", f"a.jpg {x}", f"'{x}' must be a whole number from 0 to 2") for x in (3, -1, "Shirt")),
        *(("noisy_train_key_list.txt", key, "leaves the data folder") for key in OUTSIDE),
        *(("clean_label_kv.txt", f"{key} 1", "leaves the data folder") for key in OUTSIDE),
        *(("noisy_train_key_list.txt", key, "stands in this list twice") for key in ("{first}", "{without_prefix}")),
    ],
)
def test_clothing1m_refuses_a_wrong_line_and_says_which(clothing, name, line, message):
    path = clothing / name
    first = lines(path)[0]
    path.write_text(f"{path.read_text()}\n{line.format(first=first, without_prefix=first.removeprefix('images/'))}")
    with pytest.raises(ValueError, match=rf"{name}, line {len(lines(path))}: .*{message}"):
        clothing1m(clothing)


def test_clothing1m_refuses_to_train_on_a_test_image(clothing):
    key = lines(clothing / "clean_test_key_list.txt")[0]
    path = clothing / "noisy_train_key_list.txt"
    path.write_text(path.read_text() + "\n" + key)
    key = key.removeprefix("images/")
    with pytest.raises(ValueError, match=rf"1 training image\(s\) also stand in the test set, the first is {key}"):
        clothing1m(clothing)


def test_clothing1m_refuses_a_class_on_one_side_only(clothing):
    path = clothing / "clean_label_kv.txt"
    path.write_text("\n".join(line.removesuffix(" 2") + " 1" * line.endswith(" 2") for line in lines(path)))
    with pytest.raises(ValueError, match=r"Knitwear have images in one of noisy_train_key_list\.txt and clean_test"):
        clothing1m(clothing)


def relabel(root, change):
    """Change the line of the first training image in the list of noisy labels."""
    path, key = root / "noisy_label_kv.txt", lines(root / "noisy_train_key_list.txt")[0]
    changed = (change(line) if line.startswith(key) else line for line in lines(path))
    path.write_text("\n".join(line for line in changed if line))


BREAK = [
    (lambda root: listed_image(root).unlink(), "missing"),
    (lambda root: cut_off(listed_image(root)), "truncated"),
    (lambda root: listed_image(root).write_bytes(listed_image(root).read_bytes()[:2000] + bytes(2000)), ""),
    (lambda root: listed_image(root).write_text("<html>404</html>"), ""),
    (lambda root: shutil.copy(listed_image(root, name="clean_test"), listed_image(root)), "the same bytes"),
    (lambda root: relabel(root, lambda line: line.rsplit(" ", 1)[0]), "no label"),
    (lambda root: relabel(root, lambda line: ""), "no label"),
]


@pytest.mark.parametrize(("break_it", "reason"), BREAK)
def test_what_cannot_be_used_is_left_out_counted_and_told(clothing, monkeypatch, break_it, reason):
    whole = clothing1m(clothing)
    break_it(clothing)
    monkeypatch.chdir(clothing)
    for look in (lambda: None, lambda: verify("clothing1m", Path(), max_unreadable=0.05)):
        look()
        with pytest.warns(UserWarning, match=rf"1 of 30 images of noisy_train_key_list\.txt .*out.*{reason}") as told:
            data = clothing1m(clothing)
        assert len(told) == 1
        assert data.images.paths == whole.images.paths[1:]
        assert torch.equal(data.noisy_labels, whole.noisy_labels[1:])
        assert "not Clothing1M, 1 left out; " in data.made_from


def test_a_broken_test_image_is_left_out_too_and_a_whole_file_with_something_behind_it_is_not(clothing):
    with listed_image(clothing).open("ab") as file:
        file.write(b"made by a telephone")
    cut_off(listed_image(clothing, name="clean_test"))
    with pytest.warns(UserWarning, match=r"0 of 30 images .* and 1 of 6 images of clean_test_key_list\.txt"):
        assert len(clothing1m(clothing).test_labels) == 5


def test_a_folder_that_nobody_verified_is_looked_at_and_the_loader_says_so(clothing):
    (clothing / SYNTHETIC).unlink()
    for change in ("", lines(clothing / "noisy_train_key_list.txt")[0] + "\n"):
        rewrite(clothing, change.encode(), b"")  # what was found about other lists does not count
        said = r"Clothing1M has (not been|changed since it was) verified: its .* Run data_scripts/verify"
        with pytest.warns(UserWarning, match=said):
            clothing1m(clothing)
        verify("clothing1m", clothing)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert clothing1m(clothing).made_from == "Clothing1M; labels from the words around the images"


def test_trust_looks_at_nothing_and_stops_at_the_first_unreadable_image(clothing):
    cut_off(listed_image(clothing))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        data = clothing1m(clothing, trust=True)
    assert len(data) == 30
    with pytest.raises(UnreadableImage, match="truncated"):
        decode_image(data.images.root / data.images.paths[0])


@pytest.mark.parametrize("trust", [False, True])
def test_the_loader_goes_by_what_verify_found_until_a_file_changes(clothing, trust):
    cut_off(listed_image(clothing))
    verify("clothing1m", clothing, max_unreadable=0.05)
    with pytest.warns(UserWarning, match="left out; the first is .* truncated"):
        assert len(clothing1m(clothing, trust=trust)) == 29
    cut_off(listed_image(clothing, 5))  # behind its back
    with pytest.warns(UserWarning, match="has changed since it was verified|left out") as told:
        assert len(clothing1m(clothing)) == 28
    assert len(told) == 2


def test_a_link_out_of_the_data_folder_a_pipe_and_a_device_are_left_out(clothing, tmp_path):
    outside = shutil.copy(listed_image(clothing), tmp_path / "outside.jpg")
    ways = (lambda path: path.symlink_to(outside), os.mkfifo, lambda path: path.symlink_to("/dev/zero"))
    for number, make in enumerate(ways):
        listed_image(clothing, number).unlink()
        make(listed_image(clothing, number))
    with pytest.warns(UserWarning, match="3 of 30 images .* leads out of the data folder"):
        assert len(clothing1m(clothing)) == 27
    batches = OnDiskBatches(clothing1m(clothing, trust=True).images, torch.zeros(30, dtype=torch.int64), batch_size=1)
    with pytest.raises(UnreadableImage, match="leads out"):
        next(batches.in_order())
    (tmp_path / "link").symlink_to(clothing)
    with pytest.warns(UserWarning, match="3 of 30"):
        clothing1m(tmp_path / "link")


def test_a_folder_with_too_many_broken_images_or_a_damaged_list_of_them_is_refused(clothing):
    verify("clothing1m", clothing)
    with (clothing / UNREADABLE).open("a") as file:
        file.write("cat/1.jpg missing")
    with pytest.raises(ValueError, match=r"unreadable\.txt, line 2"):
        clothing1m(clothing)
    cut_off(listed_image(clothing))
    verify("clothing1m", clothing)
    with pytest.raises(ValueError, match=r"unreadable\.txt: NOT IN ORDER.*max_unreadable 0\.001"):
        clothing1m(clothing)


def test_food101n(small_food101n):
    """A file in two classes is two images; the classes of both sides have the same numbers."""
    with pytest.warns(UserWarning, match=r"1 verification label.* belong to no image of imagelist\.tsv"):
        data = food101n(small_food101n, small_food101n)
    sides = ((data.images, data.noisy_labels, 51), (data.test_images, data.test_labels, 10))
    for images, labels, number in sides:
        assert [data.class_names[label] for label in labels.tolist()] == [x.split("/")[0] for x in images.paths]
        assert len(set(images.paths)) == number
    assert len({path.split("/")[1] for path in data.images.paths}) == 50
    assert lines(small_food101n / "food-101/meta/classes.txt") != list(data.class_names)
    assert torch.equal(data.test_labels, true_labels(data.test_images))
    looked_at, right = data.verified != UNKNOWN, true_labels(data.images) == data.noisy_labels
    assert torch.equal(data.verified[looked_at] == 1, right[looked_at])
    assert data.clean_labels is None
    assert "not Food-101N; " in data.made_from


WEB, TEST = "Food-101N_release/meta", "food-101/meta"
FOOD_LISTS = [f"{WEB}/{x}" for x in ("classes.txt", "imagelist.tsv", "verified_train.tsv", "verified_val.tsv")]


@STRAY
@pytest.mark.parametrize(
    ("name", "old", "new", "message"),
    [
        *((name, "class_name", "name", "must begin with the header 'class_name") for name in FOOD_LISTS),
        *((f"{x}/classes.txt", "cheesecake\n", "cheesecake\nzebra_cake\n", "") for x in (WEB, TEST)),
        *((FOOD_LISTS[2], "\t1", x, rf"line \d+: .* must be 0 or 1, but it is '{x[1:]}'") for x in ("\t2", "")),
        (FOOD_LISTS[2], "apple_pie/", "../apple_pie/", r"line \d+: .* leaves the data folder"),
        *(
            (name, "apple_pie/", new, rf"line \d+: .*{message}")
            for name in (FOOD_LISTS[1], f"{TEST}/test.txt")
            for new, message in (("../", "not in the list of classes"), ("apple_pie/../", "leaves"), ("", "a slash"))
        ),
    ],
)
def test_food101n_refuses_a_wrong_line_and_says_which(food, name, old, new, message):
    change(food / name, old, new)
    with pytest.raises(ValueError, match=rf"{name}.*{message}|same classes, but zebra_cake"):
        food101n(food, food)


@STRAY
def test_food101n_leaves_out_broken_images(food):
    whole = food101n(food, food)
    cut_off(whole.images.root / whole.images.paths[3])
    (whole.test_images.root / whole.test_images.paths[1]).unlink()
    with pytest.warns(UserWarning, match="left out"):
        data = food101n(food, food)
    assert (len(data), len(data.test_images)) == (50, 9)
    kept = [i for i in range(51) if i != 3]
    assert torch.equal(data.verified, whole.verified[kept])


def test_image_folder_has_a_test_folder_or_holds_out_a_share_by_seed(folder):
    (folder / "train" / "cat" / "notes.txt").write_text("not an image")
    data = image_folder(folder / "train", folder / "test")
    assert (data.class_names, data.images.paths[0]) == (("cat", "dog", "owl"), "cat/0.jpg")
    assert (data.noisy_labels.bincount().tolist(), data.test_labels.bincount().tolist()) == ([5] * 3, [2] * 3)
    data, again, other = (image_folder(folder / "train", seed=seed) for seed in (0, 0, 1))
    assert data.test_labels.bincount().tolist() == [1, 1, 1]
    assert data.test_images == again.test_images
    assert data.test_images != other.test_images
    assert len(set(data.images.paths) | set(data.test_images.paths)) == 15


def test_image_folder_refuses_what_is_no_such_folder(folder):
    (folder / "train" / "ant").mkdir()
    for name, error, said in (
        ("nowhere", FileNotFoundError, r"There is no folder .*nowhere"),
        ("train/cat", ValueError, "holds no class folder"),
        ("train", ValueError, r"class folder .*ant holds no image"),
    ):
        with pytest.raises(error, match=said):
            image_folder(folder / name)


@pytest.mark.parametrize("verified", [False, True])
@pytest.mark.parametrize("held_out", [False, True])
def test_image_folder_leaves_broken_images_and_copies_of_test_images_out(folder, held_out, verified):
    """Held-out images are drawn anew for each seed: verify.py then keeps one of all that hold the same bytes."""
    test = None if held_out else folder / "test"
    cut_off(folder / "train" / "dog" / "2.jpg")
    shutil.copy((test or folder / "train") / "cat" / "1.jpg", folder / "train" / "dog" / "copy.jpg")
    if verified:
        verify("image_folder", folder / "train", test, max_unreadable=0.1)
    for seed in range(4):
        with pytest.warns(UserWarning, match="left out"):
            data = image_folder(folder / "train", test, seed=seed)
        both = {*data.images.paths, *data.test_images.paths}
        assert "dog/2.jpg" not in both
        if test or verified:
            assert "dog/copy.jpg" not in data.images.paths
        assert not {"cat/1.jpg", "dog/copy.jpg"} <= both or {"cat/1.jpg", "dog/copy.jpg"} <= set(data.images.paths)
