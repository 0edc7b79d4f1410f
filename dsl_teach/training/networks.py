"""Networks F = f o G that return ``(logits, embeddings)``: G gives the embedding, f is the last layer."""

from __future__ import annotations

import pickle
from collections.abc import Sized
from contextlib import nullcontext
from itertools import pairwise

import torch
from torch import Tensor, nn

from dsl_teach._validate import require
from dsl_teach.config import Settings
from dsl_teach.data import backbones
from dsl_teach.seeds import lent
from dsl_teach.storage import reason

IMAGENET_MEAN, IMAGENET_DEVIATION = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)  # red, green, blue; of 255
RESNETS = ("resnet18_small", "resnet18", "resnet50")


class EmbeddingNetwork(nn.Module):
    """A network in two parts; it scales images by the mean and deviation of the training set, kept with its weights."""

    mean: Tensor
    deviation: Tensor
    in_bfloat16 = channels_last = False
    """How it computes, set by :func:`prepare`."""

    def __init__(self, embed: nn.Module, head: nn.Linear, *, mean: Tensor, deviation: Tensor):
        super().__init__()
        self.embed, self.head = embed, head
        self.register_buffer("mean", mean)
        self.register_buffer("deviation", deviation)

    @property
    def num_classes(self) -> int:
        """K."""
        return self.head.out_features

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Logits F(x), (B, K), and embeddings G(x), (B, D), of (B, C, H, W) uint8 images or (B, D) points."""
        images = (images.to(self.mean.dtype) - self.mean) / self.deviation
        if self.channels_last and images.ndim == 4:
            images = images.contiguous(memory_format=torch.channels_last)
        with torch.autocast(images.device.type, torch.bfloat16) if self.in_bfloat16 else nullcontext():
            embeddings = self.embed(images)
            logits = self.head(embeddings)
        return logits.to(self.mean.dtype), embeddings


def small_cnn(channels: int, width: int) -> tuple[nn.Module, int]:
    """G of three convolutions, two poolings and a mean over the image, for 8 to 32 pixels; and its features."""
    widths, layers = (channels, width, 2 * width, 4 * width), []
    for inside, outside in pairwise(widths):
        layers += [nn.Conv2d(inside, outside, 3, padding=1, bias=False), nn.BatchNorm2d(outside), nn.ReLU()]
        layers += [HalvingMaxPool(2)] if outside != widths[-1] else []
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten()), widths[-1]


def strided_cnn(channels: int, width: int) -> tuple[nn.Module, int]:
    """G of four convolutions, three of which halve the image, for 32 pixels: fast on a CPU; and its features."""
    widths, layers = (channels, width, 2 * width, 4 * width, 4 * width), []
    for (inside, outside), (side, stride) in zip(pairwise(widths), ((4, 2), (3, 2), (3, 1), (3, 2)), strict=True):
        layers += [nn.Conv2d(inside, outside, side, stride, padding=1, bias=False), nn.BatchNorm2d(outside), nn.ReLU()]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten()), 4 * width


class HalvingMaxPool(nn.MaxPool2d):
    """The greatest of every 2 x 2 pixels. In evaluation on a CPU nobody asks where it stood: ten times as fast."""

    def forward(self, images: Tensor) -> Tensor:
        """(B, C, H, W) to (B, C, H // 2, W // 2)."""
        if images.is_cuda or torch.is_grad_enabled():
            return super().forward(images)
        images = images[..., : images.shape[2] // 2 * 2, : images.shape[3] // 2 * 2]
        rows = torch.maximum(images[:, :, 0::2], images[:, :, 1::2])
        return torch.maximum(rows[..., 0::2], rows[..., 1::2])


def mlp(features: int, width: int) -> tuple[nn.Module, int]:
    """G of two hidden layers, for points in the plane; and its features."""
    return nn.Sequential(nn.Linear(features, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU()), width


MAKERS = {"small_cnn": small_cnn, "strided_cnn": strided_cnn, "mlp": mlp}


def resnet(name: str, channels: int, weights: str) -> tuple[nn.Module, int]:
    """G of torchvision's ResNet of that name, a small one for 32 pixels of any channels; and its features."""
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
        load_weights(body, name.removesuffix("_small"), weights)
    return body, features


def load_weights(body: nn.Module, name: str, weights: str) -> None:
    """Give a ResNet first weights, read without running code from the file; not those of the last layer."""
    import torchvision

    try:
        if weights == "imagenet":
            found = torchvision.models.get_model_weights(name).IMAGENET1K_V1.get_state_dict(check_hash=True)
        else:
            found = torch.load(weights, map_location="cpu", weights_only=True)
        body.load_state_dict({key: value for key, value in found.items() if not key.startswith("fc.")})
    except (AttributeError, EOFError, OSError, RuntimeError, TypeError, pickle.UnpicklingError) as error:
        advice = f"({reason(error)}). Set weights to none, or to the path of a file of torchvision's weights for it."
        raise ValueError(f"weights is {weights}, but none can be had for {name} {advice}") from error


def build_network(
    name: str,
    *,
    images: Tensor | Sized,
    num_classes: int,
    width: int,
    generator: torch.Generator,
    weights: str = "none",
    frozen_blocks: int = 0,
) -> EmbeddingNetwork:
    """Make a network of a name that ``Settings.network`` may have; the generator gives the seed of its weights.

    The mean and deviation of the training images scale every image that comes in; for image files, and with weights
    made elsewhere (torchvision's of ImageNet, or a file's), ImageNet's do.
    """
    if name.startswith(backbones.PREFIX):
        with lent(generator):
            model = backbones.backbone(name, weights)
            head = nn.Linear(int(str(model.num_features)), num_classes)
        mean, deviation = backbones.scale_of(model)
        if frozen_blocks:  # what stands behind them, for maps
            model = backbones.cut_behind(model, frozen_blocks, name)[1]
            mean, deviation = torch.zeros(()), torch.ones(())
        return EmbeddingNetwork(nn.Sequential(model, nn.Flatten()), head, mean=mean, deviation=deviation)
    known = ", ".join((*MAKERS, *RESNETS))
    require(name in MAKERS or name in RESNETS, f"network must be one of {known}, but it is {name!r}.")
    told = f"weights is {weights}, but network {name} starts from fresh weights; set weights to none."
    require(weights == "none" or name in RESNETS, told)
    channels = images.shape[1] if isinstance(images, Tensor) else 3
    with lent(generator):
        try:
            embed, features = resnet(name, channels, weights) if name in RESNETS else MAKERS[name](channels, width)
            head = nn.Linear(features, num_classes)
        except (MemoryError, OverflowError, RuntimeError, TypeError) as error:
            told = f"width {width} makes network {name} larger than memory ({reason(error)}). Lower width."
            raise ValueError(told) from error
    mean, deviation = (torch.tensor(x).view(-1, 1, 1) for x in (IMAGENET_MEAN, IMAGENET_DEVIATION))
    if isinstance(images, Tensor) and weights == "none":
        mean, deviation = channel_statistics(images)
    return EmbeddingNetwork(embed, head, mean=mean, deviation=deviation)


def channel_statistics(images: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and deviation of each channel of (N, C, H, W) images, (C, 1, 1), or of (N, D) points, (D,)."""
    sample, others = images[:10_000].float(), [dim for dim in range(images.ndim) if dim != 1]
    shape = (-1,) + (1,) * (images.ndim - 2)
    return sample.mean(dim=others).view(shape), sample.std(dim=others).clamp(min=1e-6).view(shape)


def require_fit(network: EmbeddingNetwork, name: str, images: Tensor | Sized) -> None:
    """A ValueError if the network of that name cannot take these images or points."""
    points = isinstance(images, Tensor) and images.ndim == 2
    told = "takes points, and the data are images: set it to small_cnn, say"
    require(points or name != "mlp", f"network mlp {told}.")
    require(not points or name == "mlp", f"network {name} takes images, and the data are points: set it to mlp.")
    if isinstance(images, Tensor) and len(images):
        network.eval()
        try:
            network(images[:1])
        except RuntimeError as error:
            told = f"network {name} does not fit data of shape {tuple(images.shape[1:])} ({reason(error)})"
            raise ValueError(f"{told}. All need the same size and channels, CNNs at least 8 pixels a side.") from error
        network.train()


def prepare(network: EmbeddingNetwork, settings: Settings) -> EmbeddingNetwork:
    """Ready a network for the precision, memory layout and compilation that the settings ask for, in place."""
    device = next(network.parameters()).device
    network.in_bfloat16 = uses_bfloat16(settings, device)
    network.channels_last = network.in_bfloat16 or settings.network.startswith(("resnet", "timm:"))
    if network.channels_last:
        network.to(memory_format=torch.channels_last)
    if settings.compile:
        network.compile()
    return network


def uses_bfloat16(settings: Settings, device: torch.device | str) -> bool:
    """What ``precision`` comes to on a device; a ValueError where it cannot be had."""
    if settings.precision == "float32":
        return False
    able = has_bfloat16(device)
    if settings.precision == "bfloat16" and not able:
        raise ValueError(f"precision is bfloat16, but this {torch.device(device).type} is not made for it; set auto.")
    return able and (settings.precision == "bfloat16" or settings.network.startswith("resnet"))


def has_bfloat16(device: torch.device | str) -> bool:
    """Whether a device multiplies in bfloat16 by itself, without emulation."""
    kind = torch.device(device).type
    if kind == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if kind != "cpu" or not hasattr(torch.cpu, "get_capabilities"):
        return False
    able = torch.cpu.get_capabilities()
    return any(able.get(name, False) for name in ("avx512_bf16", "amx_bf16", "bf16", "sve_bf16"))
