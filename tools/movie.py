"""Take the animated picture of lesson 03 into docs/figures, where the README shows it: ``python tools/movie.py``."""

from __future__ import annotations

from pathlib import Path

import nbformat

ROOT = Path(__file__).parents[1]
LESSON, FIGURE = ROOT / "notebooks" / "03_the_self_learning_loop.ipynb", ROOT / "docs" / "figures" / "epochs.svg"


def saved_movie() -> str:
    """The animated SVG among the saved outputs of the lesson."""
    outputs = [output for cell in nbformat.read(LESSON, as_version=4).cells for output in cell.get("outputs", [])]
    pictures: list[str] = [output.get("data", {}).get("image/svg+xml", "") for output in outputs]
    return next(picture for picture in pictures if "@keyframes" in picture)


if __name__ == "__main__":
    FIGURE.write_text(saved_movie(), encoding="utf-8")
