"""Draws the images of the stand-ins: stripes and a disc in the angle and colours of a class.

Some of a neighbouring class is mixed in. The more of it there is, the likelier the label is the neighbour's: the errors
depend on the input.
"""

from __future__ import annotations

import colorsys
import io
import math
from dataclasses import dataclass

import numpy as np
from PIL import Image

SIDES = (80, 300)
"""Pixels of an image's sides, at least and at most."""


@dataclass(frozen=True)
class Drawn:
    """One drawn image."""

    true_label: int
    noisy_label: int
    doubt: float
    """How much of a neighbouring class there is, from 0 to 1; at 1, as much as of its own."""
    jpeg: bytes


class Painter:
    """Draws images and their noisy labels, the same ones for the same seed.

    Args:
        num_classes: K, at least 2.
        noise_rate: the share of wrong labels to expect, at most one half.
        seed: every image follows from it.

    Raises:
        ValueError: if a number is out of range.
    """

    def __init__(self, num_classes: int, *, noise_rate: float, seed: int):
        if num_classes < 2:
            raise ValueError(f"There must be at least 2 classes, but there are {num_classes}.")
        if not 0 <= noise_rate <= 0.5:
            raise ValueError(f"noise_rate must be a share from 0 to 0.5, but it is {noise_rate}.")
        self.num_classes, self.noise_rate = num_classes, noise_rate
        self.random = np.random.default_rng(seed)

    def draw(self, label: int, *, mode: str = "RGB") -> Drawn:
        """An image of a class as a JPEG in ``mode`` (RGB, L for gray, CMYK), and its noisy label."""
        neighbour = int((label + self.random.choice((-1, 1))) % self.num_classes)
        doubt = self.random.random()  # one half on average, so that noise_rate labels are wrong
        wrong = self.random.random() < 2 * self.noise_rate * doubt
        height, width = self.random.integers(SIDES[0], SIDES[1] + 1, size=2).tolist()
        pixels = self._picture(label, height, width)
        pixels += doubt / 2 * (self._picture(neighbour, height, width) - pixels)
        return Drawn(label, neighbour if wrong else label, doubt, self._jpeg(pixels, mode))

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

    def _jpeg(self, pixels: np.ndarray, mode: str) -> bytes:
        grain = self.random.integers(0, 25, size=pixels.shape, dtype=np.uint8)
        image = Image.fromarray(pixels.astype(np.uint8) + grain).convert(mode)
        data = io.BytesIO()
        image.save(data, "JPEG", quality=90)
        return data.getvalue()
