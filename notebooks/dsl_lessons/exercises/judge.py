"""How a reader's function is judged: against the library, then against each usual mistake, and told in a sentence."""

from __future__ import annotations

import copy
import html
import inspect
import traceback
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import yaml
from torch import Tensor

TOLERANCE = 1e-4
Function = Callable[..., Any]
Wrong = Mapping[str, Function]
"""Mistake -> a function that makes it, in brackets another way to make it. Wrong on purpose: nothing else may use them."""
Told = list[tuple[str, Function]]
SENTENCES = yaml.safe_load((Path(__file__).parent / "mistakes.yaml").read_text(encoding="utf-8"))
"""Exercise -> mistake -> what to tell whoever made it."""
Inputs = dict[str, Any]
"""Arguments by name."""


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


class NoAnswer(Exception):
    """What a function returned cannot be compared; the sentence says why."""


def told(exercise: str, wrong: Wrong) -> Told:
    """The mistakes of an exercise with their sentences, in place of their names; what is in brackets does not count."""
    return [(SENTENCES[exercise][name.partition(" (")[0]], f) for name, f in wrong.items()]


def judge(
    f: Function,
    library: Function,
    cases: Sequence[tuple[Any, ...]],
    mistakes: Told,
    *,
    read: Callable[[Any], Tensor] | None = None,
    differ: Callable[[Sequence[Tensor], Sequence[Tensor]], str] | None = None,
) -> Verdict:
    """Compare a reader's function with the library's and, where they differ, with each usual mistake.

    Args:
        f: the reader's function.
        library: the right one.
        cases: the first arguments of ``library``, the case that is easiest to read first; lists become tensors.
        mistakes: the usual ones, and what to tell whoever makes them. One may stop on some inputs, as the reader's may.
        read: turns what a function returns into a tensor, or raises :class:`NoAnswer`; by default :func:`numbers`.
        differ: says of answers and right answers where they differ; by default on which input, and by which number.
    """
    read = read or numbers
    inputs = [_named(library, case) for case in cases]
    rights = [read(_call(library, given)) for given in inputs]
    answers, whys = _tried(f, inputs, read)
    if _all_close(answers, rights):
        return Verdict(True, f"It agrees with the library on {len(inputs)} inputs, edge cases included.")
    for sentence, wrong in mistakes:
        if not all(whys) and _all_close(answers, _tried(wrong, inputs, read)[0]):
            return Verdict(False, sentence)
    if any(whys):
        return Verdict(False, next(filter(None, whys)))
    if _all_close(answers, [100 * right for right in rights]):
        return Verdict(False, "You returned per cent: return shares, from 0 to 1.")
    if differ:
        return Verdict(False, differ(answers, rights))
    unused = [f"Your answer does not depend on {name}. Is a number in its place? " for name in inputs[0]
              if _depends(library, name, inputs, read) and not _depends(f, name, inputs, read)]  # fmt: skip
    return Verdict(False, "".join(unused) + _first_difference(inputs, answers, rights))


def _tried(f: Function, inputs: Sequence[Inputs], read: Callable[[Any], Tensor]) -> tuple[list[Tensor], list[str]]:
    """The answer to each input, and why there is none: the answer is then empty."""
    answers, whys = [], []
    for given in inputs:
        why, answer = "", torch.empty(0)
        try:
            answer = _answer_of(f, given, read)
        except NoAnswer as reason:
            why = str(reason)
        answers.append(answer)
        whys.append(why)
    return answers, whys


def _depends(f: Function, name: str, inputs: Sequence[Inputs], read: Callable[[Any], Tensor]) -> bool:
    """Whether another input's number in place of the first input's changes the answer; tensors are not tried."""
    if not isinstance(inputs[0][name], int | float):
        return False
    answers, _ = _tried(f, [{**inputs[0], name: given[name]} for given in inputs], read)
    return not _all_close(answers, answers[:1] * len(answers))


def _named(library: Function, case: tuple[Any, ...]) -> Inputs:
    """The arguments of a case by the names that they have in the library."""
    names = list(inspect.signature(library).parameters)
    return {name: torch.tensor(x) if isinstance(x, list) else x for name, x in zip(names, case, strict=False)}


def _call(f: Function, given: Inputs) -> Any:
    """Arguments by place, so that the reader may name them freely; p and eta_max by name, as in the library.

    :class:`NoAnswer` if the function writes into one of them: the caller's data would be changed.
    """
    copies = copy.deepcopy(given)
    tensors = [(name, value) for name, value in copies.items() if isinstance(value, Tensor)]
    by_name = {name: copies.pop(name) for name in ("p", "eta_max") if name in copies}
    require_arguments(f, given, *copies.values(), **by_name)
    answer = f(*copies.values(), **by_name)
    for name, value in tensors:
        if not torch.equal(value, given[name]):
            raise NoAnswer(f"It changes its argument {name} in place. Work on a copy: {name}.clone().")
    return answer


def require_arguments(f: Function, names: Iterable[str], *by_place: Any, **by_name: Any) -> None:
    """A TypeError that names the arguments if a function does not take these."""
    try:
        inspect.signature(f).bind(*by_place, **by_name)
    except TypeError:
        raise TypeError(f"it must take the arguments ({', '.join(names)}).") from None
    except ValueError:  # a function without a signature, written in C: just try
        pass


def _answer_of(f: Function, given: Inputs, read: Callable[[Any], Tensor]) -> Tensor:
    """What a reader's function returns, as a tensor; :class:`NoAnswer` if there is nothing to compare."""
    try:
        answer = _call(f, given)
    except NoAnswer:
        raise
    except Exception as error:
        last = traceback.extract_tb(error.__traceback__)[-1].line or "raise"
        if isinstance(error, NotImplementedError) and last.startswith("raise"):  # torch raises it too, elsewhere
            raise NoAnswer("Nothing is written here yet. Replace the line with “raise” by your own.") from None
        line = (str(error).strip() or "no more is said").splitlines()[0][:200].removesuffix(".")
        raise NoAnswer(f"It stopped with {type(error).__name__}: {line}. Tried: {_told(given)}.") from error
    return read(answer)


def numbers(answer: Any) -> Tensor:
    """An answer as a tensor of float64: tensors, arrays, lists and single numbers will do."""
    if answer is None or answer is ...:
        raise NoAnswer("It returned nothing (None). Write your formula, and end with “return”.")
    try:
        return torch.as_tensor(answer).detach().cpu().double()
    except (TypeError, ValueError, RuntimeError):
        kind = type(answer).__name__
        article = "an" if kind[0] in "aeiou" else "a"
        raise NoAnswer(f"It returned {article} {kind}, which is not a tensor of numbers.") from None


def row_numbers(answer: Any) -> Tensor:
    """The rows that an answer names, in ascending order: which were chosen counts, not in which order."""
    rows = numbers(answer)
    if torch.as_tensor(answer).dtype == torch.bool:
        raise NoAnswer(
            "It returned a mask of True and False. Return the row numbers, with .nonzero().flatten() for instance."
        )
    if not bool((rows == rows.round()).all()):
        raise NoAnswer("It returned numbers that are not whole: row numbers are wanted, as argsort gives them.")
    return rows.flatten().sort().values


def given(rows: Tensor, labels: Tensor) -> Tensor:
    """(N,) the entry of each row, of (N, K), that its label names."""
    return rows.gather(1, labels[:, None]).squeeze(1)


def _all_close(ours: Sequence[Tensor], theirs: Sequence[Tensor]) -> bool:
    return all(
        a.shape == b.shape and torch.allclose(a, b, atol=TOLERANCE, rtol=0, equal_nan=True)
        for a, b in zip(ours, theirs, strict=True)
    )


def _first_difference(inputs: Sequence[Inputs], answers: Sequence[Tensor], rights: Sequence[Tensor]) -> str:
    """The first input on which the answers differ: shapes, NaN, or the first number that is another."""
    for given, answer, right in zip(inputs, answers, rights, strict=True):
        if answer.shape != right.shape:
            hint = " Is it transposed?" if answer.ndim == 2 and answer.T.shape == right.shape else ""
            return f"It returned {_shape(answer)}, but should return {_shape(right)}.{hint} For {_told(given)}."
        if bool((answer.isnan() & ~right.isnan()).any()):
            return f"The answer holds NaN. Is something divided by 0? For {_told(given)}."
        if not _all_close([answer], [right]):
            place = int(((answer - right).abs() > TOLERANCE).flatten().nonzero()[0])
            at = [place] if right.ndim < 2 else list(divmod(place, right.shape[1]))
            where = "" if right.ndim == 0 else f" at place {at if right.ndim > 1 else place}"
            ours, theirs = answer.flatten()[place], right.flatten()[place]
            return f"For {_told(given)}: you say {_short(ours)}{where}, and {_short(theirs)} is right."
    raise AssertionError("the answers do not differ")


def _shape(answer: Tensor) -> str:
    if answer.ndim == 0:
        return "a single number"
    return f"{len(answer)} numbers" if answer.ndim == 1 else f"a tensor of shape {tuple(answer.shape)}"


def _told(given: Inputs) -> str:
    return ", ".join(f"{name} = {_short(value)}" for name, value in given.items())


def _short(value: Any) -> str:
    """Numbers with at most three decimals, without trailing zeros."""
    if isinstance(value, Tensor):
        return _short(value.tolist()) if value.numel() < 50 else f"a tensor of shape {tuple(value.shape)}"
    if callable(value):
        return "a network" if isinstance(value, torch.nn.Module) else "a function"
    if isinstance(value, list):
        return "[" + ", ".join(_short(entry) for entry in value) + "]"
    return f"{value:.3f}".rstrip("0").rstrip(".") if isinstance(value, float) else str(value)
