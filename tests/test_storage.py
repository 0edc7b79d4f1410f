"""Files that last: whole or absent, checked, one writer at a time; and what is damaged is found."""

import os
import signal
import subprocess

import pytest

from dsl_teach import storage
from dsl_teach.storage import DamagedFile, RunFolderError, damages, locked, read_checked, write_checked, write_whole
from tests.run_driver import die, in_a_child


def text(content):
    return lambda file: file.write(content.encode())


@pytest.fixture
def written(tmp_path):
    path = tmp_path / "labels.pt"
    write_checked(path, text("one"))
    return path


def test_a_failed_write_leaves_the_file_as_it_was(written):
    before = {path.name: path.read_bytes() for path in written.parent.iterdir()}
    for write in (write_whole, write_checked):
        with pytest.raises(RuntimeError):
            write(written, lambda file: (_ for _ in ()).throw(RuntimeError("no")))
    assert {path.name: path.read_bytes() for path in written.parent.iterdir()} == before


def test_sha256sum_checks_the_same(written):
    write_checked(written, text("two"))
    done = subprocess.run(["sha256sum", "--check", storage.SUMS], cwd=written.parent, capture_output=True, check=True)
    assert done.stdout == b"labels.pt: OK\n"


@pytest.mark.parametrize("bit", range(24))
def test_each_flipped_bit_is_found(written, bit):
    content = bytearray(written.read_bytes())
    content[bit // 8] ^= 1 << bit % 8
    written.write_bytes(content)
    with pytest.raises(DamagedFile, match=r"labels.pt is damaged"):
        read_checked(written)
    assert damages(written.parent.parent) != []


@pytest.mark.parametrize("call", range(4))
@pytest.mark.parametrize("name", ["labels.pt", "other.pt"])
def test_killed_at_any_moment_the_old_or_the_new_content_holds(written, name, call):
    """Also where a write that was killed is followed by another one, of the same file or of another."""
    calls, replace = iter(range(call + 1)), os.replace

    def deadly(*names):
        if next(calls, None) == call:
            die()
        replace(*names)

    def work():
        storage.os.replace = deadly
        write_checked(written, text("two"))
        write_checked(written.with_name(name), text("three"))

    assert in_a_child(work) in (-signal.SIGKILL, 0)
    assert read_checked(written) in (b"one", b"two", b"three")
    write_checked(written.with_name("last.pt"), text("four"))
    assert read_checked(written) in (b"one", b"two", b"three")
    assert damages(written.parent) == []


def test_a_file_can_stand_instead_of_others(written):
    write_checked(written.with_name("new.pt"), text("new"), instead_of=[written])
    assert not written.exists()
    assert damages(written.parent) == []


def test_what_is_missing_unknown_or_put_aside_is_told(written):
    folder = written.parent
    written.with_name("stranger.pt").write_bytes(b"who?")
    written.with_name("old.damaged").write_bytes(b"")
    written.unlink()
    told = "\n".join(damages(folder))
    sentences = ("stranger.pt has no checksum", "old.damaged was found damaged", "labels.pt cannot be read now")
    assert all(sentence in told for sentence in sentences)
    with pytest.raises(DamagedFile, match="nobody can know"):
        read_checked(folder / "stranger.pt")


def test_a_folder_has_one_writer(tmp_path):
    def second():
        with pytest.raises(RunFolderError, match="Another process is writing"), locked(tmp_path):
            pass

    with locked(tmp_path):
        assert in_a_child(second) == 0
    with locked(tmp_path):
        pass
