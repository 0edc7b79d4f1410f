"""Draw a small data set that is laid out exactly as Clothing1M, or as Food-101N with Food-101.

    python data_scripts/make_synthetic.py clothing1m --output runs/clothing1m
    python data_scripts/make_synthetic.py food101n --output runs/food --images-per-class 20

For people without access to the data, and for tests; ``make_clothes`` draws in the layout of the clothes. The images
are stripes and a disc in the angle and colours of a class, with some of a neighbouring class mixed in. The more of it
there is, the likelier the label is the neighbour's: the errors depend on the input. The truth is written beside them. A
file SYNTHETIC.txt marks the folder, and the loaders say so in every result.
"""

from __future__ import annotations

import argparse
import colorsys
import hashlib
import io
import math
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from dsl_teach.data.clothes import PARTS, SENDERS
from dsl_teach.data.clothing1m import PREFIX
from dsl_teach.data.folders import SYNTHETIC
from dsl_teach.data.food101n import FOOD101, FOOD101N
from dsl_teach.errors import boundary

TRUTH = "SYNTHETIC_truth.txt"
"""Beside ``SYNTHETIC.txt``: path, one space, true label."""
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
GARMENTS = ("dress", "hat", "longsleeve", "outwear", "pants", "shirt", "shoes", "shorts", "skirt", "t-shirt")
"""The classes of the clothes in alphabetical order."""


class Drawn(NamedTuple):
    """One drawn image; ``doubt`` is how much of a neighbouring class there is; at 1, as much as of its own."""

    true_label: int
    noisy_label: int
    doubt: float
    jpeg: bytes


class Artist:
    """Draws images and their labels, the same ones for the same seed; on average ``noise_rate`` of these are wrong."""

    def __init__(self, num_classes: int, *, noise_rate: float, seed: int):
        if not 0 <= noise_rate <= 0.5:
            raise ValueError(f"noise_rate must be a share from 0 to 0.5, but it is {noise_rate}.")
        self.num_classes, self.noise_rate, self.random = num_classes, noise_rate, np.random.default_rng(seed)

    def draw(self, label: int, *, mode: str = "RGB") -> Drawn:
        """An image of a class as a JPEG in ``mode`` (RGB, L for gray, CMYK), and its noisy label."""
        neighbour = int((label + self.random.choice((-1, 1))) % self.num_classes)
        doubt = self.random.random()  # one half on average, so that noise_rate labels are wrong
        wrong = self.random.random() < 2 * self.noise_rate * doubt
        height, width = self.random.integers(80, 301, size=2).tolist()
        pixels = self._picture(label, height, width)
        pixels += doubt / 2 * (self._picture(neighbour, height, width) - pixels)
        grain, data = self.random.integers(0, 25, size=pixels.shape, dtype=np.uint8), io.BytesIO()
        Image.fromarray(pixels.astype(np.uint8) + grain).convert(mode).save(data, "JPEG", quality=90)
        return Drawn(label, neighbour if wrong else label, doubt, data.getvalue())

    def _picture(self, label: int, height: int, width: int) -> np.ndarray:
        """(H, W, 3) float32, from 0 to 230."""
        short, draw = min(height, width), self.random.uniform
        y, x = (np.arange(side, dtype=np.float32) / short for side in (height, width))
        angle, waves = math.pi * label / self.num_classes + draw(-0.1, 0.1), 20 + 10 * (label % 3)
        across = x * (waves * math.cos(angle)) + (y * (waves * math.sin(angle)) + draw(0, 6))[:, None]
        share = 0.5 + 0.3 * np.sin(across)
        disc = (x - draw(0.3, 0.7)) ** 2 + ((y - draw(0.3, 0.7)) ** 2)[:, None] < (0.02 if label % 2 else 0.09)
        share[disc] = 1
        front, back = self._colour(label, 230), self._colour(label + self.num_classes // 2, 115)
        return share[..., None] * (front - back) + back

    def _colour(self, label: int, brightness: float) -> np.ndarray:
        hue = label / self.num_classes + self.random.uniform(-0.03, 0.03)
        return np.array(colorsys.hsv_to_rgb(hue % 1, 0.8, brightness * self.random.uniform(0.7, 1)), dtype=np.float32)


def make_clothing1m(
    folder: Path, *, classes: int = 14, images_per_class: int = 40, noise_rate: float = 0.38, seed: int = 0
) -> Path:
    """Draw a data set in the layout of Clothing1M into a folder that is empty, or does not exist.

    Beside the noisy training images, ``images_per_class`` of the first ``classes`` of 14, it holds clean images for
    training (a fifth as many), validation (a tenth) and test (a fifth); half of these carry a noisy label too. One
    image is gray-scale, one CMYK.
    """
    _require(folder, classes, CLOTHES, images_per_class)
    artist = Artist(classes, noise_rate=noise_rate, seed=seed)
    sizes = {"noisy_train": images_per_class, "clean_train": images_per_class // 5 or 1}
    sizes |= {"clean_val": images_per_class // 10 or 1, "clean_test": images_per_class // 5 or 1}

    def name(label: int) -> str:
        first, second = (int(number) for number in artist.random.integers(10**8, 2**31, size=2))
        return f"{second // 100 % 10}/{second % 100:02d}/{first},{second}.jpg"

    drawn = {part: _draw(artist, size, name) for part, size in sizes.items()}
    modes = zip(sorted(drawn["noisy_train"])[:2], ("L", "CMYK"), strict=True)
    drawn["noisy_train"] |= {key: artist.draw(drawn["noisy_train"][key].true_label, mode=mode) for key, mode in modes}
    with _new_folder(folder) as new:
        _write_images(new, "Clothing1M", {key: image for part in drawn.values() for key, image in part.items()})
        noisy, clean = dict(drawn["noisy_train"]), dict[str, Drawn]()
        for part, images in drawn.items():
            _write_lines(new / f"{part}_key_list.txt", sorted(PREFIX + key for key in images), end="")
            if part != "noisy_train":
                clean |= images
                noisy |= {key: images[key] for key in list(images)[: -(-len(images) // 2)]}
        noisy_rows = (f"{PREFIX}{key} {noisy[key].noisy_label}" for key in sorted(noisy))
        clean_rows = (f"{PREFIX}{key} {clean[key].true_label}" for key in sorted(clean))
        _write_lines(new / "noisy_label_kv.txt", noisy_rows, end="")
        _write_lines(new / "clean_label_kv.txt", clean_rows, end="")
        _write_lines(new / "category_names_eng.txt", CLOTHES[:classes], end="")
    return folder


def make_food101n(
    folder: Path, *, classes: int = 14, images_per_class: int = 40, noise_rate: float = 0.2, seed: int = 0
) -> Path:
    """Draw data sets in the layouts of Food-101N and Food-101: ``Food-101N_release`` and ``food-101``.

    As in the originals, one file stands in two classes, one verification label has no image, and the two lists of
    classes differ in order. There are at least 5 classes, and a fifth as many images to test on.
    """
    _require(folder, classes, DISHES, images_per_class, least=5)
    names, artist = DISHES[:classes], Artist(classes, noise_rate=noise_rate, seed=seed)
    images = [artist.draw(label) for label in range(classes) for _ in range(images_per_class)]
    web = {f"{names[x.noisy_label]}/{hashlib.md5(x.jpeg, usedforsecurity=False).hexdigest()}.jpg": x for x in images}
    twin = next(key for key in web if key.startswith(names[0]))
    web[twin.replace(names[0], names[1], 1)] = web[twin]
    clean = Artist(classes, noise_rate=0, seed=seed + 1)
    parts = {"train": images_per_class // 10 or 1, "test": images_per_class // 5 or 1}
    tested = {
        part: _draw(clean, size, lambda label: f"{names[label]}/{int(clean.random.integers(10**4, 10**7))}.jpg")
        for part, size in parts.items()
    }
    with _new_folder(folder) as new:
        _write_food101n(new / FOOD101N, web, names)
        _write_food101(new / FOOD101, tested, names)
    return folder


def make_clothes(folder: Path, *, classes: int = 10, images_per_class: int = 40, seed: int = 0) -> Path:
    """Draw a data set in the layout of the clothes; all labels are true, and each sender sent four images."""
    _require(folder, classes, GARMENTS, images_per_class)
    artist, images, rows = Artist(classes, noise_rate=0, seed=seed), dict[str, Drawn](), ["image,sender_id"]
    for number in range(classes * images_per_class):
        drawn = artist.draw(number % classes)
        images[f"{PARTS[number // classes % 3]}/{GARMENTS[drawn.true_label]}/{number:02d}.jpg"] = drawn
        rows.append(f"{number:02d},{number // 4}")
    with _new_folder(folder) as new:
        _write_images(new, "the clothes", images, "")
        _write_lines(new / SENDERS, rows)
    return folder


def _draw(artist: Artist, size: int, name: Callable[[int], str]) -> dict[str, Drawn]:
    """``size`` images of each class by their names; a name is drawn before its image."""
    return {name(label): artist.draw(label) for label in list(range(artist.num_classes)) * size}


def _write_food101n(folder: Path, web: dict[str, Drawn], names: tuple[str, ...]) -> None:
    _write_images(folder, "Food-101N", web)
    keys, meta = sorted(web), folder / "meta"
    _write_lines(meta / "classes.txt", ["class_name", *names])
    _write_lines(meta / "imagelist.tsv", ["class_name/key", *keys])
    for name, chosen in (("verified_train.tsv", keys[::4]), ("verified_val.tsv", keys[1::16])):
        rows = [f"{key}\t{int(names[web[key].true_label] == key.partition('/')[0])}" for key in chosen]
        rows += [f"{names[0]}/{'0' * 32}.jpg\t1"] if name == "verified_val.tsv" else []  # it has no image
        _write_lines(meta / name, ["class_name/key\tverification_label", *rows])


def _write_food101(folder: Path, parts: dict[str, dict[str, Drawn]], names: tuple[str, ...]) -> None:
    _write_images(folder, "Food-101", {key: image for part in parts.values() for key, image in part.items()})
    order = sorted(names, key=lambda name: name.replace("cheesecake", "cheese"))  # before cheese_plate
    _write_lines(folder / "meta" / "classes.txt", order)
    for part, drawn in parts.items():
        _write_lines(folder / "meta" / f"{part}.txt", (key.removesuffix(".jpg") for key in sorted(drawn)))


def _write_images(folder: Path, name: str, images: dict[str, Drawn], inside: str = "images") -> None:
    for key, image in images.items():
        path = folder / inside / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(image.jpeg)
    told = f"These images are no photographs and are not {name}: the project drew them. The true labels are in {TRUTH}."
    _write_lines(folder / SYNTHETIC, [told])
    _write_lines(folder / TRUTH, (f"{key} {images[key].true_label}" for key in sorted(images)))


def _write_lines(path: Path, lines: Iterable[str], end: str = "\n") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + end, encoding="utf-8")


@contextmanager
def _new_folder(folder: Path) -> Iterator[Path]:
    """A folder that gets its name only once everything is in it, unless another process was faster."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}.") as unfinished:
        (new := Path(unfinished) / folder.name).mkdir()
        yield new
        new.rename(folder)  # an OSError if there is something now


def _require(folder: Path, classes: int, names: tuple[str, ...], images_per_class: int, least: int = 2) -> None:
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ValueError(f"{folder} holds something already. Name a folder that is empty or does not exist.")
    if not least <= classes <= len(names) or images_per_class < 2:
        allowed = f"classes must be from {least} to {len(names)}, and images_per_class at least 2"
        raise ValueError(f"{allowed}, but they are {classes} and {images_per_class}.")


def main(arguments: list[str] | None = None) -> int:
    """Draw; 0 if all is done."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", choices=("clothing1m", "food101n"))
    parser.add_argument("--output", type=Path, required=True, help="where to; must be empty, or not exist")
    parser.add_argument("--classes", type=int, default=14, help="how many classes (default and at most: 14)")
    parser.add_argument("--images-per-class", type=int, default=40, metavar="N", help="to train on (default: 40)")
    parser.add_argument("--noise-rate", type=float, help="share of wrong labels (default: 0.38, food101n 0.2)")
    parser.add_argument("--seed", type=int, default=0, help="the same seed draws the same images (default: 0)")
    options = vars(parser.parse_args(arguments))
    make = {"clothing1m": make_clothing1m, "food101n": make_food101n}[options.pop("name")]
    folder = options.pop("output")
    with boundary("make_synthetic.py"):
        make(folder, **{name: value for name, value in options.items() if value is not None})
    print(f"{folder} holds a synthetic data set in the layout of {make.__name__.removeprefix('make_')}.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
