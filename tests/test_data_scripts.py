"""download.py, verify.py, prepare.py and make_synthetic.py, called as a user calls them."""

import functools
import hashlib
import http.server
import io
import re
import shutil
import subprocess
import sys
import tarfile
import threading

import download
import make_synthetic
import numpy as np
import prepare
import pytest
import torch
import verify
from make_synthetic import Artist, make_clothes
from PIL import Image
from torchvision.datasets import CIFAR10

from dsl_teach.data.cifar import cifar
from dsl_teach.data.clothes import clothes
from dsl_teach.data.clothing1m import clothing1m
from dsl_teach.data.decode import decode_image
from dsl_teach.data.folders import SYNTHETIC, UNREADABLE
from dsl_teach.storage import locked
from tests.conftest import lines, listed_image, true_labels
from tests.tiny_cifar import Attack, make_official, md5, write_cifar10


def images(root):
    return sorted(path.relative_to(root).as_posix() for path in root.rglob("*.jpg"))


def run(script, *arguments):
    """The exit code."""
    try:
        return script.main([str(argument) for argument in arguments])
    except SystemExit as ended:
        return ended.code


def seen(folder):
    return [path.name for path in folder.glob("[!.]*")]


@pytest.fixture
def server(tmp_path, monkeypatch):
    """A folder that is served, and its address."""
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(download, "TRIES", 1)
    (tmp_path / "served").mkdir()
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=tmp_path / "served")
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as running:
        thread = threading.Thread(target=functools.partial(running.serve_forever, poll_interval=0.01), daemon=True)
        thread.start()
        yield tmp_path / "served", f"http://127.0.0.1:{running.server_port}"
        running.shutdown()
        thread.join()


def archive(path, *members):
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w:gz" if path.suffix == ".gz" else "w") as tar:
        for name, kind, target in members:
            member = tarfile.TarInfo(name)
            member.type, member.linkname, member.size = kind, target, 4 if kind == tarfile.REGTYPE else 0
            tar.addfile(member, io.BytesIO(b"data"))
    return path


@pytest.fixture
def mirror(server, tmp_path, monkeypatch):
    """A server that has a tiny CIFAR-10, which counts as the official one."""
    served, address = server
    write_cifar10(tmp_path / "source")
    make_official(monkeypatch, CIFAR10, tmp_path / "source")
    with tarfile.open(served / CIFAR10.filename, "w:gz") as tar:
        tar.add(tmp_path / "source" / "cifar-10-batches-py", "cifar-10-batches-py")
    monkeypatch.setattr(CIFAR10, "tgz_md5", md5(served / CIFAR10.filename))
    return ("--output", tmp_path / "data", "--mirror", address)


def test_cifar_is_downloaded_unpacked_repaired_and_left_alone_when_it_is_there(server, mirror, tmp_path, capsys):
    assert run(download, "cifar10", *mirror) == 0
    assert seen(tmp_path / "data") == ["cifar-10-batches-py"]
    assert len(cifar("cifar10", tmp_path / "data")) == 100
    (tmp_path / "data" / "cifar-10-batches-py" / "data_batch_1").write_bytes(b"damaged")
    assert run(download, "cifar10", *mirror) == 0
    (server[0] / CIFAR10.filename).unlink()
    assert run(download, "cifar10", *mirror) == 0
    assert "every file has its official checksum" in capsys.readouterr().out


def test_clothes_come_file_by_file_against_their_checksums(server, tmp_path, monkeypatch, capsys):
    served, address = server
    shutil.copytree(make_clothes(tmp_path / "drawn", classes=3, images_per_class=20), served, dirs_exist_ok=True)
    names = ["images.csv", *images(served)]
    digest = {path: hashlib.sha256((served / path).read_bytes()).hexdigest() for path in names}
    monkeypatch.setattr(download, "SENDERS_SUM", digest.pop("images.csv"))
    monkeypatch.setattr(download, "SUMS", tmp_path / "sums")
    download.SUMS.write_text("".join(f"{value}  {path}\n" for path, value in digest.items()))
    command = ("clothes", "--output", tmp_path / "data", "--mirror", address)
    root, first = tmp_path / "data" / "clothing-dataset-small", min(digest)
    assert run(download, *command) == 0
    assert "every file has its published checksum" in capsys.readouterr().out
    assert len(clothes(root, seed=0, trust=True)) > 40
    (root / first).write_bytes(b"damaged")
    assert run(download, *command) == 0  # only that one is fetched again
    assert (root / first).read_bytes() == (served / first).read_bytes()
    (served / first).write_bytes(b"exchanged")
    (root / first).unlink()
    assert run(download, *command) == 1
    assert "name another source" in capsys.readouterr().err
    assert not (root / first).exists()


@pytest.mark.parametrize("damage", ["another archive", "no archive", "unsafe address"])
def test_what_cannot_be_had_leaves_no_data_set(server, mirror, tmp_path, capsys, damage):
    path = server[0] / CIFAR10.filename
    if damage == "another archive":
        path.write_bytes(path.read_bytes() + b"x")
    elif damage == "no archive":
        path.unlink()
    else:
        mirror = (*mirror[:3], "http://example.org")
    assert run(download, "cifar10", *mirror) == 1
    assert "name another source by --mirror" in capsys.readouterr().err
    assert not seen(tmp_path / "data")


def test_an_archive_that_leads_out_of_the_folder_is_refused(server, mirror, tmp_path, monkeypatch):
    for name, kind, target in (("../evil", tarfile.REGTYPE, ""), ("link", tarfile.SYMTYPE, "../../evil")):
        path = archive(server[0] / CIFAR10.filename, (name, kind, target))
        monkeypatch.setattr(CIFAR10, "tgz_md5", md5(path))
        assert run(download, "cifar10", *mirror) == 1
        assert not (tmp_path / "evil").exists()
        assert not (tmp_path / "data" / "link").exists()


@pytest.mark.parametrize("content", ["labels", "page", "too few", "attack"])
def test_label_files_are_checked_before_they_count(server, tmp_path, monkeypatch, capsys, content):
    served, address = server
    monkeypatch.setattr(download, "TRAINING_IMAGES", 101 if content == "too few" else 100)
    labels = np.arange(100) % 10
    found = {"clean_label": labels} | {name: np.roll(labels, 1) for name in download.LABELS["cifar10n"][1]}
    found["aggre_label"] = np.where(np.arange(100) < 9, 9 - labels, labels)
    found = {"clean_label": Attack(tmp_path / "evil")} if content == "attack" else found
    torch.save(found, served / "CIFAR-10_human.pt")
    if content == "page":
        (served / "CIFAR-10_human.pt").write_bytes(b"<html>Not here</html>")
    right = content == "labels"
    assert run(download, "cifar10n", "--output", tmp_path / "data", "--mirror", address) == (0 if right else 1)
    assert ("9.0%" in capsys.readouterr().out) == right
    assert seen(tmp_path / "data") == (["CIFAR-10_human.pt"] if right else [])
    assert not (tmp_path / "evil").exists()


@pytest.mark.parametrize("workers", [1, 2])
def test_verify_finds_a_whole_data_set_in_order(clothing, capsys, workers):
    assert run(verify, "clothing1m", clothing, "--workers", workers) == 0
    assert "noisy_train_key_list.txt: 30\n" in capsys.readouterr().out
    (stamp,) = lines(clothing / UNREADABLE)
    assert stamp.startswith("verified 20")


def test_verify_compares_every_count_with_the_published_one_if_the_data_are_real(clothing, food, capsys):
    for folder in (clothing, food / "Food-101N_release"):
        (folder / SYNTHETIC).unlink()
    assert run(verify, "clothing1m", clothing) == run(verify, "food101n", food, "--test-root", food) == 1
    text = capsys.readouterr().out
    for what, number in verify.PUBLISHED.items():
        assert re.search(rf"PROBLEM: {what}: there are \d+, but the published data set has {number:,}\.", text)


def test_verify_goes_on_after_a_missing_list_and_finds_a_key_in_two(clothing, capsys):
    (clothing / "clean_val_key_list.txt").unlink()
    path = clothing / "clean_test_key_list.txt"
    path.write_text(path.read_text() + "\n" + lines(clothing / "clean_train_key_list.txt")[0])
    assert run(verify, "clothing1m", clothing, "--workers", 1) == 1
    text = capsys.readouterr().out
    assert "clean_val_key_list.txt is missing" in text
    assert "1 image(s) stand in clean_train_key_list.txt and in clean_test_key_list.txt" in text


@pytest.mark.parametrize(("share", "code"), [(0.001, 1), (0.1, 0)])
def test_verify_lists_what_is_broken_and_allows_a_named_share(clothing, capsys, share, code):
    listed_image(clothing).unlink()
    listed_image(clothing, 1).write_bytes(listed_image(clothing, 1).read_bytes()[:-50])
    shutil.copy(listed_image(clothing, name="clean_val"), listed_image(clothing, 2))
    shutil.copy(listed_image(clothing, name="clean_test"), listed_image(clothing, 3))
    assert run(verify, "clothing1m", clothing, "--workers", 1, "--max-unreadable", share) == code
    text = capsys.readouterr().out
    assert "noisy_train_key_list.txt: 2 missing or unreadable, 0 without a label." in text
    assert "noisy_train_key_list.txt: 2 with the same bytes as a test image" in text
    stamp, *rows = lines(clothing / UNREADABLE)
    assert stamp.startswith("NOT IN ORDER" if code else "verified")
    found = dict(row.split("\t") for row in rows)
    names = lines(clothing / "noisy_train_key_list.txt")[:4]
    assert found.keys() == set(names)
    assert found[names[0]] == "missing"
    assert all(found[name].startswith("the same bytes as") for name in names[2:])


def test_verify_food101n_writes_into_both_folders(food, capsys):
    first = lines(food / "food-101" / "meta" / "test.txt")[0]
    (food / "food-101" / "images" / f"{first}.jpg").unlink()
    assert run(verify, "food101n", food, "--test-root", food, "--workers", 1, "--max-unreadable", 0.2) == 0
    assert "of these, 1 belong to no image of the list" in capsys.readouterr().out
    assert len(lines(food / "Food-101N_release" / UNREADABLE)) == 1
    assert lines(food / "food-101" / UNREADABLE)[1:] == [f"images/{first}.jpg\tmissing"]


@pytest.mark.parametrize(
    ("script", "arguments", "message"),
    [
        (verify, ("image_folder", "nowhere"), "There is no folder"),
        (prepare, ("nowhere", "copy"), "There is no folder"),
        (verify, ("clothing1m", "clothing1m", "--workers", 0), "workers"),
        *((verify, ("clothing1m", "clothing1m", "--max-unreadable", x), "from 0 to 1") for x in ("nan", 5, -1)),
        (prepare, ("clothing1m", "clothing1m/copy"), "must lie outside"),
        (prepare, ("clothing1m", "."), "holds files that are no prepared copy"),
        (make_synthetic, ("clothing1m", "--output", "clothing1m"), "holds something already"),
        (make_synthetic, ("food101n", "--output", "new", "--classes", 4), "classes must be from 5 to 14"),
    ],
)
def test_a_wrong_command_says_why_and_changes_nothing(clothing, monkeypatch, capsys, script, arguments, message):
    monkeypatch.chdir(clothing.parent)
    before = images(clothing.parent)
    assert run(script, *arguments) == 1
    assert message in capsys.readouterr().err
    assert images(clothing.parent) == before


@pytest.mark.parametrize(("bound", "value"), [("LARGEST", 1000), ("SECONDS", 0)])
def test_a_download_that_is_too_large_or_too_long_is_ended(server, mirror, tmp_path, monkeypatch, capsys, bound, value):
    monkeypatch.setattr(download, bound, value)
    assert run(download, "cifar10", *mirror) == 1
    assert "is ended: more than" in capsys.readouterr().err
    assert not seen(tmp_path / "data")


@pytest.mark.parametrize("script", [verify, prepare, download])
def test_a_folder_that_another_process_writes_to_is_left_alone(clothing, tmp_path, capsys, script):
    command = {verify: ("clothing1m", clothing), prepare: (clothing, tmp_path / "copy"), download: ("cifar10",)}[script]
    folder = clothing if script is verify else tmp_path / "copy"
    with locked(folder):
        assert run(script, *command, *(("--output", folder) if script is download else ())) == 1
    assert f"Another process is writing to {folder}" in capsys.readouterr().err
    assert not (clothing / UNREADABLE).exists()
    assert not seen(tmp_path / "copy")


def test_synthetic_data_drawn_twice_at_once_are_whole(tmp_path):
    small = ("food101n", "--images-per-class", "2", "--output", tmp_path / "food")
    command = [sys.executable, make_synthetic.__file__, *small]
    both = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    errors = [one.communicate()[1] for one in both]
    assert sorted(one.returncode for one in both) == [0, 1], errors
    assert [path.name for path in tmp_path.iterdir()] == ["food"]
    assert run(verify, "food101n", tmp_path / "food", "--test-root", tmp_path / "food", "--workers", 1) == 0


@pytest.mark.parametrize("kind", ["a file", "a folder"])
def test_prepare_refuses_links_that_lead_out_and_follows_others(clothing, tmp_path, capsys, kind):
    (clothing / "inside.txt").symlink_to(clothing / "noisy_label_kv.txt")
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret/key.txt").write_text("secret")
    assert run(prepare, clothing, tmp_path / "first", "--short-side", 90, "--workers", 1) == 0
    assert lines(tmp_path / "first/inside.txt") == lines(clothing / "noisy_label_kv.txt")
    (clothing / "link").symlink_to(tmp_path / ("secret/key.txt" if kind == "a file" else "secret"))
    assert run(prepare, clothing, tmp_path / "copy") == 1
    assert "link is a link that leads out of" in capsys.readouterr().err
    assert not (tmp_path / "copy").exists()


def test_an_archive_whose_files_have_holes_is_refused(tmp_path, capsys):
    path = archive(tmp_path / "images" / "0.tar")
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as tar:
        member = tarfile.TarInfo("0/a.jpg")
        member.pax_headers = {"GNU.sparse.size": str(2**26), "GNU.sparse.map": f"{2**26},0"}
        tar.addfile(member)
    assert run(prepare, tmp_path, "--unpack-only") == 1
    assert "its files are larger than it is" in capsys.readouterr().err
    assert images(tmp_path) == []


def test_a_verification_that_is_stopped_writes_nothing(clothing, monkeypatch, capsys):
    monkeypatch.setattr(verify, "tqdm", lambda looks, *_, **__: (_ for _ in ()).throw(KeyboardInterrupt))
    assert run(verify, "clothing1m", clothing, "--workers", 1) == 130
    assert not (clothing / UNREADABLE).exists()


def test_prepare_makes_small_images_and_copies_the_rest(clothing, tmp_path):
    copy = tmp_path / "copy"
    verify.verify("clothing1m", clothing)
    assert run(prepare, clothing, copy, "--short-side", 90, "--workers", 1) == 0
    assert images(copy) == images(clothing)
    assert not (copy / UNREADABLE).exists()
    for name in images(clothing):
        before, after = (decode_image(root / name) for root in (clothing, copy))
        assert min(after.shape[1:]) == min(90, *before.shape[1:])
        if min(before.shape[1:]) <= 90:
            assert (clothing / name).read_bytes() == (copy / name).read_bytes()
    assert torch.equal(true_labels(clothing1m(copy).images), true_labels(clothing1m(clothing).images))


def test_prepare_keeps_each_file_s_own_format(tmp_path):
    (tmp_path / "raw" / "cat").mkdir(parents=True)
    for name in ("a.png", "b.webp", "c.JPG"):
        Image.new("RGB", (80, 60), "green").save(tmp_path / "raw" / "cat" / name)
    prepare.prepare(tmp_path / "raw", tmp_path / "copy", short_side=30)
    small = [Image.open(tmp_path / "copy" / "cat" / name) for name in ("a.png", "b.webp", "c.JPG")]
    assert [(one.format, one.size) for one in small] == [(kind, (40, 30)) for kind in ("PNG", "WEBP", "JPEG")]


def test_prepare_runs_on_its_own_and_names_what_it_cannot_read(clothing, tmp_path):
    listed_image(clothing).write_bytes(b"\xff\xd8\xff broken")
    command = [sys.executable, prepare.__file__, clothing, tmp_path / "copy", "--workers", "2"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "1 images could not be read" in done.stdout
    assert len(images(tmp_path / "copy")) == len(images(clothing)) - 1


def test_prepare_goes_on_where_it_was_stopped(clothing, tmp_path, monkeypatch, capsys):
    saved, save, copy = [], Image.Image.save, tmp_path / "copy"

    def stop_in_the_tenth(self, path, *arguments, **options):
        if len(saved) == 9:
            path.write_bytes(b"half")
            raise KeyboardInterrupt
        saved.append(path)
        save(self, path, *arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(Image.Image, "save", stop_in_the_tenth)
        assert run(prepare, clothing, copy, "--short-side", 32, "--workers", 1) == 130
    before = {name: (copy / name).stat().st_mtime_ns for name in images(copy)}
    assert len(before) == 9
    assert run(prepare, clothing, copy, "--short-side", 32, "--workers", 2) == 0
    assert len(images(copy)) == 45
    assert before == {name: (copy / name).stat().st_mtime_ns for name in before}
    assert not list(copy.rglob("*.part"))
    assert run(prepare, clothing, copy, "--workers", 1) == 1
    assert "was begun with another short side" in capsys.readouterr().err


def test_archives_are_unpacked_once(clothing, small_clothing1m):
    """0.tar to 9.tar beside the images folder or in it, with or without its name in theirs."""
    for top in (clothing / "images").iterdir():
        outside = int(top.name) % 2
        with tarfile.open((clothing if outside else clothing / "images") / f"{top.name}.tar", "w") as tar:
            tar.add(top, f"./images/{top.name}" if outside else top.name)
        shutil.rmtree(top)
    assert run(prepare, clothing, "--unpack-only") == 0
    names = images(clothing)
    assert names == images(small_clothing1m)
    (clothing / names[0]).unlink()
    (clothing / names[1]).write_bytes(b"half")
    before = {name: (clothing / name).stat().st_mtime_ns for name in names[2:]}
    assert run(prepare, clothing, "--unpack-only") == 0
    assert len(clothing1m(clothing)) == 30
    assert before == {name: (clothing / name).stat().st_mtime_ns for name in names[2:]}


@pytest.mark.parametrize(
    ("name", "kind", "target"),
    [
        *((name, tarfile.REGTYPE, "") for name in ("../evil.jpg", "0/../../../evil.jpg")),
        *(("0/link", tarfile.SYMTYPE, target) for target in ("/etc/passwd", "good.jpg")),
        ("0/link", tarfile.LNKTYPE, "../../evil.jpg"),
        *(("0/device", kind, "") for kind in (tarfile.CHRTYPE, tarfile.FIFOTYPE)),
    ],
)
def test_archives_that_could_do_harm_are_refused_and_nothing_is_written(tmp_path, capsys, name, kind, target):
    archive(tmp_path / "data" / "images" / "0.tar", ("0/00/good.jpg", tarfile.REGTYPE, ""), (name, kind, target))
    assert run(prepare, tmp_path / "data", "--unpack-only") == 1
    assert "0.tar is damaged or not safe to unpack: " in capsys.readouterr().err
    assert images(tmp_path) == []


def test_an_archive_that_is_cut_off_is_named(tmp_path, capsys):
    path = archive(tmp_path / "images" / "0.tar", *((f"0/0{i}/a.jpg", tarfile.REGTYPE, "") for i in range(2)))
    for keep in (2048, 1100, 1024, 700, 100):
        path.write_bytes(path.read_bytes()[:keep])
        assert run(prepare, tmp_path, "--unpack-only") == 1
        assert "0.tar is damaged" in capsys.readouterr().err


def test_wrong_labels_depend_on_the_image_and_come_at_the_rate_asked_for():
    artist = Artist(4, noise_rate=0.4, seed=0)
    drawn = [artist.draw(label) for label in range(4) for _ in range(60)]
    wrong, right = ([image.doubt for image in drawn if (image.noisy_label != image.true_label) == x] for x in (1, 0))
    assert len(wrong) / len(drawn) == pytest.approx(0.4, abs=0.08)
    assert np.mean(wrong) > np.mean(right) + 0.15


def test_the_same_seed_draws_the_same_images(tmp_path):
    for folder, seed in (("a", 0), ("b", 0), ("c", 1)):
        small = ("--classes", 2, "--images-per-class", 3, "--seed", seed)
        assert run(make_synthetic, "clothing1m", "--output", tmp_path / folder, *small) == 0
    contents = [{name: (tmp_path / x / name).read_bytes() for name in images(tmp_path / x)} for x in "abc"]
    assert contents[0] == contents[1] != contents[2]


def test_synthetic_data_have_the_quirks_of_the_originals(small_clothing1m):
    for name, form in (("noisy_train_key_list.txt", ""), ("noisy_label_kv.txt", r" \d+")):
        text = (small_clothing1m / name).read_text()
        assert re.fullmatch(rf"(images/\d/\d\d/\S*,\S*\.jpg{form}(\n(?=.)|$))+", text)
