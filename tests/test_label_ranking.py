"""Rankings of doubtful labels: cleanlab's scores, networks that never saw the sample, the benchmark's table."""

import dataclasses
import math
from unittest.mock import Mock

import pandas as pd
import pytest
import torch
from dsl_lessons.label_ranking import label_quality, probabilities_of
from dsl_lessons.toy import noisy_clusters
from hypothesis import given
from hypothesis import strategies as st

from benchmarks import rankings
from benchmarks.detection import ranking_table
from benchmarks.rankings import average_precision, compare_rankings, out_of_sample, snapshots
from dsl_teach import Settings, class_scores, run
from dsl_teach.data.toy import toy_clusters
from dsl_teach.metrics import interval, paired_difference
from dsl_teach.prototypes import label_margin
from dsl_teach.training.evaluation import embed
from dsl_teach.training.runs import make_batches

QUICK = Settings(dataset="toy_clusters", network="mlp", width=8, epochs=3, correction_start=1, p=2)


@pytest.fixture(scope="module")
def toys():
    return noisy_clusters(seed=0, noise_rate=0.3, samples_per_class=40)


@pytest.fixture(scope="module")
def rows(toys):
    return compare_rankings(toys, QUICK, folds=3, at=(2, 3))


@given(st.lists(st.tuples(st.floats(-3, 3), st.booleans()), min_size=1, max_size=30, unique_by=lambda one: one[0]))
def test_average_precision_equals_a_walk_down_the_list(listed):
    wrong_so_far, shares = 0, []
    for place, (_, wrong) in enumerate(sorted(listed), start=1):
        wrong_so_far += wrong
        shares += [wrong_so_far / place] * wrong
    quality = torch.tensor([number for number, _ in listed], dtype=torch.float64)
    noisy = torch.tensor([int(wrong) for _, wrong in listed])
    found = average_precision(quality, noisy, torch.zeros_like(noisy))
    assert found == pytest.approx(sum(shares) / len(shares)) if shares else math.isnan(found)


def test_equal_minus_infinite_and_missing_qualities():
    noisy, clean = torch.tensor([0, 1, 1]), torch.tensor([0, 1, 0])
    assert average_precision(torch.zeros(3), noisy, clean) == pytest.approx(1 / 3)
    assert average_precision(torch.tensor([-0.5, math.inf, -math.inf]), noisy, clean) == 1
    assert math.isnan(average_precision(torch.zeros(3), noisy, noisy))


def test_cleanlabs_scores_by_hand():
    shares, given = torch.tensor([[0.7, 0.2, 0.1], [0.7, 0.2, 0.1]]), torch.tensor([0, 2])
    assert label_quality(shares, given, "self_confidence").tolist() == pytest.approx([0.7, 0.1])
    assert label_quality(shares, given, "normalized_margin").tolist() == pytest.approx([0.75, 0.2])


def test_our_ranking_is_that_of_a_run_of_so_many_epochs(toys, rows):
    for epochs in (2, 3):
        fitted = run(QUICK.replace(epochs=epochs), toys)
        embeddings = embed(fitted.network, make_batches(toys, QUICK, "cpu")[0])
        margin = label_margin(class_scores(embeddings, fitted.result.correction.prototypes), toys.noisy_labels)
        ours = rows[(rows["network"] == "SMP") & (rows["epochs"] == epochs)]["average_precision"]
        assert ours.tolist() == [average_precision(margin, toys.noisy_labels, toys.clean_labels)]
    assert len(rows) == 2 * (3 + 3 + 2)
    assert (rows["seconds"] > 0).all()


def test_a_sample_is_judged_by_a_network_that_never_saw_it(toys, monkeypatch):
    watched, asking = Mock(side_effect=snapshots), Mock(side_effect=probabilities_of)
    monkeypatch.setattr(rankings, "snapshots", watched)
    monkeypatch.setattr(rankings, "probabilities_of", asking)
    found, _ = out_of_sample(toys, QUICK.replace(alpha=0.0), (3,), 3)[3]
    seen_by = [{tuple(point) for point in call.args[0].images.tolist()} for call in watched.call_args_list]
    asked = [{tuple(point) for point in call.args[1].images.tolist()} for call in asking.call_args_list]
    assert len(seen_by) == len(asked) == 3
    for trained_on, judged in zip(seen_by, asked, strict=True):
        assert not trained_on & judged
        assert len(trained_on | judged) == len(toys)
    assert len(set.union(*asked)) == len(toys)
    assert found.sum(dim=1).tolist() == pytest.approx([1.0] * len(toys), abs=1e-5)


def test_what_cannot_be_compared_is_refused(toys):
    for data, settings, how, sentence in (
        (dataclasses.replace(toys, clean_labels=None), QUICK, {}, "no clean labels"),
        (toys, QUICK.replace(alpha=0.0), {}, "alpha must be above 0"),
        (toys, QUICK, {"at": (0, 3)}, "at must name epochs from 1 to 3"),
        (toy_clusters(seed=0, samples_per_class=4), QUICK, {"folds": 5}, "folds must be from 2 to 4, the size"),
    ):
        with pytest.raises(ValueError, match=sentence):
            compare_rankings(data, settings, **how)


def test_the_table_is_paired_by_seed_and_epochs():
    lines = [
        {"network": network, "ranking": ranking, "epochs": epochs, "seed": seed, "seconds": 1.0 + seed, "wrong": 0.3}
        | {"average_precision": precision + 0.1 * seed + 0.01 * epochs}
        for seed in (1, 0)
        for epochs in (2, 5)
        for network, ranking, precision in (("SMP", "class scores", 0.5), ("other", "x", 0.4))
    ]
    table, ahead = ranking_table(pd.DataFrame(lines)), paired_difference([65.0, 55.0], [55.0, 45.0])
    assert table.loc[("other", "x", 5), "ahead"] == f"{ahead.mean:+.1f} ± {ahead.half:.1f}"
    assert table.loc[("SMP", "class scores", 2), "ahead"] == ""
    assert table.loc[("other", "x", 2), "average precision %"] == str(interval([52.0, 42.0]))
