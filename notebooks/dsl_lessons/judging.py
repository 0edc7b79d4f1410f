"""How a reader's function is judged: against the library, then against each usual mistake, and told in a sentence."""

from __future__ import annotations

import html
import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from dsl_lessons.mistakes.mistake import Mistake

TOLERANCE = 1e-4
Function = Callable[..., Any]
Inputs = Sequence[dict[str, Any]]


@dataclass(frozen=True, repr=False)
class Verdict:
    """Whether a function is right, and a sentence for whoever wrote it."""

    right: bool
    sentence: str

    def __str__(self) -> str:
        return f"{'Right.' if self.right else 'Not yet.'} {self.sentence}"

    __repr__ = __str__

    def _repr_html_(self) -> str:
        colour = "#1b7f5c" if self.right else "#c4452f"
        head, text = ("Right.", "Not yet.")[not self.right], html.escape(self.sentence)
        style = f"border-left: 4px solid {colour}; padding: 0.4em 0.8em; max-width: 60em"
        return f'<div style="{style}"><b style="color: {colour}">{head}</b> {text}</div>'


def judge(
    f: Function,
    library: Function,
    inputs: Inputs,
    table: Sequence[Mistake],
    *,
    prepare: Callable[[Any], Tensor | str] | None = None,
) -> Verdict:
    """Compare a reader's function with the library's and, where they differ, with each usual mistake.

    Args:
        f: the reader's function.
        library: the right one.
        inputs: arguments by name, the easiest to read first.
        table: the usual mistakes.
        prepare: turns an answer into a tensor, or into a sentence if that cannot be.
    """
    prepare = prepare or _numbers
    answers: list[Tensor] = []
    rights = [_as_tensor(_call(library, given)) for given in inputs]
    rights = [answer.sort().values for answer in rights] if prepare is row_numbers else rights
    for given in inputs:
        answer = _answer(f, given, prepare)
        if isinstance(answer, str):
            return Verdict(False, answer)
        answers.append(answer)
    if _all_close(answers, rights):
        return Verdict(True, f"It agrees with the library on {len(inputs)} inputs, hostile ones among them.")
    for mistake in table:
        if _all_close(answers, [_prepared(prepare, _call(mistake.wrong, given)) for given in inputs]):
            return Verdict(False, mistake.sentence)
    return Verdict(False, _first_difference(inputs, answers, rights))


def _answer(f: Function, given: dict[str, Any], prepare: Callable[[Any], Tensor | str]) -> Tensor | str:
    try:
        answer = _call(f, given)
    except NotImplementedError:
        return "Nothing is written here yet. Replace the line with “raise” by your own."
    except Exception as error:
        return (
            f"It stopped with {type(error).__name__}: {_short(str(error) or 'no more is said')} Tried: {_tell(given)}."
        )
    if answer is None or answer is ...:
        return "It returned nothing (None). Write your formula, and end with “return”."
    return prepare(answer)


def _call(f: Function, given: dict[str, Any]) -> Any:
    """Arguments by place, so that the reader may name them freely; p and eta_max by name, as in the library."""
    copies = {name: value.clone() if isinstance(value, Tensor) else value for name, value in given.items()}
    by_name = {name: copies.pop(name) for name in ("p", "eta_max") if name in copies}
    try:
        inspect.signature(f).bind(*copies.values(), **by_name)
    except TypeError:
        raise TypeError(f"it must take the arguments ({', '.join(given)}).") from None
    except ValueError:  # a function without a signature, written in C: just try
        pass
    return f(*copies.values(), **by_name)


def _numbers(answer: Any) -> Tensor | str:
    try:
        return _as_tensor(answer)
    except (TypeError, ValueError, RuntimeError):
        return f"It returned {_kind(answer)}, which is not a tensor of numbers."


def row_numbers(answer: Any) -> Tensor | str:
    """The rows that an answer names, in ascending order: which were chosen counts, not in which order."""
    numbers = _numbers(answer)
    if isinstance(numbers, str):
        return numbers
    raw = torch.as_tensor(answer)
    if raw.dtype == torch.bool:
        return "It returned a mask of True and False. Return the row numbers, with .nonzero().flatten() for instance."
    if raw.numel() and (raw.is_floating_point() and not bool((raw == raw.round()).all())):
        return "It returned numbers that are not whole: row numbers are wanted, as argsort gives them."
    return numbers.flatten().sort().values


def _prepared(prepare: Callable[[Any], Tensor | str], answer: Any) -> Tensor:
    ready = prepare(answer)
    assert isinstance(ready, Tensor)
    return ready


def _as_tensor(answer: Any) -> Tensor:
    return torch.as_tensor(answer).detach().cpu().double()


def _all_close(ours: Sequence[Tensor], theirs: Sequence[Tensor]) -> bool:
    return all(
        a.shape == b.shape and torch.allclose(a, b, atol=TOLERANCE, rtol=0, equal_nan=True)
        for a, b in zip(ours, theirs, strict=True)
    )


def _first_difference(inputs: Inputs, answers: Sequence[Tensor], rights: Sequence[Tensor]) -> str:
    """The first input on which the answers differ: shapes, NaN, or the first number that is another."""
    for given, answer, right in zip(inputs, answers, rights, strict=True):
        if answer.shape != right.shape:
            hint = " Is it transposed?" if answer.ndim == 2 and answer.T.shape == right.shape else ""
            return f"It returned {_shape(answer)}, but should return {_shape(right)}.{hint} For {_tell(given)}."
        if bool((answer.isnan() & ~right.isnan()).any()):
            return f"The answer holds NaN. Is something divided by 0? For {_tell(given)}."
        if not _all_close([answer], [right]):
            place = int(((answer - right).abs() > TOLERANCE).flatten().nonzero()[0])
            where = "" if right.ndim == 0 else f" at place {_place(place, right)}"
            ours, theirs = answer.flatten()[place], right.flatten()[place]
            return f"For {_tell(given)}: you say {_show(ours)}{where}, and {_show(theirs)} is right."
    raise AssertionError("the answers do not differ")


def _shape(answer: Tensor) -> str:
    if answer.ndim == 0:
        return "a single number"
    return f"{len(answer)} numbers" if answer.ndim == 1 else f"a tensor of shape {tuple(answer.shape)}"


def _place(place: int, right: Tensor) -> str:
    return str(place) if right.ndim == 1 else f"[{place // right.shape[1]}, {place % right.shape[1]}]"


def _tell(given: dict[str, Any]) -> str:
    return ", ".join(f"{name} = {_show(value)}" for name, value in given.items())


def _show(value: Any) -> str:
    """Numbers with at most three decimals, without trailing zeros."""
    if isinstance(value, Tensor):
        return _show(value.tolist())
    if isinstance(value, list):
        return "[" + ", ".join(_show(entry) for entry in value) + "]"
    return f"{value:.3f}".rstrip("0").rstrip(".") if isinstance(value, float) else str(value)


def _kind(answer: Any) -> str:
    name = type(answer).__name__
    return f"{'an' if name[0] in 'aeiou' else 'a'} {name}"


def _short(text: str) -> str:
    line = text.strip().splitlines()[0][:200]
    return line if line.endswith(".") else line + "."
