"""Out of memory: say which setting to halve, and about what that would save."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

Function = TypeVar("Function", bound=Callable[..., Any])

PHRASES = ("out of memory", "can't allocate memory", "cannot allocate memory", "not enough memory")


class OutOfMemory(RuntimeError):
    """There was not enough memory; the sentence says which setting to halve."""


def halve_on_out_of_memory(setting: str) -> Callable[[Function], Function]:
    """Turn a failed allocation inside a function into advice.

    Args:
        setting: ``"batch_size"`` for a function ``f(network, batches, ...)``, ``"m"`` for one
            ``f(embeddings, ..., m=...)``.
    """
    estimates: dict[str, Callable[..., str]] = {"batch_size": _batch_size_advice, "m": _m_advice}
    estimate = estimates[setting]

    def decorate(function: Function) -> Function:
        @functools.wraps(function)
        def guarded(*args: Any, **kwargs: Any) -> Any:
            try:
                return function(*args, **kwargs)
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
                where, advice = _WORDS[function.__name__], estimate(*args, **kwargs)
                raise OutOfMemory(f"Out of memory in {where}. {advice} ({_brief(error)})") from error

        return guarded  # type: ignore[return-value]

    return decorate


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory could not be had, on a GPU or a CPU."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and any(phrase in str(error).lower() for phrase in PHRASES)


def activation_bytes(network: nn.Module, images: Tensor) -> int:
    """About how much memory one sample's layer outputs take, found by sending one sample through.

    Args:
        network: any network; its mode and statistics are left as they are.
        images: at least one image, (B, ...).
    """
    sizes: list[int] = []

    def count(module: nn.Module, given: Any, output: Any) -> None:
        if isinstance(output, Tensor) and not any(module.children()):
            sizes.append(output.numel() * output.element_size())

    hooks = [module.register_forward_hook(count) for module in network.modules()]
    was_training = network.training
    try:
        with torch.inference_mode():
            network.eval()(images[:1])
    finally:
        network.train(was_training)
        for hook in hooks:
            hook.remove()
    return sum(sizes)


def _batch_size_advice(network: nn.Module, batches: Any, *args: Any, **kwargs: Any) -> str:
    size = batches.batch_size
    try:
        images = next(iter(batches.in_order())).images
        saved = activation_bytes(getattr(network, "module", network), images) * (size - size // 2)
        saving = f"about {in_words(saved)} of layer outputs"
    except (RuntimeError, MemoryError):
        saving = "about half of the memory that grows with it"
    return f"Halve batch_size, {size} now: that would save {saving}."


def _m_advice(embeddings: Tensor, *args: Any, m: int, **kwargs: Any) -> str:
    copies, entry = 4, 4  # S, its comparison with S_c, what eta masks, and sorting; float32
    return f"Halve m, {m} now: that would save about {in_words(copies * entry * m * m * 3 // 4)} of similarities."


def in_words(size: float) -> str:
    """Bytes as people read them."""
    for unit in ("bytes", "KiB", "MiB"):
        if size < 1024:
            return f"{size:.0f} {unit}"
        size /= 1024
    return f"{size:.1f} GiB"


def _brief(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200]


_WORDS = {
    "train_epoch": "the training phase",
    "embed": "the correction phase, while embedding",
    "evaluate": "the evaluation",
    "choose_prototypes": "the correction phase, while choosing prototypes",
}
