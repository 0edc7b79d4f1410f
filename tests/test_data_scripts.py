"""verify.py, prepare.py and make_stand_in.py, called as a user calls them."""

import importlib.util
import io
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
import torch
from PIL import Image

from dsl_teach.data import preparing, verify_sets, verifying
from dsl_teach.data.clothing1m import clothing1m
from dsl_teach.data.decode import decode_image
from dsl_teach.data.food101n import food101n
from dsl_teach.data.parts import STAND_IN
from dsl_teach.data.preparing import PREPARED, UNREADABLE, prepare, unpack
from dsl_teach.data.stand_in import TRUTH, make_clothing1m, make_food101n, true_labels
from dsl_teach.data.verifying import JOURNAL, REPORT

SCRIPTS = Path(__file__).parent.parent / "data_scripts"


def load(name):
    spec = importlib.util.spec_from_file_location(name, SCRIPTS / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


verify, prepare_script, make_stand_in = (load(name) for name in ("verify", "prepare", "make_stand_in"))


@pytest.fixture
def clothing(small_clothing1m, tmp_path):
    return shutil.copytree(small_clothing1m, tmp_path / "clothing1m")


@pytest.fixture
def food(small_food101n, tmp_path):
    return shutil.copytree(small_food101n, tmp_path / "food")


def lines(path):
    return path.read_text().splitlines()


def images(root):
    return sorted(path.relative_to(root).as_posix() for path in root.rglob("*.jpg"))


def image(root, number=0, name="noisy_train"):
    return root / lines(root / f"{name}_key_list.txt")[number]


def run(script, *arguments):
    return script.main([str(argument) for argument in arguments])


# -------------------------------------------------------------------------------------------------------- verify


def test_verify_finds_a_stand_in_in_order(clothing, capsys):
    assert run(verify, "clothing1m", clothing, "--processes", 1) == 0
    text = capsys.readouterr().out
    assert "noisy_train_key_list.txt: 30\n" in text
    assert "a stand-in drawn by the project" in text
    assert text.endswith("Everything is in order.\n")
    assert lines(clothing / REPORT) == ["list\tpath\twhat"]
    assert not (clothing / JOURNAL).exists()
    assert len(clothing1m(clothing, check="list")) == 30


def test_verify_compares_counts_where_there_is_no_stand_in(clothing, capsys):
    (clothing / STAND_IN).unlink()
    assert run(verify, "clothing1m", clothing, "--processes", 1) == 1
    text = capsys.readouterr().out
    assert "PROBLEM: noisy_train_key_list.txt: there are 30, but the published data set has 1,000,000." in text
    assert "PROBLEM: rows of noisy_label_kv.txt: there are 38, but the published data set has 1,037,497." in text
    assert "PROBLEM: clean_val images with a noisy label: there are 2, but the published data set has 7,465." in text


def test_verify_accepts_the_published_counts(clothing, capsys, monkeypatch):
    report = verify_sets.verify_clothing1m(clothing)
    monkeypatch.setattr(verify_sets, "CLOTHING1M", {what: number for what, (number, _) in report.counts.items()})
    (clothing / STAND_IN).unlink()
    assert run(verify, "clothing1m", clothing, "--processes", 1) == 0
    assert "images of the smallest noisy class: " in capsys.readouterr().out


def test_the_published_counts_are_those_of_the_stand_in_s_lists(small_clothing1m, small_food101n, tmp_path):
    counts = verify_sets.verify_clothing1m(shutil.copytree(small_clothing1m, tmp_path / "a")).counts
    assert set(verify_sets.CLOTHING1M) <= set(counts)
    food = shutil.copytree(small_food101n, tmp_path / "b")
    assert set(verify_sets.FOOD101N) | {"test.txt"} <= set(verify_sets.verify_food101n(food, food).counts)


def test_verify_lists_what_is_broken(clothing, capsys):
    image(clothing).unlink()
    image(clothing, 1).write_bytes(image(clothing, 1).read_bytes()[:-50])
    shutil.copy(image(clothing, 2), image(clothing, 3))
    shutil.copy(image(clothing, name="clean_test"), image(clothing, 4))
    assert run(verify, "clothing1m", clothing, "--processes", 1) == 1
    text = capsys.readouterr().out
    assert "noisy_train_key_list.txt: missing: 1" in text
    assert "noisy_train_key_list.txt: unreadable: 1" in text
    assert "noisy_train_key_list.txt: double: 1" in text
    assert "PROBLEM: 2 of 30 images of noisy_train_key_list.txt cannot be used" in text
    assert "note: 1 images of noisy_train_key_list.txt hold the same bytes as an image of clean_test" in text
    rows = [line.split("\t")[1:] for line in lines(clothing / REPORT)[1:]]
    names = [lines(clothing / "noisy_train_key_list.txt")[i].removeprefix("images/") for i in range(5)]
    assert [names[0], "missing"] in rows
    assert [names[3], f"the same bytes as {names[2]}"] in rows
    assert {row[0] for row in rows} == {names[i] for i in (0, 1, 3, 4)}


def test_verify_accepts_a_named_share_of_broken_images(clothing):
    image(clothing).unlink()
    assert run(verify, "clothing1m", clothing, "--processes", 1, "--max-unreadable", 0.05) == 0
    with pytest.warns(UserWarning, match="left out"):
        assert len(clothing1m(clothing, check="list", max_unreadable=0.05)) == 29


def test_verify_finds_a_key_in_two_lists(clothing, capsys):
    path = clothing / "noisy_train_key_list.txt"
    path.write_text(path.read_text() + "\n" + lines(clothing / "clean_val_key_list.txt")[0])
    assert run(verify, "clothing1m", clothing, "--processes", 1) == 1
    assert "1 image(s) stand in noisy_train_key_list.txt and in clean_val_key_list.txt" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["category_names_eng.txt", "clean_val_key_list.txt", "noisy_train_key_list.txt"])
def test_verify_goes_on_after_a_missing_list(clothing, capsys, name):
    (clothing / name).unlink()
    assert run(verify, "clothing1m", clothing, "--processes", 1) == 1
    assert f"{name} is missing" in capsys.readouterr().out


def test_verify_names_a_folder_that_is_not_there(tmp_path, capsys):
    for name in ("clothing1m", "food101n", "food101"):
        assert run(verify, name, tmp_path / "nowhere") == 1
        assert "There is no folder" in capsys.readouterr().err


def test_verify_food101n(food, capsys):
    assert run(verify, "food101n", food, "--processes", 1) == 0
    text = capsys.readouterr().out
    assert "imagelist.tsv: 51\n" in text
    assert "Food-101N's imagelist.tsv: double: 1" in text
    assert "note: 1 row(s) of verified_val.tsv belong to no image of the list" in text
    with pytest.warns(UserWarning, match="verification"):
        assert len(food101n(food, food, check="list")) == 51


def test_verify_food101n_with_its_lists_gone(food, capsys):
    (food / "Food-101N_release" / "meta" / "imagelist.tsv").unlink()
    (food / "food-101" / "meta" / "test.txt").unlink()
    assert run(verify, "food101n", food / "Food-101N_release", "--food101", food / "food-101") == 1
    text = capsys.readouterr().out
    assert "imagelist.tsv is missing" in text
    assert "test.txt is missing" in text


def test_verify_food101(food, capsys):
    assert run(verify, "food101", food, "--processes", 1) == 0
    assert "test.txt: 10\n" in capsys.readouterr().out
    images_ = images(food / "food-101")
    (food / "food-101" / images_[0]).unlink()
    (food / "food-101" / images_[1]).unlink()
    (food / "food-101" / STAND_IN).unlink()
    assert run(verify, "food101", food, "--processes", 1) == 1
    assert "test.txt: there are 10, but the published data set has 25,250" in capsys.readouterr().out


def test_verify_goes_on_where_it_was_stopped(clothing, monkeypatch, capsys):
    seen = []

    def stop_after_twenty(path):
        if len(seen) == 20:
            raise KeyboardInterrupt
        seen.append(path)
        return real(path)

    real = verifying.inspect
    monkeypatch.setattr(verifying, "inspect", stop_after_twenty)
    assert run(verify, "clothing1m", clothing, "--processes", 1) == 130
    assert "The same command goes on where it stopped" in capsys.readouterr().err
    with (clothing / JOURNAL).open("a") as journal:
        journal.write("123456\timages/0/0")  # a line that was cut off
    first = set(seen)
    seen[:] = []
    monkeypatch.setattr(verifying, "inspect", lambda path: seen.append(path) or real(path))
    assert run(verify, "clothing1m", clothing, "--processes", 1) == 0
    assert len(first & set(seen)) <= 1
    assert len(first | set(seen)) == len(images(clothing)) == 45


def test_two_processes_find_the_same(clothing):
    image(clothing).unlink()
    one = verify_sets.verify_clothing1m(clothing, workers=1)
    two = verify_sets.verify_clothing1m(clothing, workers=2)
    assert one == two


def test_the_number_of_processes_must_be_positive(clothing, capsys):
    assert run(verify, "clothing1m", clothing, "--processes", 0) == 1
    assert "processes must be at least 1" in capsys.readouterr().err


# ------------------------------------------------------------------------------------------------------- prepare


def test_prepare_makes_small_images_and_copies_the_rest(clothing, tmp_path, capsys):
    copy = tmp_path / "copy"
    assert run(prepare_script, clothing, copy, "--short-side", 90, "--processes", 1) == 0
    assert "holds 45 images and 9 other files" in capsys.readouterr().out
    assert images(copy) == images(clothing)
    for name in images(clothing):
        before, after = (decode_image(root / name) for root in (clothing, copy))
        assert min(after.shape[1:]) == min(90, *before.shape[1:])
        if min(before.shape[1:]) <= 90:
            assert (clothing / name).read_bytes() == (copy / name).read_bytes()
    data = clothing1m(copy)
    assert "stand-in" in data.made_from
    assert torch.equal(true_labels(data.images), true_labels(clothing1m(clothing).images))


def test_prepare_keeps_each_file_s_own_format(tmp_path):
    (tmp_path / "raw" / "cat").mkdir(parents=True)
    for name in ("a.png", "b.webp", "c.JPG"):
        Image.new("RGB", (80, 60), "green").save(tmp_path / "raw" / "cat" / name)
    prepare(tmp_path / "raw", tmp_path / "copy", short_side=30)
    for name, kind in (("a.png", "PNG"), ("b.webp", "WEBP"), ("c.JPG", "JPEG")):
        small = Image.open(tmp_path / "copy" / "cat" / name)
        assert (small.format, small.size) == (kind, (40, 30))


def test_prepare_lists_what_it_cannot_read(clothing, tmp_path, capsys):
    image(clothing).write_bytes(b"\xff\xd8\xff broken")
    assert run(prepare_script, clothing, tmp_path / "copy", "--processes", 1) == 0
    assert "1 images cannot be read" in capsys.readouterr().out
    assert len(lines(tmp_path / "copy" / UNREADABLE)) == 2
    with pytest.raises(ValueError, match="1 of 30 images"):
        clothing1m(tmp_path / "copy")


def test_prepare_goes_on_where_it_was_stopped(clothing, tmp_path, monkeypatch, capsys):
    made = []

    def stop_after_ten(job):
        if len(made) == 10:
            raise KeyboardInterrupt
        made.append(job)
        return real(job)

    real, copy = preparing.make_small, tmp_path / "copy"
    monkeypatch.setattr(preparing, "make_small", stop_after_ten)
    assert run(prepare_script, clothing, copy, "--short-side", 32, "--processes", 1) == 130
    assert "The same command goes on where it stopped" in capsys.readouterr().err
    before = {name: (copy / name).stat().st_mtime_ns for name in images(copy)}
    assert len(before) == 10
    monkeypatch.setattr(preparing, "make_small", real)
    assert run(prepare_script, clothing, copy, "--short-side", 32, "--processes", 2) == 0
    assert len(images(copy)) == 45
    assert before == {name: (copy / name).stat().st_mtime_ns for name in before}


def test_a_write_that_is_stopped_leaves_no_half_file(clothing, tmp_path, monkeypatch):
    def fail(image_, path, *args, **options):
        path.write_bytes(b"half")
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Image.Image, "save", fail)
        with pytest.raises(KeyboardInterrupt):
            prepare(clothing, tmp_path / "copy", short_side=32)
    assert images(tmp_path / "copy") == []
    prepare(clothing, tmp_path / "copy", short_side=32)
    assert len(images(tmp_path / "copy")) == 45
    assert not list((tmp_path / "copy").rglob("*.part"))


def test_prepare_refuses_another_size_in_the_same_folder(clothing, tmp_path, capsys):
    prepare(clothing, tmp_path / "copy", short_side=32)
    assert run(prepare_script, clothing, tmp_path / "copy", "--processes", 1) == 1
    assert f"was begun with another short side, see {tmp_path / 'copy' / PREPARED}" in capsys.readouterr().err


def test_prepare_refuses_folders_it_could_spoil(clothing, tmp_path):
    with pytest.raises(ValueError, match="must lie outside"):
        prepare(clothing, clothing / "copy")
    with pytest.raises(ValueError, match="holds files that are no prepared copy"):
        prepare(clothing, tmp_path)
    with pytest.raises(FileNotFoundError, match="There is no folder"):
        prepare(tmp_path / "nowhere", tmp_path / "copy")
    with pytest.raises(ValueError, match="short_side must be at least 1"):
        prepare(clothing, tmp_path / "copy", short_side=0)


def test_prepare_asks_for_a_folder(clothing, capsys):
    with pytest.raises(SystemExit) as caught:
        run(prepare_script, clothing)
    assert caught.value.code == 2
    assert "--unpack-only" in capsys.readouterr().err


@pytest.fixture
def packed(tmp_path):
    return make_clothing1m(tmp_path / "packed", classes=3, images_per_class=10, archives=True)


def test_unpack_gives_the_loose_images(packed, small_clothing1m, capsys):
    assert run(prepare_script, packed, "--unpack-only") == 0
    assert "The archives' 45 files are in" in capsys.readouterr().out
    assert images(packed) == images(small_clothing1m)
    assert len(clothing1m(packed)) == 30


def test_unpack_goes_on_where_it_was_stopped(packed):
    unpack(packed)
    names = images(packed)
    (packed / names[0]).unlink()
    (packed / names[1]).write_bytes(b"half")
    before = {name: (packed / name).stat().st_mtime_ns for name in names[2:]}
    unpack(packed)
    assert len(clothing1m(packed)) == 30
    assert before == {name: (packed / name).stat().st_mtime_ns for name in names[2:]}


def test_archives_beside_the_lists_with_the_prefix_in_their_names(tmp_path):
    archive(tmp_path / "3.tar", "./images/3/33/a,b.jpg")
    assert unpack(tmp_path) == 2
    assert images(tmp_path) == ["images/0/00/good.jpg", "images/3/33/a,b.jpg"]


def archive(path, name, kind=tarfile.REGTYPE, target=""):
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as tar:
        good = tarfile.TarInfo("0/00/good.jpg")
        good.size = 4
        tar.addfile(good, io.BytesIO(b"good"))
        member = tarfile.TarInfo(name)
        member.type, member.linkname, member.size = kind, target, 4 if kind == tarfile.REGTYPE else 0
        tar.addfile(member, io.BytesIO(b"evil"))


@pytest.mark.parametrize(
    ("name", "kind", "target", "message"),
    [
        ("../evil.jpg", tarfile.REGTYPE, "", "leads out of the folder"),
        ("0/../../../evil.jpg", tarfile.REGTYPE, "", "leads out of the folder"),
        ("/evil.jpg", tarfile.REGTYPE, "", "leads out of the folder"),
        ("0/link", tarfile.SYMTYPE, "/etc/passwd", "is a link or a device"),
        ("0/link", tarfile.LNKTYPE, "../../evil.jpg", "is a link or a device"),
        ("0/device", tarfile.CHRTYPE, "", "is a link or a device"),
        ("0/pipe", tarfile.FIFOTYPE, "", "is a link or a device"),
    ],
)
def test_unpack_refuses_members_that_could_do_harm(tmp_path, capsys, name, kind, target, message):
    archive(tmp_path / "data" / "images" / "0.tar", name, kind, target)
    assert run(prepare_script, tmp_path / "data", "--unpack-only") == 1
    error = capsys.readouterr().err
    assert f"0.tar: the member '{name}' {message}. Nothing was unpacked." in error
    assert images(tmp_path) == []


@pytest.mark.parametrize("keep", [100, 700, 1024, 1100, 2048])
def test_unpack_names_an_archive_that_is_cut_off(tmp_path, capsys, keep):
    archive(tmp_path / "images" / "0.tar", "0/01/more.jpg")
    path = tmp_path / "images" / "0.tar"
    path.write_bytes(path.read_bytes()[:keep])
    assert run(prepare_script, tmp_path, "--unpack-only") == 1
    assert "0.tar is damaged or cut off" in capsys.readouterr().err


# ------------------------------------------------------------------------------------------------- make_stand_in


def test_make_stand_in_is_seeded(tmp_path):
    small = ("--classes", 2, "--images-per-class", 3)
    for folder, seed in (("a", 0), ("b", 0), ("c", 1)):
        assert run(make_stand_in, "clothing1m", tmp_path / folder, "--seed", seed, *small) == 0
    contents = [{name: (tmp_path / x / name).read_bytes() for name in images(tmp_path / x)} for x in "abc"]
    assert contents[0] == contents[1] != contents[2]


def test_make_stand_in_of_food101n(tmp_path, capsys):
    assert run(make_stand_in, "food101n", tmp_path / "food", "--classes", 5, "--images-per-class", 2) == 0
    assert "holds a stand-in of food101n" in capsys.readouterr().out
    for name in ("Food-101N_release", "food-101"):
        assert (tmp_path / "food" / name / STAND_IN).exists()


def test_stand_ins_have_the_quirks_of_the_originals(small_clothing1m, small_food101n):
    for name in ("noisy_train_key_list.txt", "noisy_label_kv.txt"):
        text = (small_clothing1m / name).read_text()
        assert not text.endswith("\n")
        assert all("," in line for line in lines(small_clothing1m / name))
    assert all(line.count(" ") == 1 for line in lines(small_clothing1m / "noisy_label_kv.txt"))
    keys = lines(small_clothing1m / "noisy_train_key_list.txt")
    assert keys == sorted(keys)
    rows = {line.split(" ")[0] for line in lines(small_clothing1m / "noisy_label_kv.txt")}
    assert set(keys) < rows
    assert all(len(key.split("/")[1]) == 1 and len(key.split("/")[2]) == 2 for key in keys)
    listed = lines(small_food101n / "Food-101N_release" / "meta" / "imagelist.tsv")[1:]
    there = {path.removeprefix("Food-101N_release/images/") for path in images(small_food101n)}
    assert set(listed) < there


def test_a_new_stand_in_spoils_no_folder(clothing, capsys):
    before = images(clothing)
    assert run(make_stand_in, "clothing1m", clothing) == 1
    assert "holds something already" in capsys.readouterr().err
    assert images(clothing) == before


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"classes": 1}, "classes must be from 2 to 14"),
        ({"images_per_class": 1}, "images_per_class must be at least 2"),
        ({"noise_rate": 0.6}, "noise_rate must be a share from 0 to 0.5"),
    ],
)
def test_stand_ins_refuse_numbers_out_of_range(tmp_path, options, message):
    with pytest.raises(ValueError, match=message):
        make_clothing1m(tmp_path / "new", **options)
    with pytest.raises(ValueError, match=message.replace("from 2", "from 5")):
        make_food101n(tmp_path / "new", **options)
    assert not list(tmp_path.iterdir())


def test_only_a_stand_in_has_a_truth(small_clothing1m, clothing):
    (clothing / TRUTH).unlink()
    with pytest.raises(FileNotFoundError, match="Only a stand-in drawn by the project has one"):
        true_labels(clothing1m(clothing).images)


# ------------------------------------------------------------------------------------------------- on their own


@pytest.mark.parametrize("script", [verify, prepare_script, make_stand_in])
def test_scripts_explain_themselves(script, capsys):
    with pytest.raises(SystemExit) as caught:
        run(script, "--help")
    assert caught.value.code == 0
    assert f"python data_scripts/{Path(script.__file__).name}" in capsys.readouterr().out


def test_a_script_runs_on_its_own(small_clothing1m, tmp_path):
    root = shutil.copytree(small_clothing1m, tmp_path / "clothing1m")
    command = [sys.executable, SCRIPTS / "verify.py", "clothing1m", root, "--processes", "2"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stdout.endswith("Everything is in order.\n")
    assert done.returncode == 0
