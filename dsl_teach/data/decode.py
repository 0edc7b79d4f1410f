"""From an image file to pixels: (3, H, W) uint8 RGB, and the two views a network sees of them."""

from __future__ import annotations

import functools
import io
import os
import stat
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import Tensor

from dsl_teach.storage import reason

LONGEST = 50
"""An image may be this many times as long as it is short; beyond, scaling its short side would fill the memory."""
MOST_PIXELS = 100_000_000
"""Of an image, by its header: decoded they take three bytes each."""
MOST_BYTES = 2**28
"""Of its file, all of which is read at once."""


class UnreadableImage(ValueError):
    """A file that cannot be turned into pixels: missing, cut off, or no image at all. The message names it."""

    def __init__(self, path: str | os.PathLike[str], reason: str):
        super().__init__(path, reason)
        self.path, self.reason = Path(path), reason

    def __str__(self) -> str:
        return (
            f"The image {self.path} cannot be read: {self.reason}. Restore the file, or run data_scripts/verify.py "
            "once: it lists such files, and the loaders leave them out."
        )


def decode_image(path: str | os.PathLike[str], *, within: str | os.PathLike[str] | None = None) -> Tensor:
    """Read an image file, whatever its format and colours: (3, H, W) uint8 RGB, channels last in memory.

    Of a moving picture the first one is taken; the camera's note on how the picture is turned is followed. Both
    decoders give the same pixels. A link is followed only if it ends in the folder ``within``.

    Raises:
        UnreadableImage: if the file is missing, cut off, no image, too large, or absurdly long and narrow.
    """
    try:
        require_image_file(path, within)
        with open(path, "rb") as file:
            return _decode(file.read())
    except Exception as error:  # each format has its own kinds
        raise UnreadableImage(path, reason_of(error)) from error


def require_image_file(path: str | os.PathLike[str], within: str | os.PathLike[str] | None = None) -> None:
    """Refuse by its name and header what must not be read: no file, outside the data folder, or too many pixels."""
    if within is not None and not leads_into(path, within):
        raise UnreadableImage(path, "a link that leads out of the data folder")
    told = os.stat(path)
    if not stat.S_ISREG(told.st_mode):  # a pipe would be waited for, and a device never ends
        raise UnreadableImage(path, "a folder, a pipe or a device, not a file")
    if told.st_size > MOST_BYTES:
        raise UnreadableImage(path, f"more than the {MOST_BYTES:,} bytes that its file may have")
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(path) as image:
            width, height = image.size
    except UnidentifiedImageError:
        raise UnreadableImage(path, "no image of a known format") from None
    except Image.DecompressionBombError:  # Pillow has a limit too, above this one
        width = height = MOST_PIXELS
    if width * height > MOST_PIXELS:
        raise UnreadableImage(path, f"more than the {MOST_PIXELS:,} pixels that an image may have")
    if max(height, width) > LONGEST * min(height, width):
        raise UnreadableImage(path, f"{width} x {height} pixels is too long and narrow")


def leads_into(path: str | os.PathLike[str], folder: str | os.PathLike[str]) -> bool:
    """Whether a path, its links followed, ends in a folder, which may be a link itself."""
    parent, name = os.path.split(path)
    real = os.path.realpath(path) if os.path.islink(path) else os.path.join(_real(os.path.abspath(parent)), name)
    return real.startswith(os.path.join(_real(os.path.abspath(folder)), ""))


@functools.lru_cache(maxsize=2**14)
def _real(folder: str) -> str:
    """A folder, its links followed: asked once for all images in it, since it takes longer than reading a header."""
    return os.path.realpath(folder)


def reason_of(error: Exception) -> str:
    """Why a file could not be read, in a few words."""
    if isinstance(error, UnreadableImage):
        return error.reason
    if isinstance(error, FileNotFoundError):
        return "missing"
    return reason(error).split(", ")[-1].rstrip(". ")  # decoders put the place in their own source first


def resize_short_side(image: Tensor, short_side: int) -> Tensor:
    """Scale a (3, H, W) uint8 image until its short side has so many pixels; one that has them stays as it is."""
    height, width = image.shape[-2:]
    short = min(height, width)
    if short == short_side:
        return image
    size = [height * short_side // short, width * short_side // short]
    channels_last = image.permute(1, 2, 0)[None].permute(0, 3, 1, 2)  # as torch sees this layout: faster
    return torch.nn.functional.interpolate(channels_last, size=size, mode="bilinear", antialias=True)[0]


def cut(image: Tensor, crop: int, draws: Sequence[float] | None = None) -> Tensor:
    """A square of side ``crop`` out of a (3, H, W) image, from the centre.

    Or by ``draws``, three numbers from [0, 1): how far down, how far right, and mirrored if below one half.
    """
    room = [side - crop for side in image.shape[-2:]]
    if draws is None:
        top, left = room[0] // 2, room[1] // 2
    else:
        top, left = (int(draw * (pixels + 1)) for draw, pixels in zip(draws, room, strict=False))
    square = image[:, top : top + crop, left : left + crop]
    return square.flip(-1) if draws is not None and draws[2] < 0.5 else square


def _decode(data: bytes) -> Tensor:
    decode = torchcodec_decoder()
    try:
        image = decode(data) if decode else _with_pillow(data)
    except ValueError:  # not a format of TorchCodec; Pillow knows more, and says so if it does not
        return _with_pillow(data)
    return image if image.ndim == 3 else image[0]


def _with_pillow(data: bytes) -> Tensor:
    import numpy as np
    from PIL import Image, ImageOps

    with Image.open(io.BytesIO(data)) as image:
        turned = ImageOps.exif_transpose(image)
        if turned.mode.startswith("I"):  # 16 bits a pixel: keep the upper eight
            turned = Image.fromarray((np.asarray(turned) >> 8).astype(np.uint8))
        return torch.from_numpy(np.array(turned.convert("RGB"))).permute(2, 0, 1)


@functools.cache
def torchcodec_decoder() -> Callable[[bytes], Tensor] | None:
    """TorchCodec's function; None where it is missing, too old to decode images, or does not load."""
    try:
        from torchcodec.decoders import decode_image as decode
    except (ImportError, OSError, RuntimeError):
        return None
    return decode
