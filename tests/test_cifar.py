import os
import pickle
import zipfile

import numpy as np
import pytest
import torch
from torchvision.datasets import CIFAR10

from dsl_teach.data.cifar import cifar10, cifar100, cifar_n_labels
from dsl_teach.data.label_files import PublishedLabels, labels_from_file
from dsl_teach.data.plain_pickle import read_pickle, read_torch
from dsl_teach.data.relabel import subset, with_labels
from tests.tiny_cifar import TEN, dump, make_official, write_cifar10, write_cifar100


def numbers(images):
    """Which images these are: each carries its number in its first two pixels."""
    first = images.flatten(1)[:, :2].long()
    return first[:, 0] + 251 * first[:, 1]


class Attack:
    """Unpickled without care, this makes a folder."""

    def __init__(self, target):
        self.target = target

    def __reduce__(self):
        return os.mkdir, (str(self.target),)


# ---------------------------------------------------------------------------------------------------- images


@pytest.mark.parametrize("protocol", [0, 1, 2, 3, 4, 5, "python 2"])
def test_reads_the_layout_whoever_pickled_it(tmp_path, protocol):
    labels = write_cifar10(tmp_path, protocol=protocol)
    dataset = cifar10(tmp_path, checksum=False)
    assert dataset.images.shape == (100, 3, 32, 32)
    assert dataset.images.dtype == torch.uint8
    assert dataset.test_images.shape == (10, 3, 32, 32)
    assert numbers(dataset.images).tolist() == list(range(100))
    assert dataset.clean_labels.tolist() == dataset.noisy_labels.tolist() == labels.tolist()
    assert dataset.class_names == tuple(TEN)
    assert dataset.made_from == "CIFAR-10, a copy, not the official files; clean labels"


def test_noise_written_into_noisy_labels_leaves_the_clean_ones(tmp_path):
    labels = write_cifar10(tmp_path)
    dataset = cifar10(tmp_path, checksum=False)
    dataset.noisy_labels[:] = 0
    assert dataset.clean_labels.tolist() == labels.tolist()


def test_cifar100_has_fine_and_coarse_classes(tmp_path):
    write_cifar100(tmp_path)
    fine, coarse = (cifar100(tmp_path, kind=kind, checksum=False) for kind in ("fine", "coarse"))
    assert (fine.num_classes, coarse.num_classes) == (100, 20)
    assert coarse.noisy_labels.tolist() == (fine.noisy_labels // 5).tolist()
    assert coarse.test_labels.tolist() == (fine.test_labels // 5).tolist()
    with pytest.raises(ValueError, match="'fine' or 'coarse'"):
        cifar100(tmp_path, kind="medium")


def test_official_files_pass_their_checksums_and_changed_ones_do_not(tmp_path, monkeypatch):
    write_cifar10(tmp_path)
    make_official(monkeypatch, CIFAR10, tmp_path)
    assert cifar10(tmp_path).made_from == "CIFAR-10, official files; clean labels"
    path = tmp_path / "cifar-10-batches-py" / "data_batch_3"
    path.write_bytes(path.read_bytes() + b"x")
    with pytest.raises(ValueError, match=r"data_batch_3 is not the published file.*checksum=False"):
        cifar10(tmp_path)


@pytest.mark.parametrize("missing", ["", "data_batch_4", "test_batch", "batches.meta"])
def test_a_missing_file_says_which_script_to_run(tmp_path, missing):
    write_cifar10(tmp_path)
    path = tmp_path / "cifar-10-batches-py" / missing
    path.rename(tmp_path / "elsewhere")
    with pytest.raises(
        FileNotFoundError, match=r"is missing. Run: python data_scripts/download_cifar.py cifar10 --root"
    ):
        cifar10(tmp_path, checksum=False)


def test_batches_that_are_no_images_are_refused(tmp_path):
    write_cifar10(tmp_path)
    path = tmp_path / "cifar-10-batches-py" / "data_batch_2"
    good = read_pickle(path)
    for change in ({"data": good["data"][:, :100]}, {"data": good["data"].astype(np.int64)}, {"data": None}):
        dump(path, good | change)
        with pytest.raises(ValueError, match=r"data_batch_2 holds no images"):
            cifar10(tmp_path, checksum=False)
    for labels in (good["labels"][1:], None, ["x"] * 20):
        dump(path, good | {"labels": labels})
        with pytest.raises(ValueError, match=r"data_batch_2 must hold 'labels'"):
            cifar10(tmp_path, checksum=False)
    dump(path, good | {"labels": [10] * 20})
    with pytest.raises(ValueError, match=r"must lie in 0 .. 9"):
        cifar10(tmp_path, checksum=False)


# --------------------------------------------------------------------------------------- train and test apart


def test_training_images_that_are_test_images_are_left_out_with_their_labels(tmp_path):
    labels = write_cifar10(tmp_path, test=[3, 50_001, 98, 50_003])
    shifted = np.where(np.arange(100) % 3, labels, (labels + 1) % 10)
    published = PublishedLabels(torch.from_numpy(shifted), torch.from_numpy(labels), "made labels")
    with pytest.warns(UserWarning, match=r"2 of 100 training images are also in the test set.*: 3, 98\."):
        dataset = cifar10(tmp_path, labels=published, checksum=False)
    kept = numbers(dataset.images)
    assert kept.tolist() == [i for i in range(100) if i not in (3, 98)]
    assert dataset.clean_labels.tolist() == labels[kept].tolist()
    assert dataset.noisy_labels.tolist() == shifted[kept].tolist()


def test_a_subset_is_drawn_from_the_images_that_are_left(tmp_path):
    labels = write_cifar10(tmp_path, train=200, test=range(0, 200, 3))
    with pytest.warns(UserWarning, match="67 of 200 training images"):
        dataset = cifar10(tmp_path, subset=100, checksum=False)
    assert torch.bincount(dataset.clean_labels).tolist() == [10] * 10
    assert dataset.clean_labels.tolist() == labels[numbers(dataset.images)].tolist()
    assert (numbers(dataset.images) % 3 != 0).all()


# ---------------------------------------------------------------------------------------------------- subsets


def test_subset_is_balanced_and_follows_from_the_seed(tmp_path):
    labels = write_cifar10(tmp_path, train=300)
    one, same, other = (cifar10(tmp_path, subset=50, seed=seed, checksum=False) for seed in (1, 1, 2))
    assert torch.bincount(one.clean_labels).tolist() == [5] * 10
    assert numbers(one.images).tolist() == numbers(same.images).tolist() != numbers(other.images).tolist()
    assert one.clean_labels.tolist() == labels[numbers(one.images)].tolist()
    assert len(one.test_images) == 10
    assert one.made_from == "CIFAR-10, a copy, not the official files, 50 images drawn with seed 1; clean labels"


def test_subset_of_a_data_set_is_the_same_as_one_drawn_on_reading(tmp_path):
    write_cifar10(tmp_path, train=300)
    on_reading = cifar10(tmp_path, subset=50, seed=1, checksum=False)
    afterwards = subset(cifar10(tmp_path, checksum=False), 50, seed=1)
    assert torch.equal(on_reading.images, afterwards.images)
    assert on_reading.made_from == afterwards.made_from


def test_subset_without_a_seed_is_the_first_images(tmp_path):
    write_cifar10(tmp_path)
    dataset = cifar10(tmp_path, subset=33, seed=None, checksum=False)
    assert numbers(dataset.images).tolist() == list(range(33))
    assert "the first 33 images" in dataset.made_from


@pytest.mark.parametrize(("size", "message"), [(0, "from 1 to 100"), (101, "from 1 to 100"), (55, "multiple of 10")])
def test_impossible_subsets_say_so(tmp_path, size, message):
    write_cifar10(tmp_path)
    with pytest.raises(ValueError, match=message):
        cifar10(tmp_path, subset=size, checksum=False)


# ---------------------------------------------------------------------------------------------- human labels


def save_human(path, labels, **others):
    noisy = labels.copy()
    noisy[::5] = (noisy[::5] + 1) % 10
    torch.save({"clean_label": labels, "aggre_label": noisy} | others, path)
    return noisy


@pytest.fixture
def human(tmp_path):
    labels = write_cifar10(tmp_path)
    path = tmp_path / "CIFAR-10_human.pt"
    return path, labels, save_human(path, labels)


def test_human_labels_are_read_and_aligned(tmp_path, human):
    path, labels, noisy = human
    dataset = cifar10(tmp_path, labels=cifar_n_labels(path, "aggre_label"), checksum=False)
    assert dataset.noisy_labels.tolist() == noisy.tolist()
    assert dataset.clean_labels.tolist() == labels.tolist()
    assert dataset.made_from.endswith("; human labels from CIFAR-10_human.pt, aggre_label")


def test_human_labels_stay_aligned_in_a_subset(tmp_path, human):
    path, _, noisy = human
    dataset = cifar10(tmp_path, labels=cifar_n_labels(path, "aggre_label"), subset=30, seed=4, checksum=False)
    assert dataset.noisy_labels.tolist() == noisy[numbers(dataset.images)].tolist()


def test_labels_in_another_order_are_refused(tmp_path, human):
    path, labels, _ = human
    save_human(path, np.roll(labels, 1))
    with pytest.raises(
        ValueError, match=r"its true labels are not those of CIFAR-10 for 100 of 100 .* first is image 0"
    ):
        cifar10(tmp_path, labels=cifar_n_labels(path, "aggre_label"), checksum=False)
    labels[[10, 11]] = labels[[11, 10]]
    save_human(path, labels)
    with pytest.raises(ValueError, match=r"for 2 of 100 images, the first is image 10"):
        cifar10(tmp_path, labels=cifar_n_labels(path, "aggre_label"), checksum=False)


def test_labels_of_another_number_of_images_are_refused(tmp_path, human):
    path, labels, _ = human
    save_human(path, labels[:90])
    with pytest.raises(ValueError, match=r"labels of 90 images, but CIFAR-10 has 100 .* set subset to their number"):
        cifar10(tmp_path, labels=cifar_n_labels(path, "aggre_label"), checksum=False)
    dataset = cifar10(tmp_path, labels=cifar_n_labels(path, "aggre_label"), subset=90, seed=None, checksum=False)
    assert len(dataset) == 90


def test_numpy_1_and_legacy_files_are_read_too(tmp_path, human):
    path, _, noisy = human
    legacy = tmp_path / "legacy.pt"
    content = {"clean_label": noisy, "aggre_label": noisy}
    torch.save(content, legacy, _use_new_zipfile_serialization=False)
    legacy.write_bytes(legacy.read_bytes().replace(b"numpy._core", b"numpy.core"))
    old = tmp_path / "old.pt"
    with zipfile.ZipFile(path) as source, zipfile.ZipFile(old, "w") as target:
        for name in source.namelist():
            target.writestr(name, source.read(name).replace(b"numpy._core", b"numpy.core"))
    assert b"numpy.core.multiarray" in old.read_bytes()
    for file in (legacy, old, path):
        assert cifar_n_labels(file, "aggre_label").noisy_labels.tolist() == noisy.tolist()


def test_a_missing_kind_of_label_lists_those_there_are(human):
    path, _, _ = human
    with pytest.raises(ValueError, match=r"holds no labels 'worse_label'. It has: aggre_label, clean_label\."):
        cifar_n_labels(path, "worse_label")
    with pytest.raises(FileNotFoundError, match=r"Run: python data_scripts/download_cifar_n.py cifar100n --root"):
        cifar_n_labels(path.with_name("CIFAR-100_human.pt"), "noisy_label")


# ------------------------------------------------------------------------------------------ hostile pickles


@pytest.mark.parametrize("protocol", range(6))
def test_a_batch_that_would_run_code_is_refused_and_does_not(tmp_path, protocol):
    write_cifar10(tmp_path)
    dump(tmp_path / "cifar-10-batches-py" / "data_batch_1", {"data": Attack(tmp_path / "caught")}, protocol)
    with pytest.raises(ValueError, match=r"data_batch_1 cannot be read. It asks for \w+.mkdir."):
        cifar10(tmp_path, checksum=False)
    assert not (tmp_path / "caught").exists()


@pytest.mark.parametrize("zipped", [True, False])
def test_a_label_file_that_would_run_code_is_refused_and_does_not(tmp_path, zipped):
    path = tmp_path / "CIFAR-10_human.pt"
    torch.save({"aggre_label": Attack(tmp_path / "caught")}, path, _use_new_zipfile_serialization=zipped)
    with pytest.raises(ValueError, match=r"CIFAR-10_human.pt cannot be read. It asks for \w+.mkdir.") as caught:
        cifar_n_labels(path, "aggre_label")
    assert "weights_only" not in str(caught.value)
    assert not (tmp_path / "caught").exists()


@pytest.mark.parametrize(
    "array",
    [np.array([1, "a"], dtype=object), np.zeros(3), np.zeros(3, dtype="i4,f4"), np.array(["a"]), np.zeros(2, "M8[s]")],
)
def test_arrays_of_anything_but_whole_numbers_are_refused(tmp_path, array):
    path = tmp_path / "labels"
    dump(path, {"a": array})
    with pytest.raises(ValueError, match=r"It holds an array of .*, not of whole numbers"):
        read_pickle(path)
    torch.save({"a": array}, path)
    with pytest.raises(ValueError, match=r"It holds an array of .*, not of whole numbers"):
        read_torch(path)


def forged(dtype_state, content=b"\0" * 8):
    """A pickle that tells NumPy lies about the type of an array."""

    class Call:
        def __init__(self, function, arguments, state):
            self.parts = function, arguments, state

        def __reduce__(self):
            return self.parts

    dtype = Call(np.dtype, ("i8", False, True), dtype_state)
    array = Call(np._core.multiarray._reconstruct, (np.ndarray, (0,), b"b"), (1, (1,), dtype, False, content))
    return pickle.dumps({"a": array}, protocol=2)


@pytest.mark.parametrize(
    "content",
    [
        forged((3, "|", None, ("a",), {"a": (np.dtype("i8"), 0)}, 8, 1, 27)),  # fields slipped in afterwards
        forged((3, "<", None, None, None, -1, -1, 63), content=[object]),  # a list where bytes belong
        forged((3, "<", None, None, None, -1, -1, 0), content=b"\0" * 7),  # too few bytes
        forged((3, "?!", None, None, None, -1, -1, 0)),
        b"",
        b"<html>404</html>",
        pickle.dumps([1, 2]),
        pickle.dumps({1: 2}),
    ],
)
def test_forged_and_damaged_pickles_are_refused(tmp_path, content):
    path = tmp_path / "labels"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"labels (cannot be read|holds no dictionary)"):
        read_pickle(path)


def test_every_layout_of_whole_numbers_comes_through(tmp_path):
    arrays = {
        "fortran": np.asfortranarray(np.arange(6).reshape(2, 3)),
        "big endian": np.arange(3, dtype=">i2"),
        "bytes": np.arange(200, 256, dtype=np.uint8),
    }
    for protocol in range(6):
        dump(tmp_path / "a", arrays, protocol)
        for name, array in read_pickle(tmp_path / "a").items():
            np.testing.assert_array_equal(array, arrays[name], strict=True)
    torch.save(arrays, tmp_path / "b")
    for name, array in read_torch(tmp_path / "b").items():
        np.testing.assert_array_equal(array, arrays[name], strict=True)


# ------------------------------------------------------------------------------------------ other label files


def test_labels_come_from_npy_npz_and_txt(tmp_path):
    labels = write_cifar10(tmp_path).astype(np.int32)
    np.save(tmp_path / "a.npy", labels)
    np.savez(tmp_path / "a.npz", clean=labels, idn=np.where(labels == 3, 5, labels))
    np.savetxt(tmp_path / "a.txt", labels, fmt="%d")
    for name in ("a.npy", "a.txt"):
        assert labels_from_file(tmp_path / name).noisy_labels.tolist() == labels.tolist()
    published = labels_from_file(tmp_path / "a.npz", "idn", clean_name="clean")
    dataset = cifar10(tmp_path, labels=published, checksum=False)
    assert dataset.noisy_labels.dtype == torch.int64
    assert (dataset.noisy_labels == 5).sum() == 20
    assert dataset.made_from.endswith("; labels from a.npz, idn")


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((4, 2), dtype=int), "one row of whole numbers"),
        (np.zeros(4), "one row of whole numbers"),
        (np.array([1, None]), "Object arrays cannot be loaded"),
    ],
)
def test_files_that_hold_no_labels_are_refused(tmp_path, array, message):
    for name, save in (("a.npy", np.save), ("a.npz", np.savez)):
        save(tmp_path / name, array)
        with pytest.raises(ValueError, match=message):
            labels_from_file(tmp_path / name)


def test_label_files_say_what_is_wrong_with_them(tmp_path):
    with pytest.raises(FileNotFoundError, match="no label file"):
        labels_from_file(tmp_path / "none.npy")
    (tmp_path / "a.csv").write_text("1")
    with pytest.raises(ValueError, match=r"must end in .npy, .npz or .txt"):
        labels_from_file(tmp_path / "a.csv")
    (tmp_path / "a.txt").write_text("1\ncat\n")
    with pytest.raises(ValueError, match=r"a.txt cannot be read as labels"):
        labels_from_file(tmp_path / "a.txt")
    (tmp_path / "a.npz").write_bytes(b"PK\3\4 not a zip")
    with pytest.raises(ValueError, match=r"a.npz cannot be read as labels"):
        labels_from_file(tmp_path / "a.npz")
    np.savez(tmp_path / "a.npz", one=np.arange(3), two=np.arange(3))
    with pytest.raises(ValueError, match=r"several arrays; name one. It has: one, two\."):
        labels_from_file(tmp_path / "a.npz")
    with pytest.raises(ValueError, match=r"no array 'three'. It has: one, two\."):
        labels_from_file(tmp_path / "a.npz", "three")


def test_labels_that_agree_no_better_than_chance_bring_a_warning(tmp_path):
    labels = torch.from_numpy(write_cifar10(tmp_path, train=1000))
    shuffled = labels[torch.randperm(1000, generator=torch.Generator().manual_seed(0))]
    with pytest.warns(UserWarning, match="no more than chance .* in the order of the images?"):
        cifar10(tmp_path, labels=PublishedLabels(shuffled, None, "labels from x.npy"), checksum=False)
    with pytest.warns(UserWarning, match="no more than chance"):
        with_labels(cifar10(tmp_path, checksum=False), shuffled, made_from="shuffled")


def test_a_label_that_is_no_class_is_refused(tmp_path):
    labels = torch.from_numpy(write_cifar10(tmp_path))
    with pytest.raises(ValueError, match=r"x.npy must lie in 0 .. 9"):
        cifar10(tmp_path, labels=PublishedLabels(labels + 1, None, "labels from x.npy"), checksum=False)
