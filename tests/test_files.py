"""Files of others, whole or damaged: read as they look, or refused in a sentence that names the file; nothing else."""

import io
import os
import pickle
import shutil
import warnings

import numpy as np
import pytest
import torch
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dsl_teach.config import Settings, require_use
from dsl_teach.data.cifar import published_labels
from dsl_teach.data.clothing1m import clothing1m
from dsl_teach.data.food101n import food101n
from dsl_teach.errors import is_users, sentence
from dsl_teach.files import DEEPEST, read_json, read_text, read_value, read_yaml
from dsl_teach.storage import write_checked
from dsl_teach.sweep import read_sweep
from dsl_teach.training.checkpoint import RunFolder

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
FUZZED = settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
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


@FUZZED
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


PLACE = st.floats(0, 1, exclude_max=True)
CHANGES = st.lists(
    st.tuples(st.sampled_from(["flip", "cut", "drop", "insert", "double"]), PLACE, st.binary(max_size=9))
)


def changed(content: bytes, changes: list[tuple[str, float, bytes]]) -> bytes:
    for what, place, piece in changes:
        at = int(place * len(content))
        if what == "flip":
            content = content[:at] + bytes(byte ^ (1 << at % 8) for byte in content[at : at + 1]) + content[at + 1 :]
        elif what == "cut":
            content = content[:at]
        elif what == "drop":
            content = content[:at] + content[at + len(piece) :]
        elif what == "insert":
            content = content[:at] + piece + content[at:]
        else:
            content = content[:at] + content[at : at + 200] + content[at:]
    return content


def told(read) -> None:
    """It is read, or refused by an error that the commands tell in a sentence."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            read()
    except Exception as error:
        if not is_users(error) or len(sentence(error)) < 20:
            raise


def label_files() -> dict[str, bytes]:
    rows = {"clean_label": np.arange(30) % 10, "random_label1": np.arange(30) % 7}
    np.savez(npz := io.BytesIO(), **rows)
    torch.save(rows, pt := io.BytesIO())
    return {"labels.npz": npz.getvalue(), "labels.pt": pt.getvalue(), "old.pt": pickle.dumps(rows, protocol=2)}


@pytest.mark.parametrize("name", label_files())
@FUZZED
@given(changes=CHANGES)
def test_label_files(tmp_path, name, changes):
    (path := tmp_path / name).write_bytes(changed(label_files()[name], changes))
    told(lambda: published_labels(path, "random_label1"))


LISTS = [
    *(
        ("small_clothing1m", f"{name}.txt", lambda root: clothing1m(root, trust=True))
        for name in ("noisy_label_kv", "noisy_train_key_list", "category_names_eng")
    ),
    *(
        ("small_food101n", f"Food-101N_release/meta/{name}", lambda root: food101n(root, root, trust=True))
        for name in ("imagelist.tsv", "classes.txt", "verified_train.tsv")
    ),
]


@pytest.mark.parametrize(("source", "name", "read"), LISTS)
@FUZZED
@given(changes=CHANGES)
def test_lists(request, tmp_path, source, name, read, changes):
    whole, root = request.getfixturevalue(source), tmp_path / "copy"
    if not root.exists():
        shutil.copytree(whole, root)
    (root / name).write_bytes(changed((whole / name).read_bytes(), changes))
    told(lambda: read(root))


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    folder = RunFolder(tmp_path_factory.mktemp("run"), Settings())
    folder.require_same_data({"left_out": 0})
    folder.save_checkpoint({"weights": torch.arange(40.0), "history": [], "memory": {}}, 1, 0)
    folder.close()
    return folder.checkpoints()[0].read_bytes()


@pytest.mark.parametrize("vouched_for", [False, True])
@FUZZED
@given(changes=CHANGES, other=st.none() | st.sampled_from([1, [], {"identity": 1}, {"identity": {"settings": []}}]))
def test_checkpoints(checkpoint, tmp_path, vouched_for, changes, other):
    shutil.rmtree(tmp_path / "run", ignore_errors=True)
    folder = RunFolder(tmp_path / "run", Settings())
    folder.require_same_data({"left_out": 0})
    path = folder.path / "checkpoints" / "epoch-00001-step-00000000.pt"
    write_checked(path, lambda file: file.write(checkpoint))
    content = changed(checkpoint, changes)
    if other is not None:
        torch.save(other, saved := io.BytesIO())
        content = saved.getvalue()
    if vouched_for:  # its checksum is right: somebody else wrote it so
        write_checked(path, lambda file: file.write(content))
    else:
        path.write_bytes(content)
    told(folder.latest_checkpoint)
    folder.close()
