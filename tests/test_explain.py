"""Why a label was changed: scores and cosines by hand, labels by epoch, sentences, and the figure."""

import dataclasses
import io

import pytest
import torch
from dsl_lessons import explain
from dsl_lessons.figures import plain
from matplotlib.figure import Figure
from matplotlib.text import Text

from dsl_teach import NoisyDataset, Settings, run
from dsl_teach.prototypes import best_class, cosine_similarity

QUICK = Settings(width=4, epochs=4, correction_start=2, p=3)


@pytest.fixture(scope="module")
def history():
    return explain.LabelHistory()


@pytest.fixture(scope="module")
def fitted(history):
    return run(QUICK, callbacks=[history])


@pytest.fixture(scope="module")
def sight(fitted):
    return explain.sight_of(fitted)


def colour_images(**changes) -> NoisyDataset:
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (64, 3, 32, 32), dtype=torch.uint8, generator=generator)
    labels = torch.arange(40) % 4
    names = ("T-Shirt", "$5 & <b>", "a_very_long_name_of_a_class", "Dress")
    parts = {"images": pixels[:40], "noisy_labels": labels, "test_images": pixels[40:], "test_labels": labels[:24]}
    return NoisyDataset(**({"name": "colours", "class_names": names} | parts | changes))


def words_of(figure: Figure) -> list[str]:
    figure.savefig(io.BytesIO(), format="png", dpi=40)  # it can be drawn
    return [text.get_text() for text in figure.findobj(Text)]


def test_a_vote_is_the_cosines_to_the_prototypes_and_their_mean_the_score(fitted, sight):
    prototypes = fitted.result.correction.prototypes
    for label in range(10):
        found = explain.vote(sight, 7, label)
        rows = torch.cat([sight.embeddings[7:8], prototypes.embeddings[label]])
        by_index = dict(zip(prototypes.index[label].tolist(), cosine_similarity(rows)[0, 1:].tolist(), strict=True))
        assert [by_index[i] for i in found.index.tolist()] == pytest.approx(found.cosines.tolist(), abs=1e-6)
        assert found.cosines.tolist() == sorted(found.cosines.tolist(), reverse=True)
        assert float(found.cosines.mean()) == pytest.approx(float(sight.class_scores[7, label]), abs=1e-6)


WAYS = ("density_peaks", "class_means", "random", "neighbours", "head", "leave_one_out")


@pytest.mark.parametrize(("option", "value"), [("averaged_weights", 0.9), *(("correct_by", way) for way in WAYS)])
def test_every_way_to_correct_can_be_explained_and_drawn(option, value):
    fitted = run(QUICK.replace(**{option: value}))
    seen, labels, changed = explain.sight_of(fitted), fitted.result.correction.labels, 0
    for sample in range(0, 400, 40):
        found = explain.explain(fitted, sample, seen)
        assert found.noisy_label == int(fitted.data.noisy_labels[sample])
        was_changed = found.corrected_label != found.noisy_label
        assert ("was changed to" in explain.in_words(found, fitted.data.class_names)) == was_changed
        assert found.corrected_label == int(labels[sample])
        assert (found.margin < 0) == was_changed
        assert not was_changed or found.rival.label == found.corrected_label
        changed += was_changed
        if found.given.chosen:
            score = float(found.class_scores[found.noisy_label])
            assert float(found.given.cosines.mean()) == pytest.approx(score, abs=1e-5)
        else:
            assert value in ("neighbours", "head", "leave_one_out")
            assert set(fitted.data.noisy_labels[found.given.index].tolist()) == {found.noisy_label}
            cosines = cosine_similarity(seen.embeddings)[sample].index_fill(0, torch.tensor(sample), -2)
            others = cosines[fitted.data.noisy_labels == found.noisy_label].sort(descending=True).values
            assert found.given.cosines.tolist() == pytest.approx(others[: explain.NEAREST].tolist(), abs=1e-5)
    assert changed > 0
    assert words_of(explain.explanation_figure(fitted.data, found))


def test_the_most_doubtful_come_first_and_their_labels_end_with_the_corrected_one(fitted, sight, history):
    assert sorted(history.labels) == [2, 3, 4]
    shares = [float((history.labels[e] != fitted.data.noisy_labels).double().mean()) for e in (2, 3)]
    assert shares == pytest.approx([record.changed for record in fitted.result.history[2:]])
    by_hand = {2: torch.tensor([5, 1]), 4: torch.tensor([5, 3])}
    assert explain.labels_by_epoch(by_hand, 1, 7, epochs=5) == (7, 7, 1, 1, 3, 3)
    found = [explain.explain(fitted, i, sight, history=history.labels) for i in explain.most_doubtful(fitted, sight)]
    margins = [one.margin for one in found]
    assert margins == sorted(margins)
    assert max(margins) < 0
    for one in found:
        first, second, *_, last = one.labels
        assert (first, second, last) == (one.noisy_label, one.noisy_label, one.corrected_label)
        assert len(one.labels) == 5


def test_a_run_without_correction_is_explained_by_prototypes_chosen_now():
    plain_run = run(QUICK.replace(alpha=0.0, epochs=1))
    found = explain.explain(plain_run, 3, explain.sight_of(plain_run))
    assert found.corrected_label == int(best_class(found.class_scores[None], torch.tensor([found.noisy_label]))[0])
    assert found.labels == (found.noisy_label,) * 2
    with pytest.raises(ValueError, match="sample must be from 0 to"):
        explain.explain(plain_run, len(plain_run.data), explain.sight_of(plain_run))


@pytest.mark.parametrize("clean", [None, torch.zeros(40, dtype=torch.int64) - 1, torch.arange(40) % 4])
def test_the_figure_of_a_colour_image_whatever_its_classes_are_called(clean):
    fitted = run(QUICK.replace(epochs=3, correction_start=1), colour_images(clean_labels=clean))
    for sample in (1, 2):
        found = explain.explain(fitted, sample, explain.sight_of(fitted))
        words = words_of(explain.explanation_figure(fitted.data, found, prototypes=2, classes=2))
        assert any(plain(fitted.data.class_names[found.noisy_label]) in text for text in words)
        is_known = clean is not None and int(clean[sample]) >= 0
        assert (found.clean_label is not None) == is_known
        assert ("The true label is" in explain.in_words(found, fitted.data.class_names)) == is_known


def test_a_prototype_is_its_own_witness_and_a_mislabelled_one_is_shown_as_such(fitted, sight):
    data, prototypes = fitted.data, fitted.result.correction.prototypes
    own = explain.explain(fitted, int(prototypes.index[0, 0]), sight)
    assert "1.00\nitself" in words_of(explain.explanation_figure(data, own))
    truth = data.clean_labels.clone()
    truth[prototypes.index[0]] = 9
    told = explain.explanation_figure(dataclasses.replace(data, clean_labels=truth), own)
    assert any(text.endswith("\nis 9") for text in words_of(told))
