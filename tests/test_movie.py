"""The animated picture of lesson 03: every correction is in it, and the README shows what the lesson made."""

import re
import xml.etree.ElementTree as ElementTree

from dsl_lessons import toy
from dsl_lessons.movie import movie

from dsl_teach import Settings
from tools.movie import FIGURE, saved_movie


def test_every_point_and_prototype_is_drawn_and_each_correction_has_its_words():
    data = toy.noisy_clusters(seed=0, noise_rate=0.4, samples_per_class=20)
    shown = movie(data, Settings(network="mlp", width=8, p=2, epochs=4, correction_start=2, learning_rate_drop=0))
    tree = ElementTree.fromstring(shown.svg)
    assert len(tree.findall("{*}circle")) == 60
    assert len(tree.findall("{*}path")) == 3 * 2
    words = [text.text for text in tree.findall("{*}text")]
    assert words[0] == "given labels: 60% right"
    assert [re.findall(r"epoch (\d)", text) for text in words[1:]] == [["2"], ["3"], ["4"]]


def test_the_readme_shows_the_picture_of_the_lesson():
    assert FIGURE.read_text(encoding="utf-8") == saved_movie()
    assert FIGURE.stat().st_size < 500_000
