"""Every knob of a run in one frozen dataclass, with its help, its check, and its YAML file."""

from __future__ import annotations

import dataclasses
import difflib
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import yaml

Check = tuple[Callable[[Any], bool], str]

AT_LEAST_0: Check = (lambda x: x >= 0, "at least 0")
AT_LEAST_1: Check = (lambda x: x >= 1, "at least 1")
POSITIVE: Check = (lambda x: x > 0, "above 0")
SHARE: Check = (lambda x: 0 <= x <= 1, "from 0 to 1")
QUANTILE: Check = (lambda x: 0 < x <= 1, "above 0 and at most 1")
RATE: Check = (lambda x: 0 <= x < 1, "at least 0 and below 1")
ANY: Check = (lambda x: True, "anything")

DATASETS = ("digits", "toy_clusters", "toy_moons", "cifar10", "cifar100", "image_folder", "clothing1m", "food101n")
ON_DISK = DATASETS[3:]
"""These need ``data_root``."""
CAN_BE_UNEVEN = ("digits", "cifar10", "cifar100")
"""These can be made uneven: ``rarest_share``, ``noise_direction``."""


def _one_of(*names: str) -> Check:
    return (lambda x: x in names, "one of " + ", ".join(names))


def knob(default: Any, help: str, check: Check = ANY) -> Any:
    """A field of :class:`Settings`: its default, one line of help, and what it may be."""
    return field(default=default, metadata={"help": help, "check": check})


@dataclass(frozen=True)
class Settings:
    """One run of the method. ``alpha = 0`` is plain cross-entropy on the noisy labels.

    Raises:
        ValueError: if a value is out of its range; the sentence names the setting.
        TypeError: if a value has the wrong type.
    """

    # the four knobs
    p: int = knob(8, "prototypes a class", AT_LEAST_1)
    m: int = knob(1280, "samples a class that prototypes are chosen from", AT_LEAST_1)
    alpha: float = knob(0.5, "weight of the corrected labels in the loss; 0 is cross-entropy", SHARE)
    correction_start: int = knob(5, "epochs trained on noisy labels alone before the first correction", AT_LEAST_0)

    # the data
    dataset: str = knob("digits", "which data set", _one_of(*DATASETS))
    data_root: str = knob("", "folder of a data set that lies on disk")
    test_root: str = knob("", "folder of its test images, where they lie elsewhere: Food-101, or a folder of images")
    subset: int = knob(0, "training images of CIFAR to keep, equally many of each class; 0: all", AT_LEAST_0)
    labels_file: str = knob("", "published noisy labels for CIFAR: a .pt of CIFAR-N, .npz, .npy or .txt")
    labels_name: str = knob("", "which labels of that file, random_label1 say")
    max_unreadable: float = knob(0.001, "share of images on disk that may be left out as unreadable", RATE)
    official_files: bool = knob(True, "whether CIFAR's files must have the official checksums")
    noise_rate: float = knob(0.4, "share of the training labels made wrong, depending on the input", RATE)
    noise_temperature: float = knob(2.0, "0: exactly the most confusable images; large: any image", AT_LEAST_0)
    rarest_share: float = knob(1.0, "digits, CIFAR: size of the rarest class over the commonest; 1 keeps all", QUANTILE)
    noise_direction: Literal["any", "to_frequent", "to_rare"] = knob(
        "any",
        "digits, CIFAR: whether wrong labels go to any class, or only to more frequent or only to rarer ones",
        _one_of("any", "to_frequent", "to_rare"),
    )

    # the training
    network: str = knob(
        "small_cnn",
        "which network",
        _one_of("small_cnn", "small_cnn_groupnorm", "strided_cnn", "mlp", "resnet18_small", "resnet18", "resnet50"),
    )
    width: int = knob(16, "channels of the network's first layer; a ResNet has its own", AT_LEAST_1)
    weights: str = knob("none", "a ResNet's first weights: none, imagenet, or the path of a weights file")
    augment: bool = knob(False, "shift and mirror images in memory at random to train on; those on disk always are")
    epochs: int = knob(40, "times that training goes through the data", AT_LEAST_1)
    batch_size: int = knob(64, "samples a step", AT_LEAST_1)
    learning_rate: float = knob(0.05, "step size of SGD at the start", POSITIVE)
    learning_rate_drop: int = knob(15, "divide the learning rate by 10 every so many epochs; 0: never", AT_LEAST_0)
    momentum: float = knob(0.9, "momentum of SGD", RATE)
    weight_decay: float = knob(5e-4, "weight decay of SGD", AT_LEAST_0)
    seed: int = knob(0, "every random number of the run follows from it", AT_LEAST_0)
    precision: Literal["auto", "float32", "bfloat16"] = knob(
        "auto",
        "arithmetic of the network; auto: bfloat16 for a ResNet where the hardware has it, else float32",
        _one_of("auto", "float32", "bfloat16"),
    )
    compile: bool = knob(False, "whether torch.compile prepares the network: slow to start, faster afterwards")

    # the loss against the noisy labels, and what training adds to it
    loss: Literal["cross_entropy", "smoothed", "forward", "gce", "sce", "elr"] = knob(
        "cross_entropy",
        "loss against the noisy labels: cross_entropy, smoothed labels, forward correction, gce, sce, or elr",
        _one_of("cross_entropy", "smoothed", "forward", "gce", "sce", "elr"),
    )
    smoothing: float = knob(0.5, "smoothed labels: the share of a label that all classes get alike", RATE)
    gce_q: float = knob(0.7, "generalized cross-entropy: near 0 it is cross-entropy, at 1 it is 1 - p_y", QUANTILE)
    sce_a: float = knob(0.1, "symmetric cross-entropy: weight of cross-entropy", AT_LEAST_0)
    sce_b: float = knob(1.0, "symmetric cross-entropy: weight of reverse cross-entropy", AT_LEAST_0)
    elr_weight: float = knob(3.0, "early-learning regularization: weight of its term", AT_LEAST_0)
    elr_momentum: float = knob(0.7, "early-learning regularization: share of its targets kept at each sight", RATE)
    mixup: float = knob(0.0, "mix pairs of images and labels, Beta(mixup, mixup); 0: off", AT_LEAST_0)
    balanced_sampling: bool = knob(False, "draw every class (by noisy label) equally often to train on")
    averaged_weights: float = knob(0.0, "decay a step of a moving average of the weights; 0: off", RATE)

    # the correction phase
    correction_mode: Literal["exact", "streamed"] = knob(
        "exact",
        "embeddings by a frozen pass over the training set, or gathered during the training pass (nearly free)",
        _one_of("exact", "streamed"),
    )
    correct_every: int = knob(1, "epochs from one correction to the next", AT_LEAST_1)

    correct_by: Literal["density_peaks", "random", "class_means", "neighbours", "head"] = knob(
        "density_peaks",
        "who gives the class scores: prototypes by density peaks, random ones, class means, neighbours, or the head",
        _one_of("density_peaks", "random", "class_means", "neighbours", "head"),
    )
    neighbours: int = knob(50, "how many neighbours vote, with correct_by neighbours", AT_LEAST_1)
    soft_temperature: float = knob(0.0, "corrected labels are softmax(scores / temperature); 0: hard", AT_LEAST_0)
    margin: float = knob(0.0, "change a label only if its score is beaten by more than this", AT_LEAST_0)
    centred: bool = knob(False, "subtract the mean embedding before cosines are taken")
    whitened: bool = knob(False, "scale embeddings by their spread within classes before cosines are taken")
    agreeing_only: bool = knob(False, "choose prototypes where the last corrected label and the noisy one agree")
    prototype_momentum: float = knob(0.0, "share of the old prototypes kept in each correction; 0: new ones", RATE)
    score_momentum: float = knob(0.0, "share of the old class scores kept in each correction; 0: new ones", RATE)

    # how the paper's open points are read
    eta_max: float = knob(0.95, "the gate: samples at least this similar to a denser one are no prototypes")
    quantile: float = knob(0.6, "share of the similarities at or below S_c; the paper's top 40 % is 0.6", QUANTILE)
    diagonal: bool = knob(True, "whether a sample's similarity to itself takes part in S_c")
    rho_ties: Literal["strict", "order"] = knob(
        "strict", "what denser means: strictly, or at equal rho by order", _one_of("strict", "order")
    )
    fill_up: bool = knob(True, "fill up with the smallest eta if fewer than p samples pass the gate")
    cut_ties: Literal["eta", "index"] = knob(
        "eta", "which of two equally dense samples comes first", _one_of("eta", "index")
    )
    small_class: Literal["all", "error"] = knob(
        "all", "a class with fewer than m samples: use all it has, or stop", _one_of("all", "error")
    )
    score_ties: Literal["noisy", "lowest"] = knob(
        "noisy", "at equal class scores: keep the noisy label, or take the lowest class", _one_of("noisy", "lowest")
    )

    def __post_init__(self) -> None:
        for knob_ in dataclasses.fields(self):
            value = _convert(knob_.name, getattr(self, knob_.name), type(knob_.default))
            object.__setattr__(self, knob_.name, value)
            allowed, words = knob_.metadata["check"]
            if not allowed(value):
                raise ValueError(f"{knob_.name} must be {words}, but it is {value!r}. ({knob_.metadata['help']})")
        if self.dataset in ON_DISK and not self.data_root:
            raise ValueError(f"data_root must name the folder of {self.dataset}, but it is empty.")
        if self.dataset == "food101n" and not self.test_root:
            raise ValueError("test_root must name the folder of Food-101, which Food-101N is tested on; it is empty.")
        self._require_uneven()
        if self.p > self.m:
            raise ValueError(f"p must be at most m, but p is {self.p} and m is {self.m}. Lower p or raise m.")
        for one, other, why in CLASHES:
            if getattr(self, one) != _DEFAULTS[one] and getattr(self, other) != _DEFAULTS[other]:
                raise ValueError(f"{one} and {other} do not go together: {why} Set one of them back.")
        for name in WITHOUT_EFFECT.get(self.correct_by, ()):
            if getattr(self, name) != _DEFAULTS[name]:
                raise ValueError(f"{name} does nothing when correct_by is {self.correct_by}: set one of them back.")

    def _require_uneven(self) -> None:
        if (self.rarest_share, self.noise_direction) != (1.0, "any") and self.dataset not in CAN_BE_UNEVEN:
            name = "rarest_share" if self.rarest_share != 1 else "noise_direction"
            raise ValueError(f"{name} is for {', '.join(CAN_BE_UNEVEN)}; leave it out for {self.dataset}.")
        if self.noise_direction != "any" and self.rarest_share == 1:
            raise ValueError(
                f"noise_direction = {self.noise_direction} needs frequent and rare classes: set rarest_share below 1."
            )

    def replace(self, **changes: Any) -> Settings:
        """The same settings with some changed.

        Raises:
            ValueError: if a name is not a setting, or a value is out of range.
        """
        _require_known(changes)
        return dataclasses.replace(self, **changes)

    def to_dict(self) -> dict[str, Any]:
        """Names and values, in the order of the fields."""
        return dataclasses.asdict(self)

    def to_yaml(self) -> str:
        """The settings as the text of a YAML file."""
        return yaml.safe_dump(self.to_dict(), sort_keys=False)

    @classmethod
    def from_yaml(cls, path: str | Path) -> Settings:
        """Read settings from a YAML file; what it does not name keeps its default.

        Raises:
            ValueError: if the file is no mapping, names an unknown setting, or a value is out of range.
        """
        try:
            content = yaml.safe_load(Path(path).read_text(encoding="utf-8")) or {}
            if not isinstance(content, dict):
                raise ValueError(f"its lines must be of the form 'name: value', not a {type(content).__name__}.")
            return cls().replace(**content)
        except yaml.YAMLError as error:
            raise ValueError(f"{path} is no plain YAML file: {error}") from error
        except (TypeError, ValueError) as error:
            raise type(error)(f"{path}: {error}") from error


_DEFAULTS = {knob_.name: knob_.default for knob_ in dataclasses.fields(Settings)}

CLASHES = (
    ("soft_temperature", "margin", "a soft label has no single class to keep."),
    ("mixup", "correction_mode", "embeddings gathered on the way would be those of mixed images."),
    ("balanced_sampling", "correction_mode", "samples not drawn in an epoch would have no embedding."),
    ("averaged_weights", "correction_mode", "embeddings gathered on the way come from the moving weights."),
    ("centred", "whitened", "whitened embeddings are centred already."),
)
"""Settings that exclude each other where both differ from their defaults, and why."""

WITHOUT_EFFECT = {
    "neighbours": ("agreeing_only", "prototype_momentum"),
    "head": ("agreeing_only", "prototype_momentum", "centred", "whitened"),
}
"""Settings about prototypes or cosines, where ``correct_by`` asks for none."""


def help_text() -> dict[str, str]:
    """One line of help for each setting."""
    return {knob_.name: knob_.metadata["help"] for knob_ in dataclasses.fields(Settings)}


def _require_known(names: dict[str, Any]) -> None:
    known = [knob_.name for knob_ in dataclasses.fields(Settings)]
    for name in names:
        if name not in known:
            close = difflib.get_close_matches(str(name), known, n=1)
            hint = f" Did you mean {close[0]}?" if close else f" The settings are {', '.join(known)}."
            raise ValueError(f"There is no setting {name}.{hint}")


def _convert(name: str, value: Any, kind: type[Any]) -> Any:
    """Take 1 for 1.0, and refuse what would be silently bent: True for 1, 1.5 for 1, nan."""
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    if type(value) is not kind:
        raise TypeError(f"{name} must be {_WORDS[kind]}, but it is {value!r} ({type(value).__name__}).")
    if kind is float and not math.isfinite(value):
        raise ValueError(f"{name} must be a finite number, but it is {value!r}.")
    return value


_WORDS = {int: "a whole number", float: "a number", bool: "true or false", str: "a word"}
