"""Networks: logits and embeddings that belong together, first weights, precision and memory layout."""

import urllib.error
from unittest.mock import Mock

import pytest
import torch
import torchvision

from dsl_teach.config import Settings
from dsl_teach.data.dataset import ImageFiles
from dsl_teach.seeds import stream
from dsl_teach.training import networks
from dsl_teach.training.loop import make_optimizer
from dsl_teach.training.networks import HalvingMaxPool, build_network, has_bfloat16, prepare, uses_bfloat16
from dsl_teach.training.runs import environment

NETWORKS = {"small_cnn": (32, 3, 16), "strided_cnn": (32, 3, 16), "mlp": (None, 2, 4)}
NETWORKS |= {"resnet18_small": (32, 1, 512), "resnet18": (64, 3, 512), "resnet50": (64, 3, 2048)}
"""Side of the images, channels, features."""


def made(name, *, side=8, channels=1, **more):
    """Four images or points, and a network for them."""
    shape = (4, channels, side, side) if side else (4, channels)
    images = torch.randint(0, 256, shape, dtype=torch.uint8, generator=stream(0))
    how = {"num_classes": 5, "width": 4, "generator": stream(0, "weights")}
    return images if side else images / 100, build_network(name, images=images, **how, **more)


@pytest.mark.parametrize("name", NETWORKS)
def test_every_network_gives_logits_and_the_embeddings_they_come_from(name, device):
    side, channels, features = NETWORKS[name]
    images, network = made(name, side=side, channels=channels)
    logits, embeddings = network.to(device).eval()(images.to(device))
    assert embeddings.shape == (4, features)
    torch.testing.assert_close(network.head(embeddings), logits)
    assert logits.shape == (4, network.num_classes)


def test_weights_follow_from_the_generator_alone():
    networks = []
    for seed in (0, 1):
        before = torch.manual_seed(seed).get_state()
        networks.append(made("mlp", side=None, channels=2)[1])
        assert torch.equal(torch.get_rng_state(), before)  # nobody drew from the global generator
    assert all(torch.equal(a, b) for a, b in zip(*(network.parameters() for network in networks), strict=True))


def test_images_are_scaled_by_the_mean_and_deviation_of_each_channel():
    images, network = made("small_cnn", channels=3)
    pixels, given = images.double(), []
    network.embed.register_forward_pre_hook(lambda module, args: given.append(args[0]))
    network(images)
    expected = (pixels - pixels.mean(dim=(0, 2, 3), keepdim=True)) / pixels.std(dim=(0, 2, 3), keepdim=True)
    torch.testing.assert_close(given[0].double(), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("side", [2, 7, 8])
def test_the_pooling_of_evaluation_is_that_of_training_to_the_last_bit(side, device):
    images = torch.randn(3, 2, side, side, generator=torch.Generator().manual_seed(0)).relu().to(device)
    expected = torch.nn.functional.max_pool2d(images, 2)
    with torch.inference_mode():
        assert torch.equal(HalvingMaxPool(2)(images), expected)
    assert torch.equal(HalvingMaxPool(2)(images), expected)


def test_weights_of_a_file_are_taken_and_those_of_its_last_layer_left(tmp_path):
    reference = torchvision.models.resnet18(weights=None)
    torch.save(reference.state_dict(), tmp_path / "resnet18.pth")
    _, network = made("resnet18", side=32, channels=3, weights=str(tmp_path / "resnet18.pth"))
    found = network.embed.state_dict()
    assert all(torch.equal(found[name], value) for name, value in reference.state_dict().items() if "fc." not in name)
    assert network.head.out_features == 5
    assert network.mean.flatten().tolist() == pytest.approx([123.675, 116.28, 103.53])


@pytest.mark.parametrize("content", [None, b"not weights", [1, 2], {"conv1.weight": torch.zeros(1)}])
def test_weights_that_cannot_be_had_say_what_to_pass(tmp_path, content):
    path = tmp_path / "weights.pth"
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content is not None:
        torch.save(content, path)
    with pytest.raises(ValueError, match=r"weights is \S+weights.pth, but [\s\S]* for resnet18 [\s\S]*Set weights to"):
        made("resnet18", side=32, channels=3, weights=str(path))


@pytest.mark.parametrize("name", ["resnet50", "resnet18_small"])
def test_imagenet_weights_without_a_network_say_what_to_pass(monkeypatch, name):
    error = urllib.error.URLError("Name or service not known")
    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", Mock(side_effect=error))
    with pytest.raises(ValueError, match=r"weights is imagenet, but .*Set weights to none, or to the path"):
        made(name, side=32, channels=3, weights="imagenet")


@pytest.mark.parametrize(
    ("name", "more", "sentence"),
    [
        ("vgg", {}, "network must be one of small_cnn, strided_cnn, mlp"),
        ("small_cnn", {"weights": "imagenet"}, "small_cnn starts from fresh weights; set weights to none"),
        ("resnet18", {}, "images of 3 channels, not 1; set network to resnet18_small"),
    ],
)
def test_what_does_not_fit_is_refused(name, more, sentence):
    with pytest.raises(ValueError, match=sentence):
        made(name, **more)


def test_images_on_disk_are_scaled_as_imagenets(tmp_path):
    files = ImageFiles(tmp_path, ("a.jpg",))
    network = build_network("resnet18", images=files, num_classes=2, width=4, generator=stream(0, "weights"))
    assert network.deviation.flatten().tolist() == pytest.approx([58.395, 57.12, 57.375])


def test_precision_auto_is_float32_for_small_networks_and_bfloat16_for_resnets_that_can(monkeypatch, device):
    for able in (True, False):
        monkeypatch.setattr(networks, "has_bfloat16", lambda device, able=able: able)
        assert not uses_bfloat16(Settings(), device)
        assert not uses_bfloat16(Settings(network="resnet18", precision="float32"), device)
        assert uses_bfloat16(Settings(network="resnet18"), device) == able
    with pytest.raises(ValueError, match=r"precision is bfloat16, but this .* is not made for it; set auto"):
        uses_bfloat16(Settings(precision="bfloat16"), device)


def test_the_default_settings_leave_a_small_network_as_it_is_and_fuse_on_a_gpu_alone(device):
    images, network = made("small_cnn")
    network.to(device)
    assert make_optimizer(network, Settings())[0].param_groups[0]["fused"] == (device.type == "cuda")
    before = network(images.to(device))[0]
    prepare(network, Settings())
    assert (network.in_bfloat16, network.channels_last) == (False, False)
    assert torch.equal(network(images.to(device))[0], before)


@pytest.mark.parametrize("name", ["small_cnn", "resnet18_small"])
def test_bfloat16_and_channels_last_compute_about_the_same(name, device, monkeypatch):
    if not has_bfloat16(torch.device(device)):
        monkeypatch.setattr(networks, "has_bfloat16", lambda device: True)  # emulated, slowly
    images, network = made(name, side=16, channels=1)
    images = images.to(device)
    expected = network.to(device).eval()(images)
    prepare(network, Settings(network=name, precision="bfloat16"))
    logits, embeddings = network(images)
    assert (logits.dtype, embeddings.dtype) == (torch.float32, torch.bfloat16)
    torch.testing.assert_close(logits, expected[0], rtol=0.05, atol=0.05)
    convolution = next(part for part in network.modules() if isinstance(part, torch.nn.Conv2d) and part.in_channels > 1)
    assert convolution.weight.is_contiguous(memory_format=torch.channels_last)


def test_compile_is_asked_for_once(monkeypatch):
    _, network = made("small_cnn")
    asked = []
    monkeypatch.setattr(type(network), "compile", lambda self: asked.append(self))
    prepare(network, Settings())
    assert not asked
    prepare(network, Settings(compile=True))
    assert asked == [network]


def test_the_environment_says_what_a_run_stood_on(tmp_path):
    found = environment(tmp_path)
    assert torch.__version__.startswith(found["torch"])
    assert {"Python", "system", "threads", "accelerator", "memory", "free disk"} <= set(found)
    assert all(isinstance(line, str) and line for line in found.values())
