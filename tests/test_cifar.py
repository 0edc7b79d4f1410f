import os
import pickle
import re
import zipfile

import numpy as np
import pytest
import torch
from torchvision.datasets import CIFAR10

from dsl_teach import Settings, load_dataset
from dsl_teach.data import cifar as module
from dsl_teach.data.cifar import PublishedLabels, cifar, published_labels, read_arrays
from dsl_teach.data.dataset import subset
from tests.tiny_cifar import TEN, Attack, dump, make_official, write_cifar10


def numbers(images):
    """Which images these are: each carries its number in its first two pixels."""
    first = images.flatten(1)[:, :2].long()
    return first[:, 0] + 251 * first[:, 1]


def cifar10(root, labels=None):
    """A copy that is not the official one."""
    return cifar("cifar10", root, labels=labels, official=False)


@pytest.mark.parametrize("protocol", [4, "python 2"])
def test_reads_the_layout_whoever_pickled_it(tmp_path, protocol):
    labels = write_cifar10(tmp_path, protocol=protocol)
    dataset = cifar10(tmp_path)
    assert (dataset.images.shape, dataset.test_images.shape) == ((100, 3, 32, 32), (10, 3, 32, 32))
    assert numbers(dataset.images).tolist() == list(range(100))
    assert dataset.clean_labels.tolist() == dataset.noisy_labels.tolist() == labels.tolist()
    assert dataset.class_names == tuple(TEN)
    assert dataset.made_from == "CIFAR-10, a copy, not the official files; clean labels"


def test_official_files_pass_their_checksums_and_changed_ones_do_not(tmp_path, monkeypatch):
    write_cifar10(tmp_path)
    make_official(monkeypatch, CIFAR10, tmp_path)
    assert cifar("cifar10", tmp_path).made_from == "CIFAR-10, official files; clean labels"
    path = tmp_path / "cifar-10-batches-py" / "data_batch_3"
    path.write_bytes(path.read_bytes() + b"x")
    with pytest.raises(ValueError, match=r"data_batch_3 is not the official file.*official_files"):
        cifar("cifar10", tmp_path)


@pytest.mark.parametrize("missing", ["", "data_batch_4", "batches.meta"])
def test_a_missing_file_says_which_script_to_run(tmp_path, missing):
    write_cifar10(tmp_path)
    (tmp_path / "cifar-10-batches-py" / missing).rename(tmp_path / "elsewhere")
    with pytest.raises(FileNotFoundError, match=r"data_scripts/download.py cifar10"):
        cifar10(tmp_path)


@pytest.mark.parametrize(
    "change",
    [
        *({"data": x} for x in (np.zeros((20, 100), np.uint8), np.zeros((20, 3072), np.int64), None)),
        *({"labels": x} for x in ([1] * 19, None, ["x"] * 20, [10] * 20)),
    ],
)
def test_batches_that_are_no_images_are_refused(tmp_path, change):
    write_cifar10(tmp_path)
    path = tmp_path / "cifar-10-batches-py" / "data_batch_2"
    dump(path, read_arrays(path) | change)
    with pytest.raises(ValueError, match=r"data_batch_2 (holds no|must hold)|must lie in 0 .. 9"):
        cifar10(tmp_path)


def test_training_images_that_are_test_images_are_left_out_with_their_labels(tmp_path):
    labels = write_cifar10(tmp_path, test=[3, 50_001, 98, 50_003])
    shifted = np.where(np.arange(100) % 3, labels, (labels + 1) % 10)
    published = PublishedLabels(torch.from_numpy(shifted), torch.from_numpy(labels), "made labels")
    with pytest.warns(UserWarning, match=r"2 of 100 training images are also in the test set"):
        dataset = cifar10(tmp_path, labels=published)
    kept = numbers(dataset.images)
    assert kept.tolist() == [i for i in range(100) if i not in (3, 98)]
    assert dataset.clean_labels.tolist() == labels[kept].tolist()
    assert dataset.noisy_labels.tolist() == shifted[kept].tolist()


def test_subset_is_balanced_follows_from_the_seed_and_keeps_labels_with_images(tmp_path):
    labels = write_cifar10(tmp_path, train=300, test=range(0, 300, 3))
    with pytest.warns(UserWarning, match="100 of 300 training images"):
        data = cifar10(tmp_path)
    one, same, other = (subset(data, 50, seed=seed) for seed in (1, 1, 2))
    assert torch.bincount(one.clean_labels).tolist() == [5] * 10
    assert numbers(one.images).tolist() == numbers(same.images).tolist() != numbers(other.images).tolist()
    assert one.clean_labels.tolist() == labels[numbers(one.images)].tolist()
    assert (numbers(one.images) % 3 != 0).all()
    assert len(one.test_images) == 100
    assert one.made_from == "CIFAR-10, a copy, not the official files, 50 images drawn with seed 1; clean labels"
    for size in (0, 55):
        with pytest.raises(ValueError, match="multiple of 10"):
            subset(data, size, seed=0)


@pytest.fixture
def noisy(tmp_path):
    write_cifar10(tmp_path, train=300)
    where = {"dataset": "cifar10", "data_root": str(tmp_path), "official_files": False}
    return Settings(**where, noise_rate=0.4, width=4, network="strided_cnn")


def test_noise_comes_at_the_rate_asked_for_and_only_if_it_is(noisy):
    data, plain = load_dataset(noisy), load_dataset(noisy.replace(noise_rate=None))
    assert int((data.noisy_labels != data.clean_labels).sum()) == 120
    assert torch.equal(data.clean_labels, plain.noisy_labels)
    assert torch.equal(data.images, plain.images)
    assert data.made_from.endswith("; 40% label noise by a linear model's confusions")
    assert torch.equal(load_dataset(noisy.replace(noise_rate=0.0)).noisy_labels, plain.noisy_labels)
    assert not torch.equal(load_dataset(noisy.replace(seed=1)).noisy_labels, data.noisy_labels)


def test_wrong_labels_go_to_classes_that_look_alike(noisy, tmp_path):
    """Classes 2k and 2k + 1 are drawn in the same gray: a wrong label is nearly always the twin's."""
    labels = np.arange(400) % 10
    random = np.random.default_rng(0)
    pixels = (random.integers(0, 20, (400, 3072)) + 50 * (labels // 2)[:, None]).astype(np.uint8)
    for part, rows in enumerate(np.array_split(np.arange(400), 5), start=1):
        path = tmp_path / "cifar-10-batches-py" / f"data_batch_{part}"
        dump(path, {"data": pixels[rows], "labels": labels[rows].tolist()})
    data = load_dataset(noisy.replace(noise_rate=0.2, noise_temperature=0.0, batch_size=8, width=8))
    wrong = data.noisy_labels != data.clean_labels
    assert (data.noisy_labels[wrong] // 2 == data.clean_labels[wrong] // 2).float().mean() > 0.8


@pytest.fixture
def human(tmp_path):
    path, labels = tmp_path / "CIFAR-10_human.pt", write_cifar10(tmp_path)
    noisy = np.where(np.arange(100) % 5, labels, (labels + 1) % 10)
    torch.save({"clean_label": labels, "aggre_label": noisy}, path)
    return path, labels, noisy


def test_human_labels_are_read_and_stay_aligned_in_a_subset(tmp_path, human):
    path, labels, noisy = human
    dataset = cifar10(tmp_path, labels=published_labels(path, "aggre_label"))
    assert dataset.noisy_labels.tolist() == noisy.tolist()
    assert dataset.clean_labels.tolist() == labels.tolist()
    assert dataset.made_from.endswith("; human labels from CIFAR-10_human.pt, aggre_label")
    few = subset(dataset, 30, seed=4)
    assert few.noisy_labels.tolist() == noisy[numbers(few.images)].tolist()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda x: np.roll(x, 1), "labels are not those of CIFAR-10 for 100 of 100 .* first is image 0"),
        (lambda x: np.r_[x[:10], x[11], x[10], x[12:]], "for 2 of 100 images, the first is image 10"),
        (lambda x: x[:90], "aggre_label must have one entry for each of the 100 samples"),
        (lambda x: x + 1, r"aggre_label must lie in 0 \.\. 9"),
    ],
)
def test_labels_of_other_images_are_refused(tmp_path, human, change, message):
    path, labels, _ = human
    torch.save({name: change(labels) for name in ("clean_label", "aggre_label")}, path)
    with pytest.raises(ValueError, match=message):
        cifar10(tmp_path, labels=published_labels(path, "aggre_label"))


def test_labels_that_agree_no_better_than_chance_bring_a_warning(tmp_path):
    labels = torch.from_numpy(write_cifar10(tmp_path, train=1000))
    shuffled = labels[torch.randperm(1000, generator=torch.Generator().manual_seed(0))]
    with pytest.warns(UserWarning, match="no more than chance"):
        cifar10(tmp_path, labels=PublishedLabels(shuffled, None, "labels from x.npz"))


def test_numpy_1_and_legacy_files_are_read_too(tmp_path, human):
    path, _, noisy = human
    legacy, old = tmp_path / "legacy.pt", tmp_path / "old.pt"
    torch.save(dict.fromkeys(("clean_label", "aggre_label"), noisy), legacy, _use_new_zipfile_serialization=False)
    legacy.write_bytes(legacy.read_bytes().replace(b"numpy._core", b"numpy.core"))
    with zipfile.ZipFile(path) as source, zipfile.ZipFile(old, "w") as target:
        for name in source.namelist():
            target.writestr(name, source.read(name).replace(b"numpy._core", b"numpy.core"))
    assert b"numpy.core.multiarray" in old.read_bytes()
    for file in (legacy, old, path):
        assert published_labels(file, "aggre_label").noisy_labels.tolist() == noisy.tolist()


@pytest.mark.parametrize("kind", [3, 4, 5, "zipped", "legacy"])
def test_a_file_that_would_run_code_is_refused_and_does_not(tmp_path, kind):
    write_cifar10(tmp_path)
    batch, human = tmp_path / "cifar-10-batches-py" / "data_batch_1", tmp_path / "CIFAR-10_human.pt"
    attack = {"data": Attack(tmp_path / "caught")}
    if kind in (3, 4, 5):
        dump(batch, attack, kind)
    else:
        torch.save(attack, human, _use_new_zipfile_serialization=kind == "zipped")
    with pytest.raises(ValueError, match=r"(data_batch_1|CIFAR-10_human.pt) cannot be read") as refused:
        published_labels(human, "data") if human.exists() else cifar10(tmp_path)
    assert "mkdir" in str(refused.value.__cause__)
    assert not (tmp_path / "caught").exists()


@pytest.mark.parametrize(
    "array",
    [np.array([1, "a"], dtype=object), np.zeros(3), np.zeros(3, dtype="i4,f4"), np.array(["a"]), np.zeros(2, "M8[s]")],
)
def test_arrays_of_anything_but_whole_numbers_are_refused(tmp_path, array):
    dump(tmp_path / "labels", {"a": array})
    torch.save({"a": array}, tmp_path / "labels.pt")
    np.savez(tmp_path / "labels.npz", a=array)
    for read, name in ((read_arrays, "labels"), (read_arrays, "labels.pt"), (published_labels, "labels.npz")):
        with pytest.raises(ValueError, match=rf"{name} (cannot be read|holds no row of whole numbers)"):
            read(tmp_path / name)


def forged(dtype_state, content=b"\0" * 8):
    """A pickle that tells NumPy lies about the type of an array."""

    class Call:
        def __init__(self, function, arguments, state):
            self.parts = function, arguments, state

        def __reduce__(self):
            return self.parts

    dtype = Call(np.dtype, ("i8", False, True), dtype_state)
    array = Call(np._core.multiarray._reconstruct, (np.ndarray, (0,), b"b"), (1, (1,), dtype, False, content))
    return pickle.dumps({"a": array}, protocol=3)


@pytest.mark.parametrize(
    "content",
    [
        forged((3, "<", None, None, None, -1, -1, 63), content=[object]),  # a list where bytes belong
        forged((3, "<", None, None, None, -1, -1, 0), content=b"\0" * 7),  # too few bytes
        forged((3, "?!", None, None, None, -1, -1, 0)),
        b"",
        b"<html>404</html>",
        pickle.dumps([1, 2]),
    ],
)
def test_forged_and_damaged_pickles_are_refused(tmp_path, content):
    path = tmp_path / "labels"
    path.write_bytes(content)
    with pytest.raises(ValueError, match="labels cannot be read"):
        read_arrays(path)


def test_files_that_would_fill_the_memory_are_refused_before_they_do(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "LARGEST", 2**20)
    np.savez_compressed(tmp_path / "bomb.npz", a=np.zeros(2**20, dtype=np.int64))  # 8 kB
    (tmp_path / "large").write_bytes(b"N." + bytes(2**20))
    (tmp_path / "memo").write_bytes(b"}r\xff\xff\xff\x7f.")  # Python would make room for two thousand million places
    os.mkfifo(tmp_path / "pipe.npz")
    torch.save({"a": np.zeros(2**20, dtype=np.int64)}, tmp_path / "bomb.pt")
    for name in ("bomb.npz", "large", "memo", "pipe.npz", "bomb.pt"):
        with pytest.raises(ValueError, match=f"{name} cannot be read") as refused:
            read_arrays(tmp_path / name)
        assert re.search(r"bytes are more than|LONG_BINPUT|must be a file", str(refused.value.__cause__))


def test_lies_about_the_type_of_an_array_are_not_believed(tmp_path):
    for state in ((3, "|", None, ("a",), {"a": (np.dtype("i8"), 0)}, 8, 1, 27), (3, "<", None, None, None, -1, -1, 63)):
        (tmp_path / "labels").write_bytes(forged(state))
        assert read_arrays(tmp_path / "labels")["a"].tolist() == [0]


def test_every_layout_of_whole_numbers_comes_through(tmp_path):
    arrays = {"big endian": np.arange(3, dtype=">i2"), "bytes": np.arange(200, 256, dtype=np.uint8)}
    arrays |= {"fortran": np.asfortranarray(np.arange(6).reshape(2, 3))}
    torch.save(arrays, tmp_path / "b.pt")
    for protocol in (3, 4, 5):
        dump(tmp_path / f"{protocol}", arrays, protocol)
    for file in ("3", "4", "5", "b.pt"):
        for name, array in read_arrays(tmp_path / file).items():
            np.testing.assert_array_equal(array, arrays[name], strict=True)


def test_labels_come_from_npz(tmp_path):
    labels = write_cifar10(tmp_path).astype(np.int32)
    np.savez(tmp_path / "a.npz", clean=labels, idn=np.where(labels == 3, 5, labels))
    np.savez(tmp_path / "b.npz", labels)
    assert published_labels(tmp_path / "b.npz").noisy_labels.tolist() == labels.tolist()
    dataset = cifar10(tmp_path, labels=published_labels(tmp_path / "a.npz", "idn"))
    assert (dataset.noisy_labels == 5).sum() == 20
    assert dataset.made_from.endswith("; labels from a.npz, idn")


def test_label_files_say_what_is_wrong_with_them(tmp_path):
    (tmp_path / "a.csv").write_text("1")
    (tmp_path / "a.npz").write_bytes(b"PK\3\4 not a zip")
    np.savez(tmp_path / "b.npz", one=np.arange(3), two=np.zeros((3, 2), dtype=int))
    for name, labels, message in (
        ("a.csv", "", r"must end in .pt or .npz"),
        ("a.npz", "", "a.npz cannot be read"),
        *(("b.npz", x, r"no row of whole numbers .*: one, two\.") for x in ("", "two", "three")),
    ):
        with pytest.raises(ValueError, match=message):
            published_labels(tmp_path / name, labels)
    with pytest.raises(FileNotFoundError, match=r"download\.py cifar100n"):
        published_labels(tmp_path / "CIFAR-100_human.pt")
