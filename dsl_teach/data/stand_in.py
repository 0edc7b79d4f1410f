"""Small data sets that the project draws itself, laid out exactly as Clothing1M, or as Food-101N and Food-101.

Their noisy labels are wrong where an image looks like another class, and the truth is known (:func:`true_labels`). A
file ``STAND_IN.txt`` marks each folder, and the loaders repeat it in ``made_from``: a figure from a stand-in cannot
pass for one from the real data.
"""

from __future__ import annotations

import hashlib
import io
import shutil
import tarfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor

from dsl_teach.data.clothing1m import PREFIX
from dsl_teach.data.dataset import UNKNOWN, ImageFiles
from dsl_teach.data.food101n import FOOD101, FOOD101N
from dsl_teach.data.lists import read_key_values
from dsl_teach.data.painter import Drawn, Painter
from dsl_teach.data.parts import STAND_IN

TRUTH = "STAND_IN_truth.txt"
"""Beside ``STAND_IN.txt``: path, one space, true label."""

CLOTHES = (
    *("T-Shirt", "Shirt", "Knitwear", "Chiffon", "Sweater", "Hoodie", "Windbreaker"),
    *("Jacket", "Downcoat", "Suit", "Shawl", "Dress", "Vest", "Underwear"),
)
"""The classes of Clothing1M in the order of their numbers."""

DISHES = (
    *("apple_pie", "baklava", "carrot_cake", "cheese_plate", "cheesecake", "donuts", "fish_and_chips"),
    *("gyoza", "hot_dog", "ice_cream", "paella", "pizza", "ramen", "waffles"),
)
"""Some classes of Food-101 in alphabetical order. Food-101's own list has cheesecake before cheese_plate."""


def make_clothing1m(
    folder: str | Path,
    *,
    classes: int = len(CLOTHES),
    images_per_class: int = 40,
    noise_rate: float = 0.38,
    seed: int = 0,
    annotations: bool = False,
    drop_prefix: bool = False,
    archives: bool = False,
) -> Path:
    """Draw a stand-in of Clothing1M.

    Beside the noisy training images it holds clean images for training (a fifth as many), validation (a tenth) and
    test (a fifth); half of these carry a noisy label too. One image is gray-scale, one CMYK.

    Args:
        folder: where to; it must not exist, or be empty.
        classes: the first so many of the 14 classes.
        images_per_class: noisy training images.
        noise_rate: the share of wrong noisy labels to expect, at most one half.
        seed: the same seed draws the same data set.
        annotations: put the lists into ``annotations/``.
        drop_prefix: leave ``images/`` out of the lists, as some copies do.
        archives: pack the images into 0.tar to 9.tar, as the original is shipped.

    Returns:
        The folder.

    Raises:
        ValueError: if a number is out of range, or the folder holds something already.
    """
    _require(Path(folder), classes, CLOTHES, images_per_class)
    painter = Painter(classes, noise_rate=noise_rate, seed=seed)
    sizes = {"noisy_train": images_per_class, "clean_train": images_per_class // 5 or 1}
    sizes |= {"clean_val": images_per_class // 10 or 1, "clean_test": images_per_class // 5 or 1}
    drawn = {part: dict(_clothes(painter, classes, size)) for part, size in sizes.items()}
    modes = zip(sorted(drawn["noisy_train"])[:2], ("L", "CMYK"), strict=True)
    drawn["noisy_train"] |= {key: painter.draw(drawn["noisy_train"][key].true_label, mode=mode) for key, mode in modes}
    with _new_folder(Path(folder)) as new:
        images = {key: image for part in drawn.values() for key, image in part.items()}
        _mark(new, "Clothing1M", images)
        _write_clothing1m_lists(new / "annotations" if annotations else new, drawn, classes, drop_prefix)
        (_pack if archives else _write_images)(new / "images", images)
    return Path(folder)


def make_food101n(
    folder: str | Path,
    *,
    classes: int = len(DISHES),
    images_per_class: int = 40,
    noise_rate: float = 0.2,
    seed: int = 0,
) -> Path:
    """Draw a stand-in of Food-101N, and one of Food-101 beside it: ``Food-101N_release`` and ``food-101``.

    One file stands in two classes, one verification label has no image, and the two lists of classes differ in
    order, as in the originals.

    Args:
        folder: where to; it must not exist, or be empty.
        classes: how many classes, at least 5: cheese_plate and cheesecake are among them.
        images_per_class: training images; a fifth as many to test on.
        noise_rate: the share of wrong labels to expect, at most one half.
        seed: the same seed draws the same data set.

    Returns:
        The folder.

    Raises:
        ValueError: if a number is out of range, or the folder holds something already.
    """
    _require(Path(folder), classes, DISHES, images_per_class, least=5)
    names, painter = DISHES[:classes], Painter(classes, noise_rate=noise_rate, seed=seed)
    images = [painter.draw(label) for label in range(classes) for _ in range(images_per_class)]
    web = {f"{names[image.noisy_label]}/{_md5(image.jpeg)}.jpg": image for image in images}
    twin = next(key for key in web if key.startswith(names[0]))
    web[twin.replace(names[0], names[1], 1)] = web[twin]
    clean = Painter(classes, noise_rate=0, seed=seed + 1)
    parts = {"train": images_per_class // 10 or 1, "test": images_per_class // 5 or 1}
    tested = {part: dict(_dishes(clean, names, size)) for part, size in parts.items()}
    with _new_folder(Path(folder)) as new:
        _write_food101n(new / FOOD101N, web, names)
        _write_food101(new / FOOD101, tested, names)
    return Path(folder)


def true_labels(files: ImageFiles) -> Tensor:
    """The true label of each image of a stand-in.

    Returns:
        (N,) int64.

    Raises:
        FileNotFoundError: if the files are no stand-in: there is nobody who knows.
    """
    root = files.root if (files.root / TRUTH).exists() else files.root.parent
    truth = read_key_values(root / TRUTH, len(DISHES), hint="Only a stand-in drawn by the project has one.")
    return torch.tensor([truth.get(path, UNKNOWN) for path in files.paths], dtype=torch.int64)


def _clothes(painter: Painter, classes: int, size: int) -> Iterator[tuple[str, Drawn]]:
    for label in list(range(classes)) * size:
        first, second = (int(number) for number in painter.random.integers(10**8, 2**31, size=2))
        yield f"{second // 100 % 10}/{second % 100:02d}/{first},{second}.jpg", painter.draw(label)


def _dishes(painter: Painter, names: tuple[str, ...], size: int) -> Iterator[tuple[str, Drawn]]:
    for label in list(range(len(names))) * size:
        yield f"{names[label]}/{int(painter.random.integers(10**4, 10**7))}.jpg", painter.draw(label)


def _md5(data: bytes) -> str:
    return hashlib.md5(data, usedforsecurity=False).hexdigest()


def _write_clothing1m_lists(folder: Path, drawn: dict[str, dict[str, Drawn]], classes: int, drop_prefix: bool) -> None:
    folder.mkdir(exist_ok=True)
    prefix = "" if drop_prefix else PREFIX
    noisy, clean = dict(drawn["noisy_train"]), dict[str, Drawn]()
    for part, images in drawn.items():
        _write_lines(folder / f"{part}_key_list.txt", sorted(prefix + key for key in images), end="")
        if part != "noisy_train":
            clean |= images
            noisy |= {key: images[key] for key in list(images)[: -(-len(images) // 2)]}
    for name, rows in (("noisy", noisy), ("clean", clean)):
        lines = (f"{prefix}{key} {getattr(rows[key], _FIELDS[name])}" for key in sorted(rows))
        _write_lines(folder / f"{name}_label_kv.txt", lines, end="")
    _write_lines(folder / "category_names_eng.txt", CLOTHES[:classes], end="")


_FIELDS = {"noisy": "noisy_label", "clean": "true_label"}


def _write_food101n(folder: Path, web: dict[str, Drawn], names: tuple[str, ...]) -> None:
    _mark(folder, "Food-101N", web)
    _write_images(folder / "images", web)
    meta = folder / "meta"
    meta.mkdir()
    keys = sorted(web)
    _write_lines(meta / "classes.txt", ["class_name", *names])
    _write_lines(meta / "imagelist.tsv", ["class_name/key", *keys])
    looked_at = {"verified_train.tsv": keys[::4], "verified_val.tsv": keys[1::16]}
    nobody = f"{names[0]}/{'0' * 32}.jpg"  # one verification label has no image
    for name, chosen in looked_at.items():
        rows = [f"{key}\t{int(names[web[key].true_label] == key.partition('/')[0])}" for key in chosen]
        rows += [f"{nobody}\t1"] if name == "verified_val.tsv" else []
        _write_lines(meta / name, ["class_name/key\tverification_label", *rows])


def _write_food101(folder: Path, parts: dict[str, dict[str, Drawn]], names: tuple[str, ...]) -> None:
    images = {key: image for part in parts.values() for key, image in part.items()}
    _mark(folder, "Food-101", images)
    _write_images(folder / "images", images)
    meta = folder / "meta"
    meta.mkdir()
    order = sorted(names, key=lambda name: name.replace("cheesecake", "cheese"))  # before cheese_plate
    _write_lines(meta / "classes.txt", order)
    _write_lines(meta / "labels.txt", (name.replace("_", " ").capitalize() for name in order))
    for part, drawn in parts.items():
        _write_lines(meta / f"{part}.txt", (key.removesuffix(".jpg") for key in sorted(drawn)))


def _mark(folder: Path, name: str, images: dict[str, Drawn]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    _write_lines(
        folder / STAND_IN,
        [
            f"These images are no photographs and are not {name}: the project drew them to stand in for it.",
            f"The true labels are in {TRUTH}.",
        ],
    )
    _write_lines(folder / TRUTH, (f"{key} {images[key].true_label}" for key in sorted(images)))


def _write_images(folder: Path, images: dict[str, Drawn]) -> None:
    for key, image in images.items():
        (folder / key).parent.mkdir(parents=True, exist_ok=True)
        (folder / key).write_bytes(image.jpeg)


def _pack(folder: Path, images: dict[str, Drawn]) -> None:
    folder.mkdir()
    for top in range(10):
        with tarfile.open(folder / f"{top}.tar", "w") as archive:
            for key in sorted(key for key in images if key.startswith(f"{top}/")):
                member = tarfile.TarInfo(key)
                member.size = len(images[key].jpeg)
                archive.addfile(member, io.BytesIO(images[key].jpeg))


def _write_lines(path: Path, lines: Iterable[str], end: str = "\n") -> None:
    path.write_text("\n".join(lines) + end, encoding="utf-8")


@contextmanager
def _new_folder(folder: Path) -> Iterator[Path]:
    """A folder that gets its name only once everything is in it."""
    unfinished = folder.with_name(folder.name + ".part")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(parents=True)
    yield unfinished
    if folder.exists():
        folder.rmdir()
    unfinished.rename(folder)


def _require(folder: Path, classes: int, names: tuple[str, ...], images_per_class: int, least: int = 2) -> None:
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ValueError(f"{folder} holds something already. Name a folder that is empty or does not exist.")
    if not least <= classes <= len(names):
        raise ValueError(f"classes must be from {least} to {len(names)}, but it is {classes}.")
    if images_per_class < 2:
        raise ValueError(f"images_per_class must be at least 2, but it is {images_per_class}.")
