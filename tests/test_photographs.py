"""Lesson 05: nearest images and labels by hand, and the picture of an own vote beside the formula."""

import io
import re

import numpy as np
import pytest
import torch
from dsl_lessons import photographs

from dsl_teach import NoisyDataset
from dsl_teach.prototypes import cosine_similarity


@pytest.fixture(scope="module")
def data():
    images = torch.randint(256, (6, 3, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    given, true = torch.tensor([0, 1, 1, 0]), torch.tensor([0, 1, 0, 1])
    return NoisyDataset("drawn", images[:4], given, ("hat", "shoe"), images[4:], torch.tensor([0, 1]), true)


def test_the_nearest_other_sample_is_no_sample_itself():
    embeddings = torch.randn(20, 5, generator=torch.Generator().manual_seed(0))
    for i, found in enumerate(photographs.nearest_others(embeddings).tolist()):
        cosines = cosine_similarity(embeddings)[i].tolist()
        assert max((cosine, j) for j, cosine in enumerate(cosines) if j != i)[1] == found


def test_the_gallery_names_true_classes(data):
    figure = photographs.nearest_gallery(data, [0, 2], {"nearest": torch.tensor([1, 2, 3, 0])})
    figure.savefig(io.BytesIO(), format="png", dpi=40)
    assert [[axes.get_title() for axes in part.axes] for part in figure.subfigs] == [["hat", "hat"], ["shoe", "shoe"]]


def test_what_scores_would_do_to_labels(data):
    scores = torch.nn.functional.one_hot(torch.tensor([0, 0, 0, 0]), 2)
    told = photographs.labels_by({"all hats": scores}, data).loc["all hats"]
    assert told.tolist() == ["50.0", "25.0", "25.0", "50.0"]


def test_the_picture_of_an_own_vote_says_what_the_formula_says():
    x, y, i = np.array([-3.0, -1, 0, 2, 4]), np.array([0.0, 0, 1, 1, 0]), 4
    rows = np.stack([x, np.ones(5)], axis=1)
    weights = rows[i] @ np.linalg.inv(rows.T @ rows) @ rows.T
    with_it = weights @ y
    without = (with_it - weights[i] * y[i]) / (1 - weights[i])
    (axes,) = photographs.own_vote(x, y, i).axes
    said = [float(re.search(r"says (-?[\d.]+)", text.get_text()).group(1)) for text in axes.get_legend().get_texts()]
    assert said == pytest.approx([with_it, without], abs=0.005)
