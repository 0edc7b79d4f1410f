"""Settings: defaults, ranges, what goes together, YAML in and out."""

import pytest

from dsl_teach import cli
from dsl_teach.config import CLASHES, PRESETS, Settings, help_text, require_use

CIFAR = {"dataset": "cifar10", "data_root": "x"}
FILES = {"dataset": "image_folder", "data_root": "x"}


def read(tmp_path, text):
    (tmp_path / "run.yaml").write_text(text)
    return Settings.from_yaml(tmp_path / "run.yaml")


def test_the_defaults_are_the_papers_where_it_gives_one():
    s = Settings()
    assert (s.p, s.m, s.alpha, s.eta_max, s.quantile, s.momentum) == (8, 1280, 0.5, 0.95, 0.6, 0.9)


def test_settings_are_frozen_and_each_has_a_line_of_help_in_one_group():
    with pytest.raises(ValueError, match="frozen"):
        Settings().p = 3
    helped = [name for group in help_text().values() for name in group]
    assert sorted(helped) == sorted(["preset", *Settings.model_fields])
    assert all(line for group in help_text().values() for line in group.values())


OUT_OF_RANGE = {
    "p": [0, 1.5, True, "8", 2**70], "m": [0], "alpha": [-0.1, 1.1, float("nan"), "0.5"], "correction_start": [-1],
    "noise_rate": [1.0, -0.1], "noise_temperature": [-1.0, float("inf")], "rarest_share": [0.0, 1.1], "subset": [-1],
    "epochs": [0, None], "batch_size": [0], "learning_rate": [0.0], "quantile": [0.0, 1.1], "width": [0],
    "eta_max": [5, 2.1, -1.0], "network": ["resnet_9000", 3], "rho_ties": ["none"], "seed": [-1], "loss": ["mse"],
    "gce_q": [0.0, 1.1], "elr_weight": [-0.1], "elr_momentum": [1.0], "smoothing": [1.0], "mixup": [-1.0],
    "averaged_weights": [1.0],
    "correct_by": ["oracle"], "neighbours": [0], "fill_up": [1], "precision": ["float16"], "dataset": ["mnist"],
}  # fmt: skip


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, all_ in OUT_OF_RANGE.items() for value in all_])
def test_a_value_out_of_range_or_of_a_wrong_type_is_refused_by_name(name, value):
    with pytest.raises(ValueError, match=f"^{name} "):
        Settings(**{name: value})
    with pytest.raises(ValueError, match=f"^{name} "):
        Settings().replace(**{name: value})


@pytest.mark.parametrize(
    ("changes", "names"),
    [
        ({"p": 9, "m": 8}, "p must be at most m"),
        ({"dataset": "cifar10"}, "data_root "),
        ({"dataset": "food101n", "data_root": "x"}, "test_root "),
        ({"noise_rate": 0.2, **FILES}, "noise_rate "),
        ({"noise_rate": 0.2, "labels_file": "labels.npy", **CIFAR}, "noise_rate and labels_file "),
        ({"labels_file": "labels.npz"}, "labels_file is for cifar10"),
        ({"rarest_share": 0.1, "dataset": "toy_moons"}, "rarest_share "),
        ({"frozen_blocks": 2}, "frozen_blocks is for a network of timm"),
        ({"correct_from": "untouched"}, "correct_from is for a network of timm"),
    ],
)
def test_settings_that_make_no_sense_together_are_refused_by_name(changes, names):
    with pytest.raises(ValueError, match=f"^{names}"):
        Settings(**changes)


def test_at_eta_max_2_everything_passes_and_a_whole_number_may_stand_for_a_number():
    assert Settings(eta_max=2).eta_max == 2.0
    assert type(Settings(alpha=1).alpha) is float


ON = {
    "mixup": 0.2, "correction_mode": "streamed", "balanced_sampling": True,
    "averaged_weights": 0.9, "noise_rate": 0.2, "labels_file": "labels.npy",
    "correct_from": "untouched",
}  # fmt: skip


def on(name):
    setting, _, value = name.partition(" = ")
    return {setting: value or ON[setting]}


@pytest.mark.parametrize(("one", "other"), [clash[:2] for clash in CLASHES])
def test_settings_that_exclude_each_other_are_refused_and_each_goes_alone(one, other):
    with pytest.raises(ValueError, match=f"^{one} and {other} "):
        Settings(**CIFAR, network="timm:resnet18", **on(one), **on(other))
    for alone in (on(one), on(other)):
        assert alone.items() <= Settings(**CIFAR, network="timm:resnet18", **alone).to_dict().items()


def test_a_noise_rate_that_nobody_named_hangs_on_the_data_set(tmp_path):
    assert Settings().noise_rate == Settings(dataset="toy_moons").noise_rate == 0.4
    assert Settings(**CIFAR).noise_rate is None
    assert Settings(**CIFAR, noise_rate=0.2).noise_rate == 0.2
    assert Settings().replace(**CIFAR).noise_rate is None
    assert Settings(**CIFAR).replace(dataset="digits", data_root="").noise_rate == 0.4
    assert Settings(noise_rate=0.4).replace(**CIFAR).noise_rate == 0.4
    for settings in (Settings(), Settings(**CIFAR), Settings(**FILES), Settings(**CIFAR, labels_file="labels.npy")):
        assert read(tmp_path, settings.to_yaml()) == settings
        assert settings.replace(seed=1).noise_rate == settings.noise_rate


def test_what_yaml_does_not_name_keeps_its_default(tmp_path):
    assert (read(tmp_path, "p: 4\n"), read(tmp_path, "")) == (Settings(p=4), Settings())


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("alhpa: 0.5", "setting alhpa.*alpha"),
        ("zzz: 1", "setting zzz.*p, m, alpha, correction_start"),
        ("alpha: 2", "alpha "),
        ("p: many", "p "),
        ("p: 9\nm: 8", "p "),
        ("- 1", "list"),
        ("p: [", "line 1: "),
        ("p: !!python/object/apply:os.getcwd []", "tags"),
    ],
)
def test_a_faulty_file_is_refused_with_its_name(tmp_path, text, sentence):
    with pytest.raises(ValueError, match=rf"run\.yaml.*{sentence}"):
        read(tmp_path, text)


IDLE = [
    ({"epochs": 4, "correction_start": 5}, "correction_start"),
    ({"epochs": 4, "p": 3}, "p"),
    ({"epochs": 5, "learning_rate_drop": 5}, "learning_rate_drop"),
    ({"gce_q": 0.7}, "gce_q"),
    ({"elr_weight": 1.0, "loss": "gce"}, "elr_weight"),
    ({"neighbours": 9}, "neighbours"),
    ({"quantile": 0.5, "correct_by": "class_means"}, "quantile"),
    ({"m": 50, "correct_by": "random"}, "m"),
    ({"quantile": 0.5, "alpha": 0.0}, "quantile"),
    ({"noise_temperature": 1.0, "noise_rate": 0.0}, "noise_temperature"),
    ({"width": 8, "network": "resnet18", **FILES}, "width"),
    ({"augment": True, **FILES}, "augment"),
    ({"subset": 100, **FILES}, "subset"),
    ({"labels_name": "worse_label", **CIFAR}, "labels_name"),
    ({"trust": True, **CIFAR}, "trust"),
    ({"test_root": "x", **CIFAR}, "test_root"),
    ({"data_root": "x"}, "data_root"),
]
USED = [
    {"epochs": 4},
    {"alpha": 0.0, "p": 3, "m": 40, "correction_start": 50},
    {"epochs": 5, "correction_start": 5, "p": 3},
    {"labels_file": "", "noise_rate": 0.0, "mixup": 0.0},
    {"m": 50, "correct_by": "random", "small_class": "error"},
    {"loss": "gce", "gce_q": 0.5, "test_root": "x", **FILES},
]


@pytest.mark.parametrize(("changes", "name"), IDLE)
def test_a_setting_that_is_named_and_does_nothing_is_refused(changes, name):
    settings = Settings(**changes)
    with pytest.raises(ValueError, match=f"^{name} is set, but it does nothing here: "):
        require_use(settings)
    others = {other: value for other, value in changes.items() if other != name}
    require_use(Settings(**others))  # a default that does nothing is nobody's wish


@pytest.mark.parametrize("changes", USED)
def test_what_is_used_or_off_or_how_cross_entropy_is_written_may_be_named(changes):
    require_use(Settings(**changes))


def test_of_several_runs_one_use_is_enough():
    require_use(Settings(loss="gce", gce_q=0.5), Settings(gce_q=0.5))
    with pytest.raises(ValueError, match=r"^gce_q "):
        require_use(Settings(), Settings(gce_q=0.5))


def test_a_preset_stands_for_settings_and_what_is_named_goes_over_it():
    [name] = PRESETS
    found = Settings(**FILES, preset=name, alpha=0.5)
    assert PRESETS[name] | {"alpha": 0.5} == {key: getattr(found, key) for key in PRESETS[name]}
    assert found.model_fields_set == {*PRESETS[name], *FILES}
    assert found.replace(epochs=9).alpha == 0.5
    for wrong in ("none", ["untouched_features"], 1):
        with pytest.raises(ValueError, match=r"^preset must be one of untouched_features"):
            Settings(preset=wrong)


@pytest.mark.parametrize(
    ("text", "command", "right"),
    [
        ("base: {alpha: 0}\nseeds: 2\n", "train", "dsl-teach sweep "),
        ("alpha: 0\n", "sweep", "dsl-teach train "),
        ("seeds: 3\noutput_folder: x\n", "sweep", "papermill "),
        ("seeds: 3\noutput_folder: x\n", "train", "papermill "),
        ("alhpa: 0\nepochs: 3\n", "train", "There is no setting alhpa"),
        ("bse: {}\n", "sweep", "bse"),
    ],
)
def test_a_file_of_the_wrong_kind_is_told_with_the_right_command(tmp_path, capsys, text, command, right):
    (tmp_path / "x.yaml").write_text(text)
    assert cli.main([command, str(tmp_path / "x.yaml"), "--output", str(tmp_path / "out")]) == 2
    said = " ".join(capsys.readouterr().err.replace("│", " ").split())
    assert right.strip() in said
    assert not (tmp_path / "out").exists()


def test_what_only_a_preset_names_may_do_nothing():
    [name] = PRESETS
    for own in ({"epochs": 3}, {"alpha": 0.0}, {"epochs": 3, "alpha": 0.0}):
        found = Settings(**FILES, preset=name, **own)
        require_use(found)
        require_use(found.replace(seed=1))
    with pytest.raises(ValueError, match=r"^p is set"):
        require_use(Settings(**FILES, preset=name, p=4))
