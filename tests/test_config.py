"""Settings: defaults, ranges, YAML in and out."""

from __future__ import annotations

import dataclasses

import pytest

from dsl_teach.config import CLASHES, WITHOUT_EFFECT, Settings, help_text


def test_the_defaults_are_the_papers_where_it_gives_one():
    s = Settings()
    assert (s.p, s.m, s.alpha, s.eta_max, s.quantile, s.momentum) == (8, 1280, 0.5, 0.95, 0.6, 0.9)


def test_settings_are_frozen_and_each_has_a_line_of_help():
    with pytest.raises(dataclasses.FrozenInstanceError):
        Settings().p = 3
    assert all(help_text()[field.name] for field in dataclasses.fields(Settings))


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"p": 0}, "p must be at least 1, but it is 0"),
        ({"m": 0, "p": 1}, "m must be at least 1, but it is 0"),
        ({"p": 9, "m": 8}, "p must be at most m, but p is 9 and m is 8"),
        ({"alpha": -0.1}, "alpha must be from 0 to 1"),
        ({"alpha": 1.1}, "alpha must be from 0 to 1"),
        ({"alpha": float("nan")}, "alpha must be a finite number"),
        ({"correction_start": -1}, "correction_start must be at least 0"),
        ({"noise_rate": 1.0}, "noise_rate must be at least 0 and below 1"),
        ({"rarest_share": 0.0}, "rarest_share must be above 0"),
        ({"epochs": 0}, "epochs must be at least 1"),
        ({"batch_size": 0}, "batch_size must be at least 1"),
        ({"learning_rate": 0.0}, "learning_rate must be above 0"),
        ({"quantile": 0.0}, "quantile must be above 0"),
        ({"network": "resnet_9000"}, "network must be one of"),
        ({"rho_ties": "none"}, "rho_ties must be one of strict, order"),
        ({"seed": -1}, "seed must be at least 0"),
        ({"loss": "mse"}, "loss must be one of cross_entropy, smoothed, forward, gce, sce, elr"),
        ({"gce_q": 0.0}, "gce_q must be above 0 and at most 1"),
        ({"sce_a": -0.1}, "sce_a must be at least 0"),
        ({"elr_momentum": 1.0}, "elr_momentum must be at least 0 and below 1"),
        ({"mixup": -1.0}, "mixup must be at least 0"),
        ({"averaged_weights": 1.0}, "averaged_weights must be at least 0 and below 1"),
        ({"score_momentum": 1.0}, "score_momentum must be at least 0 and below 1"),
        ({"soft_temperature": -1.0}, "soft_temperature must be at least 0"),
        ({"correct_by": "oracle"}, "correct_by must be one of density_peaks, random"),
        ({"neighbours": 0}, "neighbours must be at least 1"),
    ],
)
def test_a_value_out_of_range_is_named(changes, sentence):
    with pytest.raises(ValueError, match=sentence):
        Settings(**changes)


ON = {
    "soft_temperature": 0.1, "margin": 0.1, "mixup": 0.2, "correction_mode": "streamed", "balanced_sampling": True,
    "averaged_weights": 0.9, "centred": True, "whitened": True, "agreeing_only": True, "prototype_momentum": 0.5,
}  # fmt: skip


@pytest.mark.parametrize(("one", "other", "why"), CLASHES)
def test_settings_that_exclude_each_other_are_refused_and_each_goes_alone(one, other, why):
    with pytest.raises(ValueError, match=f"{one} and {other} do not go together: {why}"):
        Settings(**{one: ON[one], other: ON[other]})
    assert all(getattr(Settings(**{name: ON[name]}), name) == ON[name] for name in (one, other))


@pytest.mark.parametrize(("who", "name"), [(who, name) for who, names in WITHOUT_EFFECT.items() for name in names])
def test_a_setting_that_would_do_nothing_is_refused(who, name):
    with pytest.raises(ValueError, match=f"{name} does nothing when correct_by is {who}"):
        Settings(**{name: ON[name], "correct_by": who})


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"p": 1.5}, r"p must be a whole number, but it is 1.5 \(float\)"),
        ({"p": True}, "p must be a whole number"),
        ({"alpha": "0.5"}, "alpha must be a number"),
        ({"fill_up": 1}, "fill_up must be true or false"),
        ({"network": 3}, "network must be a word"),
        ({"epochs": None}, "epochs must be a whole number"),
    ],
)
def test_a_value_of_a_wrong_type_is_named(changes, sentence):
    with pytest.raises(TypeError, match=sentence):
        Settings(**changes)


def test_a_whole_number_may_stand_for_a_number():
    assert Settings(alpha=1).alpha == 1.0
    assert type(Settings(alpha=1).alpha) is float


def test_yaml_round_trip(tmp_path):
    settings = Settings(p=3, m=40, alpha=0.25, correction_start=7, fill_up=False, seed=11)
    (tmp_path / "run.yaml").write_text(settings.to_yaml())
    assert Settings.from_yaml(tmp_path / "run.yaml") == settings


def test_what_yaml_does_not_name_keeps_its_default(tmp_path):
    (tmp_path / "run.yaml").write_text("p: 4\n")
    assert Settings.from_yaml(tmp_path / "run.yaml") == Settings(p=4)
    (tmp_path / "empty.yaml").write_text("")
    assert Settings.from_yaml(tmp_path / "empty.yaml") == Settings()


@pytest.mark.parametrize(
    ("text", "error", "sentence"),
    [
        ("alhpa: 0.5", ValueError, "There is no setting alhpa. Did you mean alpha?"),
        ("zzz: 1", ValueError, "There is no setting zzz. The settings are p, m, alpha, correction_start"),
        ("alpha: 2", ValueError, "alpha must be from 0 to 1"),
        ("p: many", TypeError, "p must be a whole number"),
        ("- 1", ValueError, "name: value"),
        ("p: !!python/object/apply:os.getcwd []", ValueError, "no plain YAML file: could not determine a constructor"),
    ],
)
def test_a_faulty_file_is_refused_with_its_name(tmp_path, text, error, sentence):
    (tmp_path / "run.yaml").write_text(text)
    with pytest.raises(error, match=sentence) as caught:
        Settings.from_yaml(tmp_path / "run.yaml")
    assert "run.yaml" in str(caught.value)
