"""The settings of a run: one frozen pydantic model, its fields in groups; flat in YAML and on the command line."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, ValidationError, model_validator

from dsl_teach.files import read_yaml

ON_DISK = ("cifar10", "cifar100", "clothes", "image_folder", "clothing1m", "food101n")
"""These need ``data_root``."""
SYNTHETIC = ("digits", "toy_clusters", "toy_moons")
"""These are clean, so the package always makes some of their labels wrong."""
HAVE_LABELS_FILE = ("cifar10", "cifar100", "image_folder")
"""These take labels of a file in place of their own."""
PLACES = ("data_root", "test_root", "labels_file")
NETWORKS = ("small_cnn", "strided_cnn", "mlp", "resnet18_small", "resnet18", "resnet50")
KNOBS = ("p", "m", "alpha", "correction_start")
"""The four settings that readers move."""

Dataset = Literal[
    "digits", "toy_clusters", "toy_moons", "cifar10", "cifar100", "clothes", "image_folder", "clothing1m", "food101n"
]
LARGEST = 2**31 - 1  # more is no count of anything here, and torch's whole numbers end not far above
Count = Annotated[int, Field(ge=1, le=LARGEST)]
CountOrOff = Annotated[int, Field(ge=0, le=LARGEST)]
Weight = Annotated[float, Field(ge=0)]
Share = Annotated[float, Field(ge=0, le=1)]
Quantile = Annotated[float, Field(gt=0, le=1)]
Rate = Annotated[float, Field(ge=0, lt=1)]
Gate = Annotated[float, Field(gt=-1, le=2)]


def _setting(default: Any, help: str) -> Any:
    return Field(default, description=help)


class _Group(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class _Data(_Group):
    """Data: which samples, and how their labels came to be wrong."""

    dataset: Dataset = _setting("digits", "which data set")
    data_root: str = _setting("", "folder of a data set that lies on disk")
    test_root: str = _setting("", "folder of its test images, where they lie elsewhere")
    trust: bool = _setting(False, "images on disk, not verified: do not look at all first, stop at an unreadable one")
    subset: CountOrOff = _setting(0, "training images of CIFAR to keep, equally many of each class; 0: all")
    labels_file: str = _setting(
        "", "CIFAR: published noisy labels, a .pt file of CIFAR-N or an .npz file; image_folder: a CSV file of labels"
    )
    labels_name: str = _setting("", "which labels of that file, random_label1 say")
    official_files: bool = _setting(True, "whether CIFAR's files must have the official checksums")
    noise_rate: Rate | None = _setting(
        None, "share of the training labels made wrong; unset: 0.4, for CIFAR and clothes none"
    )
    noise_temperature: Weight = _setting(2.0, "0: exactly the most confusable images; large: any image")
    noise_from: Literal["images", "other_network", "chance"] = _setting(
        "images", "clothes: wrong labels follow a probe's confusions, those of another network, or chance"
    )
    rarest_share: Quantile = _setting(1.0, "digits: size of the rarest class over the commonest; 1 keeps all")


class _Network(_Group):
    """Network: what is trained, and on what hardware."""

    network: str = _setting("small_cnn", "which network; timm:NAME is one of timm")
    frozen_blocks: CountOrOff = _setting(0, "timm: this many blocks stay as they are, and see each image only once")
    width: Count = _setting(16, "channels of the network's first layer; a ResNet has its own")
    weights: str = _setting(
        "none", "first weights of a ResNet or of timm: none, imagenet, bundled (timm), or the path of a file"
    )
    precision: Literal["auto", "float32", "bfloat16"] = _setting("auto", "auto: bfloat16 for a ResNet where supported")
    compile: bool = _setting(False, "whether torch.compile prepares the network: slow to start, faster afterwards")


class _Training(_Group):
    """Training phase: optimizer, loss against the noisy labels, and what is added to it."""

    epochs: Count = _setting(40, "times that training goes through the data")
    batch_size: Count = _setting(64, "samples a step")
    learning_rate: Annotated[float, Field(gt=0)] = _setting(0.05, "step size of SGD at the start")
    learning_rate_drop: CountOrOff = _setting(15, "divide the learning rate by 10 every so many epochs; 0: never")
    momentum: Rate = _setting(0.9, "momentum of SGD")
    weight_decay: Weight = _setting(5e-4, "weight decay of SGD")
    seed: CountOrOff = _setting(0, "every random number of the run follows from it")
    augment: bool = _setting(False, "shift and mirror images in memory to train on; those on disk always are")
    loss: Literal["cross_entropy", "smoothed", "gce", "elr"] = _setting(
        "cross_entropy", "loss against the noisy labels: cross_entropy, smoothed, gce, elr"
    )
    smoothing: Rate = _setting(0.5, "smoothed labels: the share of a label that all classes get alike")
    gce_q: Quantile = _setting(0.7, "generalized cross-entropy: near 0 it is cross-entropy, at 1 it is 1 - p_y")
    elr_weight: Weight = _setting(3.0, "early-learning regularization: weight of its term")
    elr_momentum: Rate = _setting(0.7, "early-learning regularization: share of its targets kept at each sight")
    mixup: Weight = _setting(0.0, "mix pairs of images and labels, Beta(mixup, mixup); 0: off")
    balanced_sampling: bool = _setting(False, "draw every class (by noisy label) equally often to train on")
    averaged_weights: Rate = _setting(0.0, "decay a step of a moving average of the weights; 0: off")


class _Correction(_Group):
    """Correction phase: the four knobs, who gives the labels, and how the paper's open points are read."""

    p: Count = _setting(8, "prototypes a class")
    m: Count = _setting(1280, "samples a class that prototypes are chosen from")
    alpha: Share = _setting(0.5, "weight of the corrected labels in the loss; 0 is cross-entropy")
    correction_start: CountOrOff = _setting(5, "epochs trained on noisy labels alone before the first correction")
    correction_mode: Literal["exact", "streamed"] = _setting(
        "exact", "embeddings by a pass in eval mode, or gathered during the training pass (nearly free)"
    )
    correct_by: Literal["density_peaks", "random", "class_means", "neighbours", "head", "ridge", "leave_one_out"] = (
        _setting(
            "density_peaks",
            "class scores by prototypes (density_peaks, random, class_means), neighbours, head, or a linear fit that "
            "counts each sample's own label (ridge) or leaves it out (leave_one_out)",
        )
    )
    correct_from: Literal["network", "untouched"] = _setting(
        "network", "embeddings of the network as it is now, or, timm, of the network before any training"
    )
    neighbours: Count = _setting(50, "how many neighbours vote, with correct_by neighbours")
    eta_max: Gate = _setting(0.95, "the gate: samples this similar to a denser one are no prototypes; at 2 all pass")
    quantile: Quantile = _setting(0.6, "share of the similarities at or below S_c; the paper's top 40 % is 0.6")
    diagonal: bool = _setting(True, "whether a sample's similarity to itself takes part in S_c")
    rho_ties: Literal["strict", "order"] = _setting("strict", "what denser means: strictly, or at equal rho by order")
    fill_up: bool = _setting(True, "fill up with the smallest eta if fewer than p samples pass the gate")
    cut_ties: Literal["eta", "index"] = _setting("eta", "which of two equally dense samples comes first")
    small_class: Literal["all", "error"] = _setting("all", "a class with fewer than m samples: use all it has, or stop")
    score_ties: Literal["noisy", "lowest"] = _setting("noisy", "at equal scores: the noisy label, or the lowest class")


class Settings(_Correction, _Training, _Network, _Data):
    """One run of the method. ``alpha = 0`` is plain cross-entropy on the noisy labels.

    ``preset``, no setting itself, stands for those of :data:`PRESETS`; what else is named goes over it.

    Raises:
        ValueError: if a name is unknown, or a value is of a wrong type or out of range; the sentence names the setting.
    """

    def __init__(self, *, preset: str | None = None, **values: Any) -> None:
        if preset is not None and preset not in list(PRESETS):
            raise ValueError(f"preset must be one of {', '.join(PRESETS)}, but it is {preset!r}.")
        try:
            super().__init__(**(PRESETS[preset] | values if preset else values))
            self._by_preset = frozenset(PRESETS[preset] if preset else ()) - values.keys()
        except ValidationError as error:
            raise ValueError(_sentence(error)) from None

    _by_preset: frozenset[str] = PrivateAttr(frozenset())
    """Settings that only the preset names: nobody asked for these one by one."""

    @model_validator(mode="after")
    def _require_sense(self) -> Self:
        if self.noise_rate is None and self.dataset in SYNTHETIC:
            object.__setattr__(self, "noise_rate", 0.4)
        for wrong, sentence in _clashes(self):
            if wrong:
                raise ValueError(sentence)
        return self

    def replace(self, **changes: Any) -> Settings:
        """The same settings with some changed.

        Raises:
            ValueError: if a name is not a setting, or a value is out of range.
        """
        found = type(self)(**(self.model_dump(include=self.model_fields_set) | changes))
        found._by_preset = self._by_preset - changes.keys()
        return found

    def to_dict(self) -> dict[str, Any]:
        """Names and values, in the order of the fields."""
        return self.model_dump()

    def to_yaml(self) -> str:
        """The settings as the text of a YAML file."""
        return yaml.safe_dump(self.to_dict(), sort_keys=False)

    @classmethod
    def from_yaml(cls, path: str | Path) -> Settings:
        """Read settings from a YAML file; what it does not name keeps its default.

        Raises:
            ValueError: if the file is no mapping, names an unknown setting, or a value is out of range.
        """
        values = read_yaml(path)
        try:
            return cls(**values)
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from error


def _clashes(s: Settings) -> Iterator[tuple[bool, str]]:
    """What is refused at once: whether it is so, and the sentence."""
    unknown, networks = s.network not in NETWORKS and not s.network.startswith("timm:"), ", ".join(NETWORKS)
    yield unknown, f"network must be {networks}, or timm: and the name of a network of timm, but it is {s.network!r}."
    yield s.dataset in ON_DISK and not s.data_root, f"data_root must name the folder of {s.dataset}, but it is empty."
    no_test = s.dataset == "food101n" and not s.test_root
    yield no_test, "test_root must name the folder of Food-101, which Food-101N is tested on; it is empty."
    yield s.p > s.m, f"p must be at most m, but p is {s.p} and m is {s.m}. Lower p or raise m."
    fields = Settings.model_fields.items()
    said = {name for name, field in fields if getattr(s, name) != field.default}
    said -= {"noise_rate"} - s.model_fields_set  # what nobody named clashes with nothing
    timm = "a network of timm, timm:tf_efficientnet_lite0 say"
    for name, home, at_home in (
        ("noise_rate", "clean data, and these labels are wrong already", s.dataset not in ON_DISK[3:]),
        ("noise_from", "clothes", s.dataset == "clothes"),
        ("labels_file", ", ".join(HAVE_LABELS_FILE), s.dataset in HAVE_LABELS_FILE),
        ("rarest_share", "digits", s.dataset == "digits"),
        ("frozen_blocks", timm, s.network.startswith("timm:")),
        ("correct_from", timm, s.network.startswith("timm:")),
    ):
        yield name in said and not at_home, f"{name} is for {home}; leave it out for {s.dataset} and {s.network}."
    said.add(f"correct_by = {s.correct_by}")
    for one, other, why in CLASHES:
        yield {one, other} <= said, f"{one} and {other} do not go together: {why} Set one of them back."


PRESETS: dict[str, dict[str, Any]] = {
    "untouched_features": {
        "network": "timm:tf_efficientnet_lite0", "weights": "bundled", "frozen_blocks": 14, "augment": True,
        "epochs": 15, "batch_size": 32, "learning_rate": 0.01, "learning_rate_drop": 8,
        "correct_by": "leave_one_out", "correct_from": "untouched", "correction_start": 0, "alpha": 0.9,
    },
}  # fmt: skip
"""Settings by the name of a preset. Untouched features: a network with ImageNet weights is trained on the labels of a
linear fit on its features before any training, each sample judged without its own label. See docs/findings.md."""


def without_places(values: Mapping[str, Any]) -> dict[str, Any]:
    """Settings by name, but for those that say where something lies: moving it changes nothing about a run."""
    return {name: value for name, value in values.items() if name not in PLACES}


CLASHES = (
    ("mixup", "correction_mode", "embeddings gathered on the way would be those of mixed images."),
    ("balanced_sampling", "correction_mode", "samples not drawn in an epoch would have no embedding."),
    ("averaged_weights", "correction_mode", "embeddings gathered on the way come from the moving weights."),
    ("noise_rate", "labels_file", "one makes labels wrong, the other takes published wrong labels."),
    ("correct_from", "correct_by = head", "the head takes embeddings of the network as it is now."),
    ("correct_from", "correction_mode", "embeddings gathered on the way come from the network as it is now."),
)
"""What excludes each other, and why: settings that differ from their defaults, or say who corrects."""


READERS = {
    "dsl-teach sweep {file}": {"base", "base_from", "cases", "methods", "grid"},
    "papermill LESSON.ipynb OUT.ipynb -f {file}": {"output_folder", "made_by"},
    "dsl-teach train {file}": Settings.model_fields.keys(),
}
"""Commands that read a YAML file, and names that show it is theirs."""


def require_kind(path: str | Path, said: Mapping[str, Any], known: Iterable[str]) -> None:
    """A ValueError with the right command, if a YAML file names nothing known here but what another command knows."""
    if not said.keys() & {*known} - {"seeds", "rows"}:
        for command, names in READERS.items():
            if said.keys() & names:
                raise ValueError(f"{path} is for another command: {command.format(file=path)}")


def require_use(*runs: Settings) -> None:
    """A ValueError if a setting is named that does nothing in every one of these runs that names it.

    Defaults never count, nor does what is named to be off, or by a preset alone. Settings that name all there are, as
    a run folder's do, are a record, not a wish.
    """
    used, useless = set[str](), dict[str, str]()
    for s in runs:
        values, fields = s.to_dict(), Settings.model_fields
        named = s.model_fields_set - s._by_preset
        named = {name for name in named if values[name] or values[name] != fields[name].default}
        rules = _uses(s) if s.model_fields_set < fields.keys() else ()
        nothing = {name: why for names, idle, why in rules if idle for name in sorted(named & set(names))}
        used |= s.model_fields_set - nothing.keys()
        useless |= nothing
    for name in useless:
        if name not in used:
            why = f"{useless[name]}. Leave it out, or change what it hangs on."
            raise ValueError(f"{name} is set, but it does nothing here: {why}")


def _uses(s: Settings) -> Iterator[tuple[Iterable[str], bool, str]]:
    """Settings, whether they do nothing in this run, and why then."""
    on_cifar, in_folders, own = s.dataset.startswith("cifar"), s.dataset in ON_DISK[2:], s.dataset in SYNTHETIC
    yield ("data_root",), own, f"{s.dataset} comes with the package"
    yield ("test_root",), s.dataset not in ("image_folder", "food101n"), f"{s.dataset} has its own test images"
    yield ("trust",), not in_folders, f"{s.dataset} is not a folder of images"
    yield ("subset", "official_files"), not on_cifar, f"{s.dataset} is not CIFAR"
    yield ("labels_name",), not s.labels_file or not on_cifar, "no labels_file of CIFAR is set"
    yield ("noise_temperature",), not s.noise_rate, "no label is made wrong, as noise_rate is 0 or unset"
    yield ("noise_temperature",), s.noise_from == "chance", "noise by chance has no temperature"
    yield ("augment",), in_folders and not s.frozen_blocks, f"the images of {s.dataset} are always shifted and mirrored"
    yield ("width",), s.network.startswith(("resnet", "timm:")), f"{s.network} has a width of its own"
    yield ("learning_rate_drop",), s.learning_rate_drop >= s.epochs, f"training ends after {s.epochs} epochs"
    for loss, names in OF_LOSS.items():
        yield names, s.loss != loss, f"loss is {s.loss}, not {loss}"
    never = f"no label is corrected in {s.epochs} epochs, as correction_start is {s.correction_start}"
    yield _Correction.model_fields, s.alpha > 0 and s.epochs < s.correction_start, never
    rest = _Correction.model_fields.keys() - KNOBS  # alpha 0 is how cross-entropy is written
    yield rest, s.alpha == 0, "alpha is 0, so no label is corrected"
    for name, correctors in OF_CORRECTOR.items():
        kept = name == "m" and s.small_class == "error"
        yield (name,), s.alpha > 0 and s.correct_by not in correctors and not kept, f"correct_by is {s.correct_by}"


OF_LOSS = {"smoothed": ("smoothing",), "gce": ("gce_q",), "elr": ("elr_weight", "elr_momentum")}
OF_CORRECTOR = {
    "p": ("density_peaks", "random"), "m": ("density_peaks", "class_means", "neighbours"),
    "neighbours": ("neighbours",),
    **dict.fromkeys(("eta_max", "quantile", "diagonal", "rho_ties", "fill_up", "cut_ties"), ("density_peaks",)),
}  # fmt: skip
"""Losses and the settings that are theirs alone; settings and the correctors that take them."""


def help_text() -> dict[str, dict[str, str]]:
    """Title of each group of settings -> one line of help for each setting in it."""
    return {
        "Preset": {"preset": f"several settings at once: {', '.join(PRESETS)}; what else is named goes over it"},
        **{
            str(group.__doc__).rstrip("."): {name: str(field.description) for name, field in group.model_fields.items()}
            for group in (_Correction, _Training, _Network, _Data)
        },
    }


def _sentence(error: ValidationError) -> str:
    """The first thing that is wrong, in words that name the setting."""
    first = error.errors(include_url=False)[0]
    if not first["loc"]:
        return str(first["ctx"]["error"])
    name, value = str(first["loc"][0]), first["input"]
    if first["type"] == "extra_forbidden":
        close = difflib.get_close_matches(name, Settings.model_fields, n=1)
        hint = f"Did you mean {close[0]}?" if close else f"The settings are {', '.join(Settings.model_fields)}."
        return f"There is no setting {name}. {hint}"
    wanted = first["msg"].removeprefix("Input should be ").removeprefix("Value error, ")
    return f"{name} must be {wanted}, but it is {value!r}. ({name}: {Settings.model_fields[name].description}.)"
