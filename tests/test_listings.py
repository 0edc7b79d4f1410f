"""The faulty listings: real code, one line wrong, and a check that tells which and why."""

from __future__ import annotations

from pathlib import Path

import nbformat
import pytest
from dsl_lessons import checks
from dsl_lessons.suspects import listings
from dsl_lessons.suspects.listings import LISTINGS

every = pytest.mark.parametrize("name", LISTINGS)


@every
def test_the_faulty_line_and_no_other_is_right(name):
    listing = LISTINGS[name]
    right = [line for line in range(1, len(listing.lines) + 1) if checks.check_bug((name, line)).right]
    assert right == [listing.line]
    assert listing.line not in listing.others
    assert set(listing.others) <= set(range(1, len(listing.lines) + 1))


@every
def test_mending_the_line_mends_the_effect(name):
    listing = LISTINGS[name]
    assert listing.mended not in listing.lines
    table = listings.effects().loc[name]
    assert table["as it stands"] != table["mended"]
    best = {"stored labels": 1.0, "winning class": 1.0, "features": 0.0, "division": 0.0}
    if name in best:
        assert table["mended"] == best[name]
    else:
        assert table["mended"] > table["as it stands"]


@every
def test_the_answer_says_why(name):
    listing = LISTINGS[name]
    verdict = checks.check_bug((name, listing.line))
    assert listing.reason in verdict.sentence
    assert listing.mended.strip() in verdict.sentence
    for line, why in listing.others.items():
        assert checks.check_bug((name, line)).sentence == why


@pytest.mark.parametrize(
    ("answer", "words"),
    [(("eta", 0), "No line is marked"), (("eta", 12), "lines 1 to 9"), (("eta", "2"), "lines 1 to 9"),
     (("density", 1), "The listings are"), (3, "a pair")],
)  # fmt: skip
def test_what_is_no_answer(answer, words):
    verdict = checks.check_bug(answer)
    assert not verdict.right
    assert words in verdict.sentence


@every
def test_the_lesson_shows_the_listing_as_it_is(name):
    path = Path(__file__).parent.parent / "notebooks" / "07_why_reproductions_fall_short.ipynb"
    assert any(listings.numbered(name) in cell.source for cell in nbformat.read(path, as_version=4).cells)
