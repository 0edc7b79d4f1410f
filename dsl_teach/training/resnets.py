"""ResNets by torchvision as embedding networks: fresh weights, ImageNet's, or those of a file."""

from __future__ import annotations

import pickle
from pathlib import Path

import torch
from torch import Tensor, nn

IMAGENET_MEAN = (123.675, 116.28, 103.53)
"""Of red, green and blue, in the units of uint8 pixels; torchvision's weights expect images scaled by it."""
IMAGENET_DEVIATION = (58.395, 57.12, 57.375)

RESNETS = ("resnet18_small", "resnet18", "resnet50")


class WeightsError(ValueError):
    """First weights that cannot be had or do not fit."""


def resnet(name: str, channels: int, weights: str) -> tuple[nn.Module, int]:
    """A ResNet without its last layer.

    Args:
        name: ``"resnet18_small"`` (for 32 pixels: a 3 x 3 convolution first, no pooling), ``"resnet18"`` or
            ``"resnet50"``.
        channels: of the images. Only ``resnet18_small`` takes other than 3.
        weights: ``"none"``, ``"imagenet"`` (fetched from torchvision's hub), or the path of a weights file.

    Returns:
        G, and the number of its features.

    Raises:
        WeightsError: if weights cannot be had or do not fit; the sentence says what to pass.
        ValueError: if the images have a number of channels that the network does not take.
    """
    import torchvision  # takes seconds to import: only who wants a ResNet waits

    body = getattr(torchvision.models, name.removesuffix("_small"))(weights=None)
    features = body.fc.in_features
    body.fc = nn.Identity()
    if name.endswith("_small"):
        body.conv1, body.maxpool = nn.Conv2d(channels, 64, 3, padding=1, bias=False), nn.Identity()
        nn.init.kaiming_normal_(body.conv1.weight, mode="fan_out", nonlinearity="relu")
    elif channels != 3:
        raise ValueError(f"network {name} takes images of 3 channels, not {channels}; set network to resnet18_small.")
    if weights != "none":
        load_weights(body, name, weights)
    return body, features


def load_weights(body: nn.Module, name: str, weights: str) -> None:
    """Give a ResNet first weights. Those of a last layer are left out: its classes are others."""
    found = fetch_imagenet(name) if weights == "imagenet" else read_weights(weights)
    found = {key: value for key, value in found.items() if not key.startswith("fc.")}
    try:
        body.load_state_dict(found)
    except RuntimeError as error:
        raise WeightsError(
            f"The weights in {weights} do not fit network {name}: {str(error).splitlines()[-1].strip()} "
            "Pass a file of torchvision's weights for that network."
        ) from error


def fetch_imagenet(name: str) -> dict[str, Tensor]:
    """ImageNet weights from torchvision's hub, or from its cache if they were fetched before."""
    if name.endswith("_small"):
        raise WeightsError("weights is imagenet, but resnet18_small has no such weights; set weights to none.")
    import torchvision

    source = torchvision.models.get_model_weights(name).IMAGENET1K_V1
    try:
        return dict(source.get_state_dict(progress=False, check_hash=True))
    except (OSError, RuntimeError) as error:  # no network, or a broken download
        raise WeightsError(
            f"weights is imagenet, but {source.url} cannot be fetched ({error}). Fetch it where there is a network, "
            "and set weights to the path of the file; or set weights to none."
        ) from error


def read_weights(path: str) -> dict[str, Tensor]:
    """The weights in a file: a dictionary of tensors, as torchvision's files are, read without running code from it."""
    if not Path(path).is_file():
        raise WeightsError(f"weights is {path}, but there is no such file. Pass the path of a file, imagenet, or none.")
    try:
        found = torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, pickle.UnpicklingError, EOFError, OSError) as error:
        raise WeightsError(f"weights is {path}, which cannot be read as weights: {error}") from error
    if not isinstance(found, dict) or not all(isinstance(value, Tensor) for value in found.values()):
        raise WeightsError(f"weights is {path}, but it holds no dictionary of tensors, as torchvision's files do.")
    return found
