"""What every lesson begins with: parameters that it has not are refused, and mistakes are told in a sentence."""

from __future__ import annotations

import ast
import difflib
from itertools import pairwise
from traceback import walk_tb
from types import TracebackType
from typing import Any

from dsl_teach.errors import is_users, sentence

INJECTED = "# Parameters"
"""So papermill begins the cell that it puts behind the one with the parameters."""


def begin() -> None:
    """For a lesson's first cell behind its parameters; a ValueError if papermill gave one that it has not, or a wrong kind."""
    from IPython.core.getipython import get_ipython

    shell = get_ipython()
    if shell is None:  # no notebook
        return
    shell.set_custom_exc((Exception,), _tell)
    cells = shell.user_ns["In"]
    for own, given in pairwise(cells):
        if given.startswith(INJECTED):
            _require_known(_assigned(given), _assigned(own))


def _assigned(cell: str) -> dict[str, Any]:
    """The values that a cell gives to names; what is no plain value, float('nan') say, as it is written."""

    def value(node: ast.expr) -> Any:
        try:
            return ast.literal_eval(node)
        except ValueError:
            return ast.unparse(node)

    lines = [line for line in ast.parse(cell).body if isinstance(line, ast.Assign)]
    return {target.id: value(line.value) for line in lines for target in line.targets if isinstance(target, ast.Name)}


def _require_known(given: dict[str, Any], own: dict[str, Any]) -> None:
    for name, value in given.items():
        if name not in own:
            close = difflib.get_close_matches(name, own, n=1)
            hint = f"Did you mean {close[0]}?" if close else f"They are {', '.join(own)}."
            raise ValueError(f"This notebook has no parameter {name}. {hint}")
        usual = own[name]
        kinds = (int, float) if type(usual) is float else (type(usual),)
        if usual is not None and type(value) not in kinds:
            raise ValueError(f"{name} must be of the kind of {usual!r}, but it is {value!r}.")


def _tell(shell: Any, kind: type, error: Exception, trace: TracebackType, tb_offset: int | None = None) -> None:
    """A sentence alone for a mistake that our packages name; code in a cell keeps its traceback."""
    packages = {frame.f_globals.get("__name__", "").partition(".")[0] for frame, _ in walk_tb(trace)}
    if is_users(error) and {"dsl_teach", "dsl_lessons"} & packages:
        shell._showtraceback(kind, error, [f"{kind.__name__}: {sentence(error)}"])
    else:
        shell.showtraceback((kind, error, trace), tb_offset=tb_offset)
