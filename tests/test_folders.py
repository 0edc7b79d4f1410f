"""Image folders, Clothing1M and Food-101N: what loaders give, and what they refuse."""

import shutil
import warnings

import numpy as np
import pytest
import torch
from PIL import Image

from dsl_teach.data.clothing1m import clothing1m
from dsl_teach.data.dataset import UNKNOWN
from dsl_teach.data.decode import decode_image
from dsl_teach.data.folders import image_folder
from dsl_teach.data.food101n import food101n
from dsl_teach.data.painter import Painter
from dsl_teach.data.preparing import prepare
from dsl_teach.data.stand_in import CLOTHES, make_clothing1m, true_labels
from dsl_teach.data.usable import LEFT_OUT, RECORD
from dsl_teach.data.verify_sets import verify_clothing1m

STRAY = pytest.mark.filterwarnings("ignore:1 verification label")


@pytest.fixture
def clothing(small_clothing1m, tmp_path):
    return shutil.copytree(small_clothing1m, tmp_path / "clothing1m")


@pytest.fixture
def food(small_food101n, tmp_path):
    return shutil.copytree(small_food101n, tmp_path / "food")


@pytest.fixture
def folder(tmp_path):
    random = np.random.default_rng(0)
    for side, number in (("train", 5), ("test", 2)):
        for name in ("cat", "dog", "owl"):
            (tmp_path / side / name).mkdir(parents=True)
            for i in range(number):
                pixels = random.integers(0, 256, (20, 24, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(tmp_path / side / name / f"{i}.jpg")
    return tmp_path


def change(path, old, new):
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def cut_off(path):
    path.write_bytes(path.read_bytes()[:-100])


def lines(path):
    return path.read_text().splitlines()


def clothing_image(root, number=0, name="noisy_train"):
    return root / lines(root / f"{name}_key_list.txt")[number]


# ---------------------------------------------------------------------------------------------------- Clothing1M


def test_clothing1m_reads_the_key_list_not_the_labelled_rows(small_clothing1m):
    data = clothing1m(small_clothing1m)
    assert len(data) == len(lines(small_clothing1m / "noisy_train_key_list.txt")) == 30
    assert len(lines(small_clothing1m / "noisy_label_kv.txt")) > 30
    assert data.class_names == CLOTHES[:3]
    assert data.clean_labels is None
    labels = dict(line.rsplit(" ", 1) for line in lines(small_clothing1m / "noisy_label_kv.txt"))
    assert [int(labels[f"images/{path}"]) for path in data.images.paths] == data.noisy_labels.tolist()


def test_a_stand_in_says_so(small_clothing1m, small_food101n):
    assert clothing1m(small_clothing1m).made_from.startswith("stand-in drawn by the project, not Clothing1M")
    with pytest.warns(UserWarning, match="1 verification label"):
        assert "stand-in drawn by the project, not Food-101N" in food101n(small_food101n, small_food101n).made_from


def test_clothing1m_tests_on_right_labels(small_clothing1m):
    for test, number in (("clean_test", 6), ("clean_val", 3)):
        data = clothing1m(small_clothing1m, test=test)
        assert len(data.test_images) == number
        assert torch.equal(data.test_labels, true_labels(data.test_images))


def test_clothing1m_with_the_images_that_carry_both_labels(small_clothing1m):
    data = clothing1m(small_clothing1m, train="noisy_and_both")
    assert len(data) == 33
    known = data.clean_labels != UNKNOWN
    assert known.tolist() == [False] * 30 + [True] * 3
    assert torch.equal(data.clean_labels[known], true_labels(data.images)[known])


def test_clothing1m_clean_train(small_clothing1m):
    data = clothing1m(small_clothing1m, train="clean")
    assert len(data) == 6
    assert torch.equal(data.noisy_labels, data.clean_labels)


def test_wrong_labels_depend_on_the_image_and_come_at_the_rate_asked_for():
    painter = Painter(4, noise_rate=0.4, seed=0)
    drawn = [painter.draw(label) for label in range(4) for _ in range(60)]
    wrong, right = ([image.doubt for image in drawn if (image.noisy_label != image.true_label) == x] for x in (1, 0))
    assert len(wrong) / len(drawn) == pytest.approx(0.4, abs=0.08)
    assert np.mean(wrong) > np.mean(right) + 0.15


@pytest.mark.parametrize(("annotations", "drop_prefix"), [(True, False), (False, True), (True, True)])
def test_clothing1m_in_its_other_layouts(tmp_path, small_clothing1m, annotations, drop_prefix):
    layout = {"annotations": annotations, "drop_prefix": drop_prefix}
    root = make_clothing1m(tmp_path / "other", classes=3, images_per_class=10, **layout)
    here, there = clothing1m(root), clothing1m(small_clothing1m)
    assert here.images.paths == there.images.paths
    assert torch.equal(here.noisy_labels, there.noisy_labels)


def test_clothing1m_without_the_folder_images(clothing):
    for top in (clothing / "images").iterdir():
        top.rename(clothing / top.name)
    assert clothing1m(clothing).images.root == clothing


def test_clothing1m_with_windows_line_ends(clothing):
    path = clothing / "noisy_train_key_list.txt"
    path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    assert len(clothing1m(clothing)) == 30


def test_clothing1m_from_a_prepared_copy(clothing, tmp_path):
    prepare(clothing, tmp_path / "copy", short_side=32)
    data = clothing1m(tmp_path / "copy")
    assert torch.equal(data.noisy_labels, clothing1m(clothing).noisy_labels)
    assert min(decode_image(data.images.root / data.images.paths[0]).shape[1:]) == 32


def test_gray_and_cmyk_images_are_kept(small_clothing1m):
    data = clothing1m(small_clothing1m)
    modes = [Image.open(data.images.root / path).mode for path in data.images.paths]
    assert {"L", "CMYK"} <= set(modes)
    assert all(decode_image(data.images.root / path).shape[0] == 3 for path in data.images.paths[:2])


LISTS = [
    "category_names_eng.txt",
    "noisy_label_kv.txt",
    "clean_label_kv.txt",
    "noisy_train_key_list.txt",
    "clean_test_key_list.txt",
]


@pytest.mark.parametrize("name", LISTS)
def test_clothing1m_refuses_a_missing_list(clothing, name):
    (clothing / name).unlink()
    with pytest.raises(FileNotFoundError, match=rf"{name} is missing\. Put the lists of Clothing1M into"):
        clothing1m(clothing)


def test_clothing1m_refuses_a_list_that_is_no_text(clothing):
    (clothing / "clean_label_kv.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ValueError, match=r"clean_label_kv\.txt is not text in UTF-8"):
        clothing1m(clothing)


def test_clothing1m_refuses_a_folder_that_is_not_unpacked(clothing):
    shutil.rmtree(clothing / "images")
    with pytest.raises(FileNotFoundError, match=r"Unpack 0\.tar to 9\.tar with data_scripts/prepare\.py"):
        clothing1m(clothing)


@pytest.mark.parametrize("label", ["3", "-1", "99"])
def test_clothing1m_refuses_a_label_out_of_range(clothing, label):
    path = clothing / "noisy_label_kv.txt"
    first = lines(path)[0]
    change(path, first, first.rsplit(" ", 1)[0] + " " + label)
    message = rf"noisy_label_kv\.txt, line 1: the label {label} is out of range, it must lie in 0 \.\. 2"
    with pytest.raises(ValueError, match=message):
        clothing1m(clothing)


def test_clothing1m_refuses_a_label_that_is_no_number(clothing):
    path = clothing / "clean_label_kv.txt"
    first = lines(path)[0]
    change(path, first, first.rsplit(" ", 1)[0] + " Shirt")
    with pytest.raises(ValueError, match=r"clean_label_kv\.txt, line 1: the label 'Shirt' is not a whole number"):
        clothing1m(clothing)


@pytest.mark.parametrize(
    "key", ["../secret.jpg", "images/../../secret.jpg", "/etc/secret.jpg", "..\\secret", "C:/a.jpg"]
)
@pytest.mark.parametrize("name", ["noisy_train_key_list.txt", "clean_label_kv.txt"])
def test_clothing1m_refuses_a_path_that_leaves_the_folder(clothing, name, key):
    path = clothing / name
    path.write_text(f"{key}{' 1' if 'kv' in name else ''}\n" + path.read_text())
    with pytest.raises(ValueError, match=rf"{name}, line 1: .* leaves the data folder"):
        clothing1m(clothing)


@pytest.mark.parametrize("name", ["noisy_train_key_list.txt", "noisy_label_kv.txt"])
def test_clothing1m_refuses_a_key_that_stands_twice(clothing, name):
    path = clothing / name
    path.write_text(path.read_text() + "\n" + lines(path)[0])
    with pytest.raises(ValueError, match=rf"{name}, line {len(lines(path))}: .* stands in this list twice"):
        clothing1m(clothing)


def test_clothing1m_refuses_a_key_that_stands_twice_with_and_without_its_prefix(clothing):
    path = clothing / "noisy_train_key_list.txt"
    path.write_text(path.read_text() + "\n" + lines(path)[0].removeprefix("images/"))
    with pytest.raises(ValueError, match="stands in this list twice"):
        clothing1m(clothing)


@pytest.mark.parametrize("train", ["noisy", "noisy_and_both"])
def test_clothing1m_refuses_to_train_on_a_test_image(clothing, train):
    key = lines(clothing / "clean_test_key_list.txt")[0]
    path = clothing / "noisy_train_key_list.txt"
    path.write_text(path.read_text() + "\n" + key)
    key = key.removeprefix("images/")
    with pytest.raises(ValueError, match=rf"1 image\(s\) stand in .* and in clean_test_key_list\.txt, one is {key}"):
        clothing1m(clothing, train=train)


def test_clothing1m_refuses_a_class_on_one_side_only(clothing):
    path = clothing / "clean_label_kv.txt"
    path.write_text(path.read_text().replace(" 2\n", " 1\n"))
    if path.read_text().endswith(" 2"):
        path.write_text(path.read_text()[:-1] + "1")
    message = r"Knitwear have images in noisy_train_key_list\.txt and none in clean_test"
    with pytest.raises(ValueError, match=message):
        clothing1m(clothing)


@pytest.mark.parametrize(("name", "value"), [("train", "all"), ("test", "noisy"), ("check", "full")])
def test_clothing1m_refuses_an_unknown_choice(small_clothing1m, name, value):
    with pytest.raises(ValueError, match=f"{name} must be one of .*, but it is '{value}'"):
        clothing1m(small_clothing1m, **{name: value})


def test_max_unreadable_must_be_a_share(small_clothing1m):
    with pytest.raises(ValueError, match="max_unreadable must be a share"):
        clothing1m(small_clothing1m, max_unreadable=1.5)


# --------------------------------------------------------------------------------------------- broken images


def remove(root):
    clothing_image(root).unlink()
    return "missing"


def truncate(root):
    cut_off(clothing_image(root))
    return "truncated"


def fill_with_zeros(root):
    path = clothing_image(root)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2] + bytes(len(data) - len(data) // 2))
    return ""


def overwrite(root):
    clothing_image(root).write_text("<html>404</html>")
    return ""


def empty(root):
    clothing_image(root).write_bytes(b"")
    return ""


def drop_label(root):
    path = root / "noisy_label_kv.txt"
    line = next(line for line in lines(path) if line.startswith(lines(root / "noisy_train_key_list.txt")[0]))
    change(path, line, line.rsplit(" ", 1)[0])
    return "no label"


def drop_line(root):
    path = root / "noisy_label_kv.txt"
    line = next(line for line in lines(path) if line.startswith(lines(root / "noisy_train_key_list.txt")[0]))
    change(path, line + "\n", "")
    return "no label"


BREAK = [remove, truncate, fill_with_zeros, overwrite, empty, drop_label, drop_line]


@pytest.mark.parametrize("spoil", BREAK)
@pytest.mark.parametrize("check", ["auto", "decode"])
def test_broken_data_stop_the_loading(clothing, spoil, check):
    reason = spoil(clothing)
    message = rf"1 of 30 images of noisy_train_key_list\.txt .*max_unreadable = 0\.001 allows.*{reason}.*Restore them"
    with pytest.raises(ValueError, match=message):
        clothing1m(clothing, check=check)
    assert len(lines(clothing / LEFT_OUT)) == 2


@pytest.mark.parametrize("spoil", BREAK)
def test_broken_data_are_left_out_up_to_the_share_and_listed(clothing, spoil):
    whole = clothing1m(clothing)
    reason = spoil(clothing)
    with pytest.warns(UserWarning, match=rf"1 of 30 images .*left out.*{reason}.*listed in .*{LEFT_OUT}"):
        data = clothing1m(clothing, max_unreadable=0.05)
    assert data.images.paths == whole.images.paths[1:]
    assert torch.equal(data.noisy_labels, whole.noisy_labels[1:])
    header, row = lines(clothing / LEFT_OUT)
    assert header == "list\tpath\treason"
    assert row.startswith(f"noisy_train_key_list.txt\t{whole.images.paths[0]}\t")
    assert reason in row


def test_a_broken_test_image_counts_too(clothing):
    cut_off(clothing_image(clothing, name="clean_test"))
    with pytest.raises(ValueError, match=r"1 of 6 images of clean_test_key_list\.txt"):
        clothing1m(clothing, max_unreadable=0.1)


def test_the_warning_points_at_the_caller(clothing):
    remove(clothing)
    with pytest.warns(UserWarning, match="left out") as caught:
        clothing1m(clothing, max_unreadable=0.1)
    assert caught[0].filename == __file__


def test_check_none_looks_at_nothing(clothing):
    truncate(clothing)
    assert len(clothing1m(clothing, check="none")) == 30


def test_a_copy_of_a_test_image_is_left_out_of_training(clothing):
    shutil.copy(clothing_image(clothing, name="clean_test"), clothing_image(clothing))
    with pytest.warns(UserWarning, match="1 training image.* hold the same bytes as a test image"):
        data = clothing1m(clothing)
    assert len(data) == 29
    assert "the same bytes as the test image" in lines(clothing / LEFT_OUT)[1]


def test_a_whole_file_with_something_behind_it_is_kept(clothing):
    with clothing_image(clothing).open("ab") as file:
        file.write(b"made by a telephone")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(clothing1m(clothing)) == 30


def test_where_the_list_cannot_be_written_it_goes_elsewhere(clothing):
    remove(clothing)
    (clothing / LEFT_OUT).mkdir()
    with pytest.warns(UserWarning, match=rf"listed in (?!{clothing}).*{LEFT_OUT}"):
        clothing1m(clothing, max_unreadable=0.1)


# ------------------------------------------------------------------------------- what verify.py wrote down


def test_the_loader_trusts_the_record(clothing):
    truncate(clothing)
    verify_clothing1m(clothing)
    shutil.copy(clothing_image(clothing, 5), clothing_image(clothing))  # restored behind its back
    for train in ("noisy", "noisy_and_both"):
        with pytest.warns(UserWarning, match="left out; the first is .* truncated"):
            clothing1m(clothing, train=train, check="list", max_unreadable=0.05)


def test_a_record_of_other_files_is_not_trusted(clothing):
    verify_clothing1m(clothing)
    remove(clothing)
    with pytest.raises(ValueError, match=r"verified\.json says nothing about these images, or files have come or gone"):
        clothing1m(clothing, check="list")
    with pytest.raises(ValueError, match="1 of 30 images"):
        clothing1m(clothing)


def test_without_a_record_check_list_says_how_to_make_one(small_clothing1m):
    with pytest.raises(ValueError, match=r"Run data_scripts/verify\.py, or set check='quick'"):
        clothing1m(small_clothing1m, check="list")


@pytest.mark.parametrize("text", ["", "[]", '{"a": ', "null"])
def test_a_damaged_record_is_refused(clothing, text):
    (clothing / RECORD).write_text(text)
    with pytest.raises(ValueError, match=r"verified\.json is damaged\. Remove it"):
        clothing1m(clothing)


# ------------------------------------------------------------------------------------- Food-101N and Food-101


@STRAY
def test_food101n(small_food101n):
    data = food101n(small_food101n, small_food101n)
    truth = true_labels(data.images)
    assert len(data) == 51
    names = [data.class_names[label] for label in data.noisy_labels.tolist()]
    assert names == [path.split("/")[0] for path in data.images.paths]
    looked_at = data.verified != UNKNOWN
    assert torch.equal(data.verified[looked_at] == 1, (truth == data.noisy_labels)[looked_at])
    right = data.verified == 1
    assert torch.equal(data.clean_labels[right], truth[right])
    assert (data.clean_labels[~right] == UNKNOWN).all()


@STRAY
def test_one_class_map_for_both_sides(small_food101n):
    ours, theirs = (small_food101n / name / "meta" / "classes.txt" for name in ("Food-101N_release", "food-101"))
    assert lines(ours)[1:] == sorted(lines(theirs))
    assert lines(theirs).index("cheesecake") < lines(theirs).index("cheese_plate")
    data = food101n(small_food101n, small_food101n)
    names = [data.class_names[label] for label in data.test_labels.tolist()]
    assert names == [path.split("/")[0] for path in data.test_images.paths]
    assert torch.equal(data.test_labels, true_labels(data.test_images))


@STRAY
def test_the_same_file_in_two_classes_is_two_images(small_food101n):
    data = food101n(small_food101n, small_food101n)
    files = [path.split("/")[1] for path in data.images.paths]
    assert len(files) == len(set(files)) + 1
    assert len(set(data.images.paths)) == len(files)


@STRAY
def test_food101n_from_the_inner_folders(small_food101n):
    assert len(food101n(small_food101n / "Food-101N_release", small_food101n / "food-101")) == 51


def test_a_verified_row_without_an_image_is_told(small_food101n):
    with pytest.warns(UserWarning, match=r"1 verification label.* belong to no image of imagelist\.tsv") as caught:
        food101n(small_food101n, small_food101n)
    assert caught[0].filename == __file__


FOOD_LISTS = [
    ("Food-101N_release", "classes.txt"),
    ("Food-101N_release", "imagelist.tsv"),
    ("Food-101N_release", "verified_train.tsv"),
    ("Food-101N_release", "verified_val.tsv"),
    ("food-101", "classes.txt"),
    ("food-101", "test.txt"),
]


@STRAY
@pytest.mark.parametrize(("side", "name"), FOOD_LISTS)
def test_food101n_refuses_a_missing_list(food, side, name):
    (food / side / "meta" / name).unlink()
    with pytest.raises(FileNotFoundError, match=rf"{name} is missing\. Unpack Food-101"):
        food101n(food, food)


@STRAY
@pytest.mark.parametrize("name", ["classes.txt", "imagelist.tsv", "verified_train.tsv", "verified_val.tsv"])
def test_food101n_refuses_a_wrong_header(food, name):
    path = food / "Food-101N_release" / "meta" / name
    change(path, "class_name", "name")
    with pytest.raises(ValueError, match=rf"{name} must begin with the header 'class_name.*its first line is 'name"):
        food101n(food, food)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("\t1", "\t2", "the verification label must be 0 or 1, but it is '2'"),
        ("\t1", "", r"has 1 column\(s\), but the header has 2"),
        ("apple_pie/", "../apple_pie/", "leaves the data folder"),
    ],
)
def test_food101n_refuses_a_wrong_verification(food, old, new, message):
    change(food / "Food-101N_release" / "meta" / "verified_train.tsv", old, new)
    with pytest.raises(ValueError, match=rf"verified_train\.tsv, line \d+: .*{message}"):
        food101n(food, food)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("apple_pie/", "apple_cake/", "the class 'apple_cake' is not in the list of classes"),
        ("apple_pie/", "../", "leaves the data folder"),
        ("apple_pie/", "", "must be a class name, a slash and a file name"),
    ],
)
@pytest.mark.parametrize(("side", "name"), [("Food-101N_release", "imagelist.tsv"), ("food-101", "test.txt")])
@STRAY
def test_food101n_refuses_a_wrong_line(food, side, name, old, new, message):
    change(food / side / "meta" / name, old, new)
    with pytest.raises(ValueError, match=rf"{name}, line \d+: .*{message}"):
        food101n(food, food)


@pytest.mark.parametrize(("side", "name"), FOOD_LISTS[1:3] + FOOD_LISTS[5:])
def test_food101n_refuses_a_line_that_stands_twice(food, side, name):
    path = food / side / "meta" / name
    path.write_text(path.read_text() + lines(path)[-1] + "\n")
    with pytest.raises(ValueError, match=rf"{name}, line {len(lines(path))}: .* stands in this list twice"):
        food101n(food, food)


def test_food101n_refuses_a_row_in_both_verification_lists(food):
    meta = food / "Food-101N_release" / "meta"
    row = lines(meta / "verified_train.tsv")[1]
    (meta / "verified_val.tsv").write_text((meta / "verified_val.tsv").read_text() + row + "\n")
    with pytest.raises(ValueError, match=r"stands in both verified_train\.tsv and verified_val\.tsv"):
        food101n(food, food)


@pytest.mark.parametrize(
    ("side", "other"), [("Food-101N_release", "only in Food-101N"), ("food-101", "only in Food-101")]
)
def test_food101n_refuses_a_class_on_one_side_only(food, side, other):
    path = food / side / "meta" / "classes.txt"
    path.write_text(path.read_text() + "zebra_cake\n")
    with pytest.raises(ValueError, match=rf"same classes.*zebra_cake \({other}\)"):
        food101n(food, food)


@STRAY
def test_food101n_refuses_a_class_without_test_images(food):
    path = food / "food-101" / "meta" / "test.txt"
    path.write_text("\n".join(line for line in lines(path) if not line.startswith("baklava")))
    with pytest.raises(ValueError, match=r"baklava have images in Food-101N's imagelist\.tsv and none in Food-101's"):
        food101n(food, food)


@STRAY
def test_food101n_leaves_out_broken_images(food):
    whole = food101n(food, food)
    cut_off(whole.images.root / whole.images.paths[3])
    (whole.test_images.root / whole.test_images.paths[1]).unlink()
    with pytest.raises(ValueError, match="1 of 51 images"):
        food101n(food, food)
    with pytest.warns(UserWarning, match="left out"):
        data = food101n(food, food, max_unreadable=0.2)
    assert (len(data), len(data.test_images)) == (50, 9)
    kept = [i for i in range(51) if i != 3]
    assert torch.equal(data.verified, whole.verified[kept])
    assert len(lines(food / "Food-101N_release" / LEFT_OUT)) == 3


# --------------------------------------------------------------------------------------------------- any folder


def test_image_folder_with_a_test_folder(folder):
    (folder / "train" / "cat" / "notes.txt").write_text("not an image")
    data = image_folder(folder / "train", folder / "test")
    assert data.class_names == ("cat", "dog", "owl")
    assert data.noisy_labels.bincount().tolist() == [5, 5, 5]
    assert data.test_labels.bincount().tolist() == [2, 2, 2]
    assert data.images.paths[0] == "cat/0.jpg"


def test_image_folder_holds_out_a_share_by_seed(folder):
    data, again, other = (image_folder(folder / "train", seed=seed) for seed in (0, 0, 1))
    assert data.test_labels.bincount().tolist() == [1, 1, 1]
    assert data.test_images == again.test_images
    assert data.test_images != other.test_images
    assert len(set(data.images.paths) | set(data.test_images.paths)) == 15
    assert "labels as given, perhaps wrong" in data.made_from


def test_image_folder_refuses_a_class_on_one_side_only(folder):
    shutil.rmtree(folder / "test" / "owl")
    with pytest.raises(ValueError, match=r"owl stand in .*train, but not in .*test"):
        image_folder(folder / "train", folder / "test")
    with pytest.raises(ValueError, match=r"owl stand in .*train, but not in .*test"):
        image_folder(folder / "test", folder / "train")


def test_image_folder_refuses_what_is_no_such_folder(folder):
    with pytest.raises(FileNotFoundError, match=r"There is no folder .*nowhere"):
        image_folder(folder / "nowhere")
    with pytest.raises(ValueError, match="holds no class folder"):
        image_folder(folder / "train" / "cat")
    (folder / "train" / "ant").mkdir()
    with pytest.raises(ValueError, match=r"class folder .*ant holds no image"):
        image_folder(folder / "train")


def test_image_folder_refuses_a_share_out_of_range(folder):
    with pytest.raises(ValueError, match="held_out must be a share"):
        image_folder(folder / "train", held_out=1.0)


def test_image_folder_counts_broken_images(folder):
    cut_off(folder / "train" / "dog" / "2.jpg")
    with pytest.raises(ValueError, match=r"1 of 15 images of .*dog/2\.jpg"):
        image_folder(folder / "train", folder / "test")
    with pytest.warns(UserWarning, match="left out"):
        assert len(image_folder(folder / "train", folder / "test", max_unreadable=0.1)) == 14


def test_image_folder_leaves_copies_of_test_images_out(folder):
    shutil.copy(folder / "test" / "cat" / "1.jpg", folder / "train" / "dog" / "copy.jpg")
    with pytest.warns(UserWarning, match="same bytes as a test image"):
        assert len(image_folder(folder / "train", folder / "test")) == 15


def test_a_test_image_cannot_be_trained_on(folder):
    with pytest.raises(ValueError, match=r"15 image\(s\) stand in .*train and in .*train"):
        image_folder(folder / "train", folder / "train")
