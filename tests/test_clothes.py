"""Clothes: drawn pictures in the published layout, split by sender, with each kind of noise."""

import shutil

import pytest
import torch
from make_synthetic import make_clothes

pytest.importorskip("timm")

from dsl_teach.config import Settings
from dsl_teach.data import clothes
from dsl_teach.data.clothes import by_sender
from dsl_teach.data.clothes import clothes as read


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return make_clothes(tmp_path_factory.mktemp("drawn") / "clothes", classes=3, images_per_class=20)


def test_a_senders_pictures_are_all_on_one_side(folder):
    sides = []
    for seed in range(5):
        data = read(folder, seed=seed, trust=True)
        train, test = ({int(path[-6:-4]) for path in x.paths} for x in (data.images, data.test_images))
        assert train | test == set(range(60))
        assert not train & test
        assert not {n // 4 for n in train} & {n // 4 for n in test}
        assert 12 <= len(test) <= 15
        assert [data.class_names[c] for c in data.noisy_labels] == [path.split("/")[1] for path in data.images.paths]
        sides.append(frozenset(test))
    assert len(set(sides)) > 1


def test_a_sender_of_hundreds_stays_in_training():
    paths = [f"train/hat/{n}.jpg" for n in range(100)]
    who = {str(n): "one" if n < 60 else str(n) for n in range(100)}
    for seed in range(10):
        is_test = by_sender(paths, who, seed)
        assert not is_test[:60].any()
        assert int(is_test.sum()) == 20


@pytest.mark.parametrize("noise", ["chance", "images", "other_network"])
def test_noise_of_each_kind_has_its_rate(folder, noise, monkeypatch):
    generator = torch.Generator().manual_seed(0)
    asked = []
    monkeypatch.setattr(clothes, "probe", lambda data, network: asked.append(network) or torch.rand(
        len(data), 3, generator=generator, dtype=torch.float64).softmax(1))  # fmt: skip
    settings = Settings(dataset="clothes", data_root=str(folder), noise_rate=0.4, noise_from=noise, trust=True)
    data = clothes.load(settings)
    assert int((data.noisy_labels != data.clean_labels).sum()) == round(0.4 * len(data))
    named = {"chance": [], "images": ["tf_efficientnet_lite0"], "other_network": ["tf_efficientnet_lite2"]}
    assert asked == named[noise]


def test_what_is_missing_is_named(folder, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"holds no photographs .*download.py clothes"):
        read(tmp_path, seed=0)
    shutil.copytree(folder / "train", tmp_path / "train")
    with pytest.raises(FileNotFoundError, match=r"images\.csv"):
        read(tmp_path, seed=0)
    (tmp_path / "images.csv").write_text("picture,who\n")
    with pytest.raises(ValueError, match="columns image, sender_id, but image is missing"):
        read(tmp_path, seed=0)
