"""Files that people write: read as they look, or refused in a sentence that names the file; never anything else."""

import os

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dsl_teach.config import Settings, require_use
from dsl_teach.files import DEEPEST, read_json, read_text, read_value, read_yaml
from dsl_teach.sweep import read_sweep

EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "60"))  # 10,000 once, before a release
NAMES = st.sampled_from([*Settings.model_fields, "base", "cases", "methods", "grid", "seeds", "rows", "base_from", "x"])
NUMBERS = st.integers(-(2**70), 2**70) | st.floats() | st.sampled_from([0, 1, 2, 0.5])
WORDS = st.text(max_size=6) | st.sampled_from(["cifar10", "gce", "digits", "1:30", "0100", "1e-3", "/dev/zero", "*a"])
VALUES = st.recursive(
    st.none() | st.booleans() | NUMBERS | WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES | WORDS, inner, max_size=3),
    max_leaves=6,
)
PLAIN = st.dictionaries(NAMES, VALUES, max_size=5).map(lambda content: yaml.safe_dump(content).encode())
CONTENTS = PLAIN | st.binary(max_size=60) | st.text(alphabet="a:-[]{}!&*#'\"\n 01.e?|>%@,", max_size=40).map(str.encode)


@pytest.mark.parametrize(
    ("text", "value"),
    [("1:30", "1:30"), ("0100", "0100"), ("1e-3", 0.001), ("yes", "yes"), ("true", True), ("~", None), ("-7", -7)],
)
def test_values_are_read_as_they_look(text, value):
    assert read_value(text) == value
    assert type(read_value(text)) is type(value)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"SMP: {}\nSMP: {alpha: 0}", "line 2: SMP stands twice"),
        (b"a: &x 1\nb: *x", "aliases"),
        (b"a: " + b"[" * 30, f"more than {DEEPEST} levels"),
        (b"p: \xff", "not text in UTF-8"),
        (b"x" * (2**20 + 1), "bytes, more than"),
        (b"[1]", "of the form 'name: value'"),
    ],
)
def test_yaml_that_surprises_is_refused_with_its_place(tmp_path, content, said):
    (path := tmp_path / "run.yaml").write_bytes(content)
    with pytest.raises(ValueError, match=rf"run\.yaml.*{said}"):
        read_yaml(path)


def test_what_is_no_regular_file_is_refused_at_once(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", "/dev/zero", tmp_path):
        with pytest.raises(ValueError, match="must be a file"):
            read_text(path)


@pytest.mark.parametrize("lines", [False, True])
def test_json_that_is_cut_short_names_its_file(tmp_path, lines):
    (path := tmp_path / "history.jsonl").write_text('{"epoch": 0}\n{"epo' if lines else '{"epo')
    with pytest.raises(ValueError, match=r"history\.jsonl is no whole JSON file"):
        read_json(path, lines=lines)


@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(CONTENTS)
def test_any_bytes_are_settings_and_a_sweep_or_a_sentence(tmp_path, content):
    (path := tmp_path / "any.yaml").write_bytes(content)
    for read in (lambda: require_use(Settings.from_yaml(path)), lambda: read_sweep(path).trials()):
        try:
            read()
        except (ValueError, OSError) as error:
            said = str(error)
        else:
            said = "read"
        assert said
