"""Networks F = f o G that return ``(logits, embeddings)``: G gives the embedding, f is the last layer."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn


class EmbeddingNetwork(nn.Module):
    """A network in two parts, so that its embeddings can be had beside its logits.

    Images come in as they are stored (uint8, or points); the network scales them by the mean and deviation of the
    training set, which travel with its weights.
    """

    mean: Tensor
    deviation: Tensor

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
        """Logits and embeddings.

        Args:
            images: (B, C, H, W) uint8, or (B, D) points.

        Returns:
            Logits F(x), (B, K), and embeddings G(x), (B, D).
        """
        embeddings = self.embed((images.to(self.mean.dtype) - self.mean) / self.deviation)
        return self.head(embeddings), embeddings


def small_cnn(channels: int, width: int) -> tuple[nn.Module, int]:
    """Three convolutions with batch norm, two poolings and a mean over the image: for 8 to 32 pixels.

    Returns:
        G, and the number of its features.
    """
    widths = (channels, width, 2 * width, 4 * width)
    layers: list[nn.Module] = []
    for inside, outside in pairwise(widths):
        layers += [nn.Conv2d(inside, outside, 3, padding=1, bias=False), nn.BatchNorm2d(outside), nn.ReLU()]
        layers += [nn.MaxPool2d(2)] if outside != widths[-1] else [nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    return nn.Sequential(*layers), widths[-1]


def mlp(features: int, width: int) -> tuple[nn.Module, int]:
    """Two hidden layers, for points in the plane.

    Returns:
        G, and the number of its features.
    """
    layers = nn.Sequential(nn.Linear(features, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU())
    return layers, width


def build_network(
    name: str, *, images: Tensor, num_classes: int, width: int, generator: torch.Generator
) -> EmbeddingNetwork:
    """Make a network with fresh weights.

    Args:
        name: ``"small_cnn"`` for images or ``"mlp"`` for points.
        images: the training images; their mean and deviation a channel scale every image that comes in.
        num_classes: K.
        width: channels of the first layer.
        generator: the seed of the weights is drawn from it.

    Raises:
        ValueError: if there is no network of that name.
    """
    makers = {"small_cnn": small_cnn, "mlp": mlp}
    if name not in makers:
        raise ValueError(f"network must be one of {', '.join(makers)}, but it is {name!r}.")
    with torch.random.fork_rng(devices=[]):  # layers draw their weights from torch's global generator: lend it ours
        torch.manual_seed(int(torch.randint(2**62, (), generator=generator)))
        embed, features = makers[name](images.shape[1], width)
        head = nn.Linear(features, num_classes)
    mean, deviation = channel_statistics(images)
    return EmbeddingNetwork(embed, head, mean=mean, deviation=deviation)


def channel_statistics(images: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of each channel, shaped to be broadcast over a batch.

    Args:
        images: (N, C, H, W) or (N, D).

    Returns:
        Two tensors, (C, 1, 1) or (D,).
    """
    others = [dim for dim in range(images.ndim) if dim != 1]
    sample = images[:10_000].float()
    shape = (-1,) + (1,) * (images.ndim - 2)
    mean, deviation = sample.mean(dim=others), sample.std(dim=others)
    return mean.view(shape), deviation.clamp(min=1e-6).view(shape)
