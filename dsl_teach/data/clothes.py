"""Clothes: 3,781 real photographs in 10 uneven classes, split by who sent them, mislabelled as what they resemble.

Source: Grigorev, "Clothing dataset" (github.com/alexeygrigorev/clothing-dataset and clothing-dataset-small), CC0.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from dsl_teach.config import Settings
from dsl_teach.data.backbones import PREFIX, backbone, features_of
from dsl_teach.data.cifar import linear_probabilities
from dsl_teach.data.dataset import NoisyDataset, confused_labels, with_labels
from dsl_teach.data.folders import SUFFIXES, Listed, assemble
from dsl_teach.files import read_table
from dsl_teach.noise import symmetric_noise
from dsl_teach.seeds import stream

PARTS = ("train", "validation", "test")
"""The folders as published; they are put together and split anew, since their test folder is of five senders only."""
SENDERS = "images.csv"
TEST_SHARE, TEST_MOST = 0.2, 0.25
"""Of the photographs, at least so many are tested on, and never more."""
PROBE, OTHER = "tf_efficientnet_lite0", "tf_efficientnet_lite2"
"""Whose confusions the noise follows: the backbone's own, or another network's."""


def load(settings: Settings) -> NoisyDataset:
    """Clothes as the settings name them."""
    data = clothes(settings.data_root, seed=settings.seed, trust=settings.trust)
    if not settings.noise_rate:
        return data
    labels, rate = data.noisy_labels, settings.noise_rate
    if settings.noise_from == "chance":
        told, generator = "symmetric noise", stream(settings.seed, "noise")
        labels = symmetric_noise(labels, rate, num_classes=data.num_classes, generator=generator).noisy_labels
    else:
        network = {"images": PROBE, "other_network": OTHER}[settings.noise_from]
        told = f"noise by the confusions of a probe of {network}"
        labels = confused_labels(probe(data, network), labels, settings)
    return with_labels(data, labels, made_from=f"{rate:.0%} {told}")


def clothes(root: str | Path, *, seed: int, trust: bool = False) -> NoisyDataset:
    """Read the photographs; every sender's are all in training or all in the test set, which the seed decides.

    ``root`` is the folder ``clothing-dataset-small``, with ``images.csv`` in it. A folder's name is the true label.
    For ``trust`` see :func:`dsl_teach.data.folders.assemble`.

    Raises:
        FileNotFoundError: if the folder or ``images.csv`` is missing.
        ValueError: if a class has photographs in one side only.
    """
    root = Path(root)
    paths = sorted(
        x.relative_to(root).as_posix() for part in PARTS for x in (root / part).glob("*/*") if x.suffix in SUFFIXES
    )
    if not paths:
        way = "python data_scripts/download.py clothes"
        raise FileNotFoundError(f"{root} holds no photographs in {', '.join(PARTS)}. Run: {way}")
    names = tuple(sorted({path.split("/")[1] for path in paths}))
    whole = Listed.by({path: names.index(path.split("/")[1]) for path in paths}, paths, "clothes", root, root)
    senders = {row["image"]: row["sender_id"] for row in read_table(root / SENDERS, "image", "sender_id")}
    is_test = by_sender(paths, senders, seed)
    train, test = whole.of(~is_test), whole.of(is_test, "the senders left out of clothes")
    told = f"clean labels, tested on senders left out by seed {seed}"
    data = assemble("clothes", train, test, names, told, trust=trust)
    return dataclasses.replace(data, clean_labels=data.noisy_labels.clone())


def by_sender(paths: Sequence[str], who: Mapping[str, str], seed: int) -> Tensor:
    """(N,) bool, which photographs are tested on: senders by chance, until a fifth is reached.

    One whose photographs would make them more than a quarter stays in training. A photograph without a known sender
    counts as a sender of its own.
    """
    owner = [who.get(stem := Path(path).stem, stem) for path in paths]
    names = sorted(set(owner))
    number = {name: place for place, name in enumerate(names)}
    owners = torch.tensor([number[name] for name in owner])
    sizes, chosen, count = torch.bincount(owners), [], 0
    for sender in torch.randperm(len(names), generator=stream(seed, "senders")).tolist():
        if count < TEST_SHARE * len(paths) and count + int(sizes[sender]) <= TEST_MOST * len(paths):
            chosen.append(sender)
            count += int(sizes[sender])
    return torch.isin(owners, torch.tensor(chosen, dtype=torch.int64))


def probe(data: NoisyDataset, network: str) -> Tensor:
    """(N, K) class probabilities of the training images: a linear model on a network's features, 3-fold held out."""
    model = backbone(PREFIX + network, "bundled")
    return linear_probabilities(features_of(data, model, PREFIX + network)[0], data.noisy_labels)
