"""Why a label was changed: scores and cosines by hand, labels by epoch, sentences, and the figure."""

from __future__ import annotations

import dataclasses
import io

import pytest
import torch
from dsl_lessons import why
from dsl_lessons.lessons import fit_to
from dsl_lessons.plots_why import plain
from dsl_lessons.plots_why import why as why_figure
from matplotlib.figure import Figure

from dsl_teach import NoisyDataset, Settings, load_dataset
from dsl_teach.prototypes import best_class, cosine_similarity
from dsl_teach.training.runs import run

QUICK = Settings(width=4, epochs=4, correction_start=2, p=3)


@pytest.fixture(scope="module")
def history():
    return why.LabelHistory()


@pytest.fixture(scope="module")
def fitted(history):
    return fit_to(load_dataset(QUICK), QUICK, keeper=history)


@pytest.fixture(scope="module")
def sight(fitted):
    return why.sight_of(fitted)


def colour_images(**changes) -> NoisyDataset:
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (64, 3, 32, 32), dtype=torch.uint8, generator=generator)
    labels = torch.arange(40) % 4
    names = ("T-Shirt", "$5 & <b>", "a_very_long_name_of_a_class", "Dress")
    parts = {"images": pixels[:40], "noisy_labels": labels, "test_images": pixels[40:], "test_labels": labels[:24]}
    return NoisyDataset(**({"name": "colours", "class_names": names} | parts | changes))


def drawn(figure: Figure) -> bytes:
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=40)
    return file.getvalue()


def words_of(figure: Figure) -> list[str]:
    from matplotlib.text import Text

    return [text.get_text() for text in figure.findobj(Text)]


def test_the_history_holds_the_labels_of_every_correction(fitted, history):
    assert sorted(history.labels) == [2, 3, 4]
    assert torch.equal(history.labels[4], fitted.result.correction.labels)
    shares = [float((history.labels[e] != fitted.data.noisy_labels).double().mean()) for e in (2, 3)]
    assert shares == pytest.approx([record.changed for record in fitted.result.history[2:]])


def test_a_run_folder_keeps_the_same_history(tmp_path, history):
    run(QUICK, folder=tmp_path)
    found = why.label_history(tmp_path)
    assert list(found) == [2, 3, 4]
    assert all(torch.equal(found[epoch], history.labels[epoch]) for epoch in found)
    with pytest.raises(FileNotFoundError, match="keeps no corrected labels"):
        why.label_history(tmp_path / "elsewhere")


def test_a_vote_is_the_cosines_to_the_prototypes_and_their_mean_the_score(fitted, sight):
    prototypes = fitted.result.correction.prototypes
    for label in range(10):
        found = why.vote(sight, 7, label)
        rows = torch.cat([sight.embeddings[7:8], prototypes.embeddings[label]])
        expected = cosine_similarity(rows)[0, 1:]
        by_index = dict(zip(prototypes.index[label].tolist(), expected.tolist(), strict=True))
        assert [by_index[i] for i in found.index.tolist()] == pytest.approx(found.cosines.tolist(), abs=1e-6)
        assert found.cosines.tolist() == sorted(found.cosines.tolist(), reverse=True)
        assert float(found.cosines.mean()) == pytest.approx(float(sight.class_scores[7, label]), abs=1e-6)


def test_an_explanation_agrees_with_the_correction_for_every_sample(fitted, sight):
    changed = 0
    for sample in range(0, len(fitted.data), 20):
        found = why.explain(fitted, sample, sight=sight)
        assert found.noisy_label == found.given.label == int(fitted.data.noisy_labels[sample])
        assert found.corrected_label == int(fitted.result.correction.labels[sample])
        assert found.clean_label == int(fitted.data.clean_labels[sample])
        assert found.rival.label != found.given.label
        was_changed = found.corrected_label != found.noisy_label
        assert was_changed == (found.suspicion > 0)
        assert not was_changed or found.rival.label == found.corrected_label
        changed += was_changed
    assert changed > 0


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("centred", True),
        ("whitened", True),
        ("correct_by", "class_means"),
        ("correct_by", "random"),
        ("correct_by", "neighbours"),
        ("correct_by", "head"),
        ("averaged_weights", 0.9),
        ("margin", 0.05),
    ],
)
def test_every_way_to_correct_can_be_explained_and_drawn(option, value):
    settings = QUICK.replace(**{option: value})
    fitted = fit_to(load_dataset(settings), settings)
    seen = why.sight_of(fitted)
    labels = fitted.result.correction.labels
    for sample in range(0, 400, 100):
        found = why.explain(fitted, sample, sight=seen)
        assert found.corrected_label == int(labels[sample])
        assert (found.suspicion > settings.margin) == (found.corrected_label != found.noisy_label)
        if len(found.given.index):
            assert float(found.given.cosines.mean()) == pytest.approx(
                float(found.class_scores[found.noisy_label]), abs=1e-5
            )
        else:
            assert settings.correct_by in ("neighbours", "head")
    assert len(drawn(why_figure(fitted.data, found))) > 5000


def test_labels_by_epoch_by_hand():
    history = {2: torch.tensor([5, 1]), 4: torch.tensor([5, 3])}
    assert why.labels_by_epoch(history, 1, 7, epochs=5) == (7, 7, 1, 1, 3, 3)
    assert why.labels_by_epoch({}, 1, 7, epochs=2) == (7, 7, 7)


def test_labels_of_an_explanation_end_with_the_corrected_one(fitted, sight, history):
    for sample in why.most_doubtful(fitted, 5, sight=sight).tolist():
        found = why.explain(fitted, sample, history=history.labels, sight=sight)
        assert len(found.labels) == 5
        assert found.labels[:2] == (found.noisy_label, found.noisy_label)
        assert found.labels[-1] == found.corrected_label == why.explain(fitted, sample).labels[-1]


def test_the_most_doubtful_come_first(fitted, sight):
    found = why.most_doubtful(fitted, 30, sight=sight).tolist()
    doubts = [why.explain(fitted, sample, sight=sight).suspicion for sample in found]
    assert doubts == sorted(doubts, reverse=True)
    assert min(doubts) > 0


def test_a_run_without_correction_is_explained_by_prototypes_chosen_now():
    plain_run = fit_to(load_dataset(QUICK), QUICK.replace(alpha=0.0, epochs=1))
    found = why.explain(plain_run, 3)
    assert found.corrected_label == int(best_class(found.class_scores[None], torch.tensor([found.noisy_label]))[0])
    assert found.labels == (found.noisy_label,) * 2


def test_a_sample_that_is_not_there_is_refused(fitted, sight):
    for sample in (-1, len(fitted.data)):
        with pytest.raises(ValueError, match=f"sample must be from 0 to {len(fitted.data) - 1}, but it is {sample}"):
            why.explain(fitted, sample, sight=sight)


def test_the_sentences_say_what_was_found(fitted, sight):
    found = why.explain(fitted, int(why.most_doubtful(fitted, 1, sight=sight)[0]), sight=sight)
    names = fitted.data.class_names
    said = why.in_words(found, names)
    assert f"The given label '{found.noisy_label}' was changed to '{found.corrected_label}'." in said
    own, other = (f"{float(found.class_scores[label]):.2f}" for label in (found.noisy_label, found.rival.label))
    assert f"'{found.noisy_label}' is {own}, that of '{found.rival.label}' {other}. The true label is" in said
    kept = dataclasses.replace(found, corrected_label=found.noisy_label, clean_label=None)
    assert "was kept." in why.in_words(kept, names)
    assert "true label" not in why.in_words(kept, names)


def test_the_figure_of_a_digit(fitted, sight, history):
    found = why.explain(fitted, int(why.most_doubtful(fitted, 1, sight=sight)[0]), history=history.labels, sight=sight)
    figure = why_figure(fitted.data, found)
    assert len(drawn(figure)) > 5000
    words = words_of(figure)
    assert any(f"corrected to “{found.corrected_label}”" in text for text in words)
    assert any(text.startswith(f"{float(found.rival.cosines[0]):.2f}") for text in words)


@pytest.mark.parametrize("clean", [None, torch.zeros(40, dtype=torch.int64) - 1, torch.arange(40) % 4])
def test_the_figure_of_a_colour_image_whatever_its_classes_are_called(clean):
    data, seen = colour_images(clean_labels=clean), why.LabelHistory()
    fitted = fit_to(data, QUICK.replace(epochs=3, correction_start=1), keeper=seen)
    for sample in (1, 2):
        found = why.explain(fitted, sample, history=seen.labels)
        assert len(drawn(why_figure(data, found, prototypes=2, classes=2))) > 5000
        assert (found.clean_label is None) == (clean is None or int(clean[sample]) < 0)


def test_a_prototype_is_its_own_witness_and_a_mislabelled_one_is_shown_as_such(fitted, sight):
    data, prototypes = fitted.data, fitted.result.correction.prototypes
    own = why.explain(fitted, int(prototypes.index[0, 0]), sight=sight)
    assert any(text == "1.00\nitself" for text in words_of(why_figure(data, own)))
    truth = data.clean_labels.clone()
    truth[prototypes.index[0]] = 9
    told = why_figure(dataclasses.replace(data, clean_labels=truth), own)
    assert any(text.endswith("\nis 9") for text in words_of(told))


def test_a_class_with_many_others_keeps_its_bar(fitted, sight):
    found = why.explain(fitted, 0, sight=sight)
    lowest = dataclasses.replace(found, class_scores=found.class_scores.clone())
    lowest.class_scores[found.given.label] = -0.9
    assert "-0.90" in words_of(why_figure(fitted.data, lowest, classes=3))


def test_names_are_drawn_letter_by_letter():
    assert plain("$x$ & y_1") == r"\$x\$ & y_1"


def test_images_on_disk_are_refused_in_a_sentence(fitted, sight, small_clothing1m):
    from dsl_teach.data.clothing1m import clothing1m

    with pytest.raises(TypeError, match="lives on disk"):
        why_figure(clothing1m(small_clothing1m), why.explain(fitted, 0, sight=sight))
