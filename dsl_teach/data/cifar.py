"""CIFAR-10 and CIFAR-100, with labels that people published for them, or wrong ones where images look alike.

A pickle is a small program that runs as it is loaded, and CIFAR and CIFAR-N are published as pickles. Here a pickle may
ask only for what stands below for NumPy's arrays: NumPy itself would believe whatever a file says of its bytes.

Sources: Krizhevsky, "Learning Multiple Layers of Features from Tiny Images", 2009; Wei et al., "Learning with Noisy
Labels Revisited: A Study Using Real-World Human Annotations", ICLR 2022 (CIFAR-10N and CIFAR-100N).
"""

from __future__ import annotations

import io
import pickle
import pickletools
import warnings
import zipfile
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from dsl_teach._validate import require_labels
from dsl_teach.config import Settings
from dsl_teach.data.dataset import NoisyDataset, confused_labels, shared_images, subset, with_labels
from dsl_teach.files import require_regular

LARGEST = 2**28
"""Bytes of a file of images or labels, unpacked."""


class PublishedLabels(NamedTuple):
    """Labels that somebody published for every training image, in the original order, (N,) int64.

    ``clean_labels`` are the true ones by the same file, if it has them: they show whether its order is the data set's.
    """

    noisy_labels: Tensor
    clean_labels: Tensor | None
    made_from: str


def load(settings: Settings) -> NoisyDataset:
    """CIFAR as the settings name it: with published labels, with synthetic noise at ``noise_rate``, or clean."""
    s = settings
    labels = published_labels(s.labels_file, s.labels_name) if s.labels_file else None
    data = cifar(s.dataset, s.data_root, labels=labels, official=s.official_files)
    data = subset(data, s.subset, seed=s.seed) if s.subset else data
    if not s.noise_rate:
        return data
    assert isinstance(data.images, Tensor)
    probabilities = linear_probabilities(data.images, data.noisy_labels)  # no published labels: these are right
    told = f"{s.noise_rate:.0%} label noise by a linear model's confusions"
    return with_labels(data, confused_labels(probabilities, data.noisy_labels, s), made_from=told)


def cifar(name: str, root: str | Path, *, labels: PublishedLabels | None = None, official: bool = True) -> NoisyDataset:
    """``"cifar10"``, or ``"cifar100"`` with its fine classes: 50,000 images to train on, 10,000 to test on.

    ``root`` holds the folder ``cifar-10-batches-py`` or ``cifar-100-python``. If its files are not the ``official``
    ones, with the checksums that torchvision publishes, but a copy of your own, ``made_from`` says so. ``labels`` are
    the noisy ones for the training images; without them, the labels are the official ones.

    Returns:
        uint8 images (N, 3, 32, 32). Training images that are also in the test set are left out, with a warning.

    Raises:
        FileNotFoundError: if a file is missing; the message says how to download it.
        ValueError: if a file is damaged or unofficial, or the labels do not belong to these images.
    """
    from torchvision.datasets import CIFAR10, CIFAR100
    from torchvision.datasets.utils import check_integrity

    kind, title = {"cifar10": (CIFAR10, "CIFAR-10"), "cifar100": (CIFAR100, "CIFAR-100")}[name]
    folder = Path(root) / kind.base_folder
    for file, md5 in official_files(kind):
        if not (folder / file).is_file():
            command = f"python data_scripts/download.py {name} --output {root}"
            raise FileNotFoundError(f"{folder / file} is missing. Run: {command}")
        if official and not check_integrity(folder / file, md5):
            raise ValueError(
                f"{folder / file} is not the official file: its checksum is another one. Download it again; or, if "
                "this is a copy whose pixels are meant to differ, set official_files to false."
            )
    images, clean_labels = _images_and_labels(folder, kind.train_list)
    test_images, test_labels = _images_and_labels(folder, kind.test_list)
    class_names = tuple(read_arrays(folder / kind.meta["filename"]).get(kind.meta["key"], ()))
    noisy_labels, told = clean_labels, "clean labels"
    if labels is not None:
        _require_belonging(labels, clean_labels, len(class_names), title)
        noisy_labels, told = labels.noisy_labels, labels.made_from
    rows = torch.ones(len(images), dtype=torch.bool)
    if shared := shared_images(images, test_images):
        rows[shared] = False
        warnings.warn(
            f"{title}: {len(shared)} of {len(images)} training images are also in the test set; they are left out of "
            f"training. The first in the original order is {shared[0]}.",
            stacklevel=2,
        )
    made_from = f"{title}, {'official files' if official else 'a copy, not the official files'}"
    data = NoisyDataset(
        title, images[rows], clean_labels[rows], class_names, test_images, test_labels, clean_labels[rows], made_from
    )
    return with_labels(data, noisy_labels[rows], made_from=told)


def official_files(kind: Any) -> list[tuple[str, str]]:
    """Names and MD5 checksums of the files of a CIFAR class of torchvision."""
    return [*map(tuple, kind.train_list + kind.test_list), (kind.meta["filename"], kind.meta["md5"])]


def linear_probabilities(images: Tensor, labels: Tensor) -> Tensor:
    """(N, K) float64 class probabilities by logistic regression on whitened principal components, 3-fold held out."""
    from sklearn.decomposition import PCA
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import cross_val_predict
    from sklearn.pipeline import make_pipeline

    pixels = images.flatten(1).float().div(255).numpy()
    count = max(1, min(64, len(pixels) // 20))  # of few images, the later axes are noise
    axes = PCA(count, whiten=True, svd_solver="randomized", random_state=0)
    model = make_pipeline(axes, LogisticRegression(max_iter=200))
    return torch.from_numpy(cross_val_predict(model, pixels, labels.numpy(), cv=3, method="predict_proba")).double()


def _images_and_labels(folder: Path, files: list[list[str]]) -> tuple[Tensor, Tensor]:
    """(N, 3, 32, 32) uint8 and (N,) int64 of some batch files."""
    images: list[Tensor] = []
    labels: list[int] = []
    for path in (folder / file for file, _ in files):
        content = read_arrays(path)
        data, numbers = content.get("data"), content.get("fine_labels", content.get("labels"))
        if not isinstance(data, np.ndarray) or data.dtype != np.uint8 or data.shape[1:] != (3 * 32 * 32,):
            raise ValueError(f"{path} holds no images in the layout of CIFAR: 'data' must be (n, 3072) uint8.")
        if not isinstance(numbers, list) or [type(number) for number in numbers] != [int] * len(data):
            raise ValueError(f"{path} must hold a list of labels, one whole number for each of its {len(data)} images.")
        images.append(torch.tensor(data).view(-1, 3, 32, 32))
        labels += numbers
    return torch.cat(images), torch.tensor(labels)


def published_labels(path: str | Path, name: str = "") -> PublishedLabels:
    """Labels from a ``.pt`` file of CIFAR-N or an ``.npz`` file, one for each training image, in the data set's order.

    ``name`` says which labels of the file; it is not needed if there is one array. CIFAR-10N has ``aggre_label``
    (majority of three people), ``random_label1`` to ``3`` (one person each) and ``worse_label`` (a wrong one wherever
    there is one), CIFAR-100N ``noisy_label``.

    Raises:
        FileNotFoundError: if there is no such file; the message says how to download CIFAR-N.
        ValueError: if the file is damaged, or has no row of whole numbers of that name.
    """
    path = Path(path)
    is_human = path.suffix == ".pt"
    if not path.is_file():
        which = "cifar100n" if "100" in path.name else "cifar10n"
        command = f" Run: python data_scripts/download.py {which} --output {path.parent}" if is_human else ""
        raise FileNotFoundError(f"There is no label file {path}.{command}")
    if path.suffix not in (".pt", ".npz"):
        raise ValueError(f"{path}: the name of a label file must end in .pt or .npz.")
    arrays = read_arrays(path)

    def whole_numbers(key: str) -> Tensor:
        array = arrays.get(key)
        if not isinstance(array, np.ndarray) or array.ndim != 1 or array.dtype.kind not in "iu":
            there = ", ".join(sorted(map(str, arrays)))
            raise ValueError(f"{path} holds no row of whole numbers {key!r}. Name one of: {there}.")
        return torch.from_numpy(array.astype(np.int64))

    name = next(iter(arrays)) if not name and len(arrays) == 1 else name
    told = f"{'human labels' if is_human else 'labels'} from {path.name}, {name}"
    return PublishedLabels(whole_numbers(name), whole_numbers("clean_label") if is_human else None, told)


def _require_belonging(published: PublishedLabels, clean_labels: Tensor, num_classes: int, title: str) -> None:
    """Refuse published labels that do not belong to the images of ``clean_labels``."""
    noisy_labels, theirs, source = published
    require_labels(noisy_labels, source, length=len(clean_labels), num_classes=num_classes)
    if theirs is not None and (differ := (theirs != clean_labels).nonzero().flatten().tolist()):
        raise ValueError(
            f"{source}: its true labels are not those of {title} for {len(differ)} of {len(clean_labels)} images, the "
            f"first is image {differ[0]}. Use a file in the order of torchvision's training set."
        )


def read_arrays(path: Path) -> dict[str, Any]:
    """The content of a ``.npz`` file, a ``.pt`` file (saved by PyTorch), or, under any other name, a pickle."""
    try:
        _require_small(path)
        if path.suffix == ".npz":
            return dict(np.load(path, allow_pickle=False))
        with torch.serialization.safe_globals([(instead, name) for name, instead in _ALLOWED.items()]):
            content = (
                torch.load(path, map_location="cpu", weights_only=True) if path.suffix == ".pt" else _unpickle(path)
            )
        return {name: x.array if isinstance(x, _Array) else x for name, x in content.items()}
    except Exception as error:  # damaged and hostile files can make a reader stumble in any way
        raise ValueError(
            f"{path} cannot be read: it is damaged, too large, or holds more than words, whole numbers and arrays "
            "of them, and anything else could run code. Get it again from its publisher."
        ) from error


def _require_small(path: Path) -> None:
    """Nothing is taken in that is larger than label files and CIFAR are, nor what would unpack to it."""
    size = require_regular(path).stat().st_size
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            size = max(size, sum(member.file_size for member in archive.infolist()))
    if size > LARGEST:
        raise ValueError(f"{size:,} bytes are more than the {LARGEST:,} that are read")


class _Dtype:
    def __init__(self, code: str, *_: object):
        self.dtype = {name: np.dtype(name) for name in ("i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8")}[code]

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self.dtype = self.dtype.newbyteorder(state[1])


class _Array:
    def __init__(self, *_: object):
        self.array = np.empty(0)

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _, shape, dtype, is_fortran, data = state
        content = data.encode("latin1") if isinstance(data, str) else data
        self.array = np.frombuffer(content, dtype.dtype).reshape(shape, order="F" if is_fortran else "C")


def _from_buffer(data: bytes, dtype: _Dtype, shape: tuple[int, ...], order: str) -> _Array:
    array = _Array()
    array.__setstate__((1, shape, dtype, order == "F", data))
    return array


_ALLOWED = {"numpy.dtype": _Dtype, "numpy.ndarray": _Array} | {
    f"numpy.{core}.{name}": instead
    for core in ("core", "_core")  # NumPy 1 and 2
    for name, instead in (("multiarray._reconstruct", _Array), ("numeric._frombuffer", _from_buffer))
}


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if f"{module}.{name}" not in _ALLOWED:
            raise pickle.UnpicklingError(f"{module}.{name} is not allowed")
        return _ALLOWED[f"{module}.{name}"]


def _unpickle(path: Path) -> Any:
    content = path.read_bytes()
    for operation, number, _ in pickletools.genops(content):
        if operation.name.endswith("PUT") and int(number or 0) > len(content):  # each place in between takes memory
            raise pickle.UnpicklingError(f"{operation.name} {number} is not allowed")
    return _Unpickler(io.BytesIO(content), encoding="latin1").load()
