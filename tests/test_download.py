import http.server
import importlib.util
import io
import os
import tarfile
import threading
import time
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from torchvision.datasets import CIFAR10

from dsl_teach.data import download
from dsl_teach.data.archives import extract_tar
from dsl_teach.data.cifar import cifar10
from dsl_teach.data.download import DownloadError, Patience, fetch, partial_file, require_md5, require_safe_url
from tests.tiny_cifar import make_official, md5, write_cifar10

CONTENT = bytes(range(256)) * 1000
SCRIPTS = Path(__file__).parent.parent / "data_scripts"
QUICK = Patience(timeout=5, tries=3, pause=0)


class Server(http.server.ThreadingHTTPServer):
    """Serves one content under every path, and keeps the Range header of every request."""

    def __init__(self, content=CONTENT):
        super().__init__(("127.0.0.1", 0), Handler)
        self.content, self.asked = content, []
        self.ranges = True  # whether it understands Range
        self.cut_after = []  # for each request to come: bytes after which the connection breaks
        self.statuses = []  # for each request to come: an error instead of the content
        self.redirect = None
        self.stall = 0.0

    def handle_error(self, request, client_address):
        """A client that gave up is part of the tests."""

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}/file.bin"


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        server = self.server
        asked = self.headers.get("Range")
        server.asked.append(asked)
        time.sleep(server.stall)
        if server.statuses:
            return self.send_error(server.statuses.pop(0))
        if server.redirect:
            self.send_response(302)
            self.send_header("Location", server.redirect)
            return self.end_headers()
        start = int(asked.removeprefix("bytes=").removesuffix("-")) if asked and server.ranges else 0
        size = len(server.content)
        if start >= size:
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{size}")
            return self.end_headers()
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{size - 1}/{size}")
        self.send_header("Content-Length", str(size - start))
        self.end_headers()
        end = start + server.cut_after.pop(0) if server.cut_after else size
        self.wfile.write(server.content[start:end])

    def log_message(self, *args):
        pass


@pytest.fixture
def server(monkeypatch):
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with Server() as running:
        thread = threading.Thread(target=partial(running.serve_forever, poll_interval=0.01), daemon=True)
        thread.start()
        yield running
        running.shutdown()
        thread.join()


@pytest.fixture
def target(tmp_path):
    return tmp_path / "folder" / "file.bin"


def is_content(path):
    if path.read_bytes() != CONTENT:
        raise ValueError(f"{path} is not what was served.")


# --------------------------------------------------------------------------------------------------- the way


def test_a_whole_download_leaves_no_part_and_is_not_repeated(server, target):
    for _ in range(2):
        assert fetch(server.url, target, check=is_content) == target
    assert target.read_bytes() == CONTENT
    assert os.listdir(target.parent) == ["file.bin"]
    assert server.asked == [None]


def test_half_a_part_is_continued(server, target):
    target.parent.mkdir()
    partial_file(target).write_bytes(CONTENT[:100_000])
    fetch(server.url, target, check=is_content)
    assert server.asked == ["bytes=100000-"]


def test_a_server_that_ignores_range_sends_the_whole_file_anew(server, target):
    server.ranges = False
    target.parent.mkdir()
    partial_file(target).write_bytes(b"x" * 100_000)
    fetch(server.url, target, check=is_content)
    assert server.asked == ["bytes=100000-"]


def test_a_connection_that_is_cut_is_taken_up_again(server, target):
    server.cut_after = [90_000, 60_000]
    fetch(server.url, target, check=is_content, patience=QUICK)
    assert server.asked == [None, "bytes=90000-", "bytes=150000-"]


def test_a_cut_download_keeps_its_part_for_the_next_call(server, target):
    server.cut_after, server.statuses = [90_000], []
    server.cut_after += [0, 0, 0]
    with pytest.raises(DownloadError, match=r"failed 3 times in a row: the connection ended .*90000 bytes.* goes on"):
        fetch(server.url, target, check=is_content, patience=QUICK)
    assert partial_file(target).read_bytes() == CONTENT[:90_000]
    assert not target.exists()
    fetch(server.url, target, check=is_content)
    assert server.asked[-1] == "bytes=90000-"


def test_cuts_at_the_same_place_end_even_if_the_server_ignores_range(server, target):
    server.ranges, server.cut_after = False, [1000] * 10
    with pytest.raises(DownloadError, match="failed 3 times in a row"):
        fetch(server.url, target, check=is_content, patience=QUICK)
    assert len(server.asked) == 4


def test_a_whole_part_only_gets_its_name(server, target):
    target.parent.mkdir()
    partial_file(target).write_bytes(CONTENT)
    fetch(server.url, target, check=is_content)
    assert not partial_file(target).exists()


def test_a_part_longer_than_the_file_is_dropped(server, target):
    target.parent.mkdir()
    partial_file(target).write_bytes(CONTENT + b"more")
    fetch(server.url, target, check=is_content, patience=QUICK)
    assert server.asked == ["bytes=256004-", None]


def test_ctrl_c_keeps_what_has_come(server, target, monkeypatch):
    class Interrupted(download.tqdm):
        def update(self, n=1):
            raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(download, "tqdm", Interrupted)
        with pytest.raises(KeyboardInterrupt):
            fetch(server.url, target, check=is_content)
    kept = partial_file(target).stat().st_size
    assert 0 < kept < len(CONTENT)
    fetch(server.url, target, check=is_content)
    assert server.asked == [None, f"bytes={kept}-"]


# ------------------------------------------------------------------------------------------------- the checks


def test_a_wrong_checksum_leaves_nothing(server, target):
    wrong = "0" * 32
    with pytest.raises(DownloadError, match=rf"is wrong, and was removed: .* should be {wrong}"):
        fetch(server.url, target, check=partial(require_md5, md5=wrong))
    assert os.listdir(target.parent) == []


def test_a_wrong_file_that_is_there_already_is_not_touched(server, target):
    target.parent.mkdir()
    target.write_bytes(b"mine")
    with pytest.raises(DownloadError, match="is there already, but is wrong"):
        fetch(server.url, target, check=is_content)
    assert target.read_bytes() == b"mine"
    assert server.asked == []


def test_a_busy_server_is_asked_again_and_a_missing_file_is_not(server, target):
    server.statuses = [503, 429]
    fetch(server.url, target, check=is_content, patience=QUICK)
    assert len(server.asked) == 3
    server.statuses = [404]
    with pytest.raises(DownloadError, match=r"404 Not Found. Is the address right"):
        fetch(server.url, target.with_name("other"), check=is_content, patience=QUICK)
    assert len(server.asked) == 4


def test_a_server_that_is_silent_or_not_there_is_given_up(server, target):
    server.stall = 0.5
    with pytest.raises(DownloadError, match=r"failed 2 times in a row: .*timed out"):
        fetch(server.url, target, check=is_content, patience=Patience(timeout=0.1, tries=2, pause=0))
    closed = Server()
    closed.server_close()
    with pytest.raises(DownloadError, match="failed 2 times in a row"):
        fetch(closed.url, target, check=is_content, patience=Patience(timeout=1, tries=2, pause=0))


@pytest.mark.parametrize(
    "url",
    [
        "http://example.org/a",
        "http://127.0.0.1.example.org/a",
        "http://127.0.0.1@example.org/a",
        "ftp://example.org/a",
        "file:///etc/hostname",
        "https:///a",
        "a.tar.gz",
    ],
)
def test_unsafe_addresses_are_refused(url, target):
    with pytest.raises(ValueError, match="is not a safe address"):
        fetch(url, target, check=is_content)


@pytest.mark.parametrize(
    "url", ["https://example.org/a", "http://127.0.0.1:80/a", "http://localhost/a", "http://[::1]/a"]
)
def test_safe_addresses_pass(url):
    require_safe_url(url)


@pytest.mark.parametrize("elsewhere", ["http://example.org/a", "file:///etc/hostname"])
def test_a_redirection_to_an_unsafe_address_is_not_followed(server, target, elsewhere):
    server.redirect = elsewhere
    with pytest.raises((ValueError, DownloadError), match=r"is not a safe address|is not allowed"):
        fetch(server.url, target, check=is_content, patience=QUICK)
    assert not target.exists()
    assert len(server.asked) == 1


# ------------------------------------------------------------------------------------------------- the archive


def member(name, kind=tarfile.REGTYPE, link=""):
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, link
    return info


def write_tar(path, *members):
    with tarfile.open(path, "w:gz") as tar:
        for info in members:
            content = b"hello" if info.isfile() else b""
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return path


def test_an_ordinary_archive_is_unpacked_over_old_files(tmp_path):
    archive = write_tar(tmp_path / "a.tar.gz", member("in", tarfile.DIRTYPE), member("in/one"), member("in/two"))
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "one").write_bytes(b"half")
    assert extract_tar(archive, tmp_path) == [tmp_path / "in" / "one", tmp_path / "in" / "two"]
    assert (tmp_path / "in" / "one").read_bytes() == b"hello"
    assert sorted(os.listdir(tmp_path)) == ["a.tar.gz", "in"]


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (member("../out"), "leads out of the folder"),
        (member("in/../../out"), "leads out of the folder"),
        (member("/outside/out"), "leads out of the folder"),
        (member("..\\out"), "leads out of the folder"),
        (member("C:\\out"), "leads out of the folder"),
        (member("in/link", tarfile.SYMTYPE, "../../out"), "is a link or a device"),
        (member("in/link", tarfile.LNKTYPE, "in/good"), "is a link or a device"),
        (member("in/pipe", tarfile.FIFOTYPE), "is a link or a device"),
        (member("in/device", tarfile.CHRTYPE), "is a link or a device"),
    ],
)
def test_members_that_lead_elsewhere_are_refused_and_nothing_is_written(tmp_path, bad, message):
    archive = write_tar(tmp_path / "a.tar.gz", member("in/good"), bad)
    folder = tmp_path / "data"
    with pytest.raises(ValueError, match=message):
        extract_tar(archive, folder)
    assert os.listdir(tmp_path) == ["a.tar.gz"]


@pytest.mark.parametrize("keep", [0, 10, 60])
def test_a_damaged_archive_says_so(tmp_path, keep):
    archive = write_tar(tmp_path / "a.tar.gz", member("one"))
    archive.write_bytes(archive.read_bytes()[:keep])
    with pytest.raises(ValueError, match=r"a.tar.gz is damaged"):
        extract_tar(archive, tmp_path / "data")
    assert os.listdir(tmp_path) == ["a.tar.gz"]


# ------------------------------------------------------------------------------------------------ the scripts


def script(name):
    spec = importlib.util.spec_from_file_location(name, SCRIPTS / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def mirror(server, tmp_path, monkeypatch):
    """A server that has a tiny CIFAR-10, which counts as the official one."""
    source = tmp_path / "source"
    write_cifar10(source)
    make_official(monkeypatch, CIFAR10, source)
    archive = tmp_path / "source.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(source / "cifar-10-batches-py", "cifar-10-batches-py")
    monkeypatch.setattr(CIFAR10, "tgz_md5", md5(archive))
    server.content = archive.read_bytes()
    return f"http://127.0.0.1:{server.server_port}/somewhere/"


def test_the_cifar_script_downloads_continues_and_is_content_with_what_is_there(server, mirror, tmp_path, capsys):
    main, root = script("download_cifar").main, tmp_path / "data"
    root.mkdir()
    (root / "cifar-10-python.tar.gz.part").write_bytes(server.content[:500])
    assert main(["cifar10", "--root", str(root), "--mirror", mirror]) == 0
    assert server.asked == ["bytes=500-"]
    assert os.listdir(root) == ["cifar-10-batches-py"]
    assert len(cifar10(root)) == 100
    assert main(["cifar10", "--root", str(root)]) == 0
    assert "complete already" in capsys.readouterr().out
    (root / "cifar-10-batches-py" / "data_batch_1").write_bytes(b"damaged")
    assert main(["cifar10", "--root", str(root), "--mirror", mirror, "--keep-archive"]) == 0
    assert len(cifar10(root)) == 100
    assert (root / "cifar-10-python.tar.gz").exists()


def test_the_cifar_script_refuses_an_archive_that_is_not_the_official_one(server, mirror, tmp_path, capsys):
    server.content += b"x"
    root = tmp_path / "data"
    assert script("download_cifar").main(["cifar10", "--root", str(root), "--mirror", mirror]) == 1
    assert "MD5 checksum" in capsys.readouterr().err
    assert os.listdir(root) == []


def test_the_cifar_script_says_how_to_go_on_after_ctrl_c(mirror, tmp_path, capsys, monkeypatch):
    module = script("download_cifar")

    def interrupted(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "fetch", interrupted)
    assert module.main(["cifar10", "--root", str(tmp_path / "data"), "--mirror", mirror]) == 130
    assert "run the same command again" in capsys.readouterr().err


def test_the_cifar_script_finds_the_archive_at_a_mirror():
    address, official = script("download_cifar").address, CIFAR10.url
    assert address(official, None) == official
    assert address(official, "https://m.example/d") == "https://m.example/d/cifar-10-python.tar.gz"
    assert address(official, "https://m.example/cifar-10-python.tar.gz") == "https://m.example/cifar-10-python.tar.gz"


@pytest.fixture
def human(server, tmp_path):
    """The script for human labels, told that CIFAR-10 has 100 images, and a server with labels for them."""
    module = script("download_cifar_n")
    module.IMAGES = 100
    labels = np.arange(100) % 10
    content = {"clean_label": labels} | {name: np.roll(labels, 1) for name in module.LABELS["cifar10n"]}
    content["aggre_label"] = np.where(np.arange(100) < 9, 9 - labels, labels)
    torch.save(content, tmp_path / "made.pt")
    server.content = (tmp_path / "made.pt").read_bytes()
    return module


def test_the_label_script_checks_and_reports_what_it_fetched(server, human, tmp_path, capsys):
    assert human.main(["cifar10n", "--root", str(tmp_path / "data"), "--url", server.url]) == 0
    out = capsys.readouterr().out
    assert "aggre_label" in out
    assert "9.0%" in out
    assert os.listdir(tmp_path / "data") == ["CIFAR-10_human.pt"]


@pytest.mark.parametrize("kind", ["page", "short", "attack"])
def test_the_label_script_keeps_no_file_that_is_not_the_labels(server, human, tmp_path, capsys, kind):
    if kind == "page":
        server.content = b"<html>Not here</html>"
    elif kind == "short":
        human.IMAGES = 101
    else:
        torch.save({"clean_label": Attack(tmp_path / "caught")}, tmp_path / "made.pt")
        server.content = (tmp_path / "made.pt").read_bytes()
    assert human.main(["cifar10n", "--root", str(tmp_path / "data"), "--url", server.url]) == 1
    assert "was removed" in capsys.readouterr().err
    assert os.listdir(tmp_path / "data") == []
    assert not (tmp_path / "caught").exists()


class Attack:
    def __init__(self, target):
        self.target = target

    def __reduce__(self):
        return os.mkdir, (str(self.target),)
