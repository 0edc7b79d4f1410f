import os
import struct
import sys
import zlib

import numpy as np
import pytest
import torch
from PIL import Image

from dsl_teach.data import decode
from dsl_teach.data.decode import MOST_BYTES, UnreadableImage, cut, decode_image, resize_short_side, torchcodec_decoder

DECODERS = ["torchcodec", "pillow"]
PICTURE = Image.fromarray(np.kron(np.arange(60, dtype=np.uint8).reshape(5, 4, 3) * 4, np.ones((12, 15, 1), np.uint8)))
TURNED = Image.Exif()
TURNED[0x0112] = 6


def save(path, image=PICTURE, kind="JPEG", **options):
    image.save(path, kind, **options)
    return path


@pytest.fixture(params=DECODERS)
def decoder(request, monkeypatch):
    if request.param == "torchcodec" and torchcodec_decoder() is None:
        pytest.skip("TorchCodec is not installed")
    if request.param == "pillow":
        monkeypatch.setattr(decode, "torchcodec_decoder", lambda: None)


@pytest.mark.parametrize(
    ("image", "kind"),
    [
        *((PICTURE.convert(mode), "JPEG") for mode in ("RGB", "L", "CMYK")),
        *((PICTURE.convert(mode), "PNG") for mode in ("RGB", "P", "RGBA", "LA", "1")),
        *((PICTURE, kind) for kind in ("WEBP", "BMP")),
    ],
)
def test_every_kind_becomes_rgb(tmp_path, decoder, image, kind):
    path = save(tmp_path / "image", image, kind)
    expected = torch.tensor(np.asarray(Image.open(path).convert("RGB"))).permute(2, 0, 1)
    torch.testing.assert_close(decode_image(path), expected, rtol=0, atol=0)


def test_the_camera_s_turn_is_followed(tmp_path, decoder):
    path = save(tmp_path / "image.jpg", PICTURE.crop((0, 0, 60, 30)), exif=TURNED)
    assert decode_image(path).shape == (3, 60, 30)


def test_sixteen_bits_become_eight(tmp_path, decoder):
    ramp = Image.fromarray((np.arange(256, dtype=np.uint16) * 257).reshape(16, 16))
    assert decode_image(save(tmp_path / "image.png", ramp, "PNG"))[0].flatten().tolist() == [*range(256)]


def test_of_a_moving_picture_the_first_is_taken(tmp_path, decoder):
    path = tmp_path / "image.gif"
    Image.new("RGB", (40, 30), "red").save(path, save_all=True, append_images=[Image.new("RGB", (40, 30), "blue")])
    assert decode_image(path)[:, 0, 0].tolist() == [255, 0, 0]


@pytest.mark.parametrize("keep", [0, 2, 100, 0.5, -20, -1])
def test_a_cut_off_file_is_named(tmp_path, decoder, keep):
    data = save(tmp_path / "whole.jpg").read_bytes()
    path = tmp_path / "cut.jpg"
    path.write_bytes(data[: int(keep * len(data)) if keep == 0.5 else keep])
    with pytest.raises(UnreadableImage, match=r"The image .*cut\.jpg cannot be read: .*verify\.py") as caught:
        decode_image(path)
    assert caught.value.path == path
    assert "\n" not in str(caught.value)


def test_what_is_no_image_or_an_absurdly_narrow_one_is_named(tmp_path, decoder):
    (tmp_path / "text.jpg").write_bytes(b"no image at all")
    save(tmp_path / "line.png", Image.new("RGB", (1000, 3)), "PNG")
    for name, reason in (("gone.jpg", "missing"), ("text.jpg", ""), ("line.png", "1000 x 3 pixels is too long")):
        with pytest.raises(UnreadableImage, match=rf"{name} cannot be read: .*{reason}"):
            decode_image(tmp_path / name)


def test_pillow_takes_over_where_torchcodec_is_missing(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torchcodec.decoders", None)
    torchcodec_decoder.cache_clear()
    try:
        assert torchcodec_decoder() is None
        assert decode_image(save(tmp_path / "image.jpg")).shape == (3, 60, 60)
    finally:
        torchcodec_decoder.cache_clear()


def test_what_must_not_be_read_is_refused_before_it_is(tmp_path):
    save(tmp_path / "outside.jpg")
    (tmp_path / "data").mkdir()
    os.mkfifo(tmp_path / "data/pipe.jpg")
    (tmp_path / "data/zero.jpg").symlink_to("/dev/zero")
    (tmp_path / "data/link.jpg").symlink_to(tmp_path / "outside.jpg")
    for name in ("pipe", "zero"):
        with pytest.raises(UnreadableImage, match="a pipe or a device"):
            decode_image(tmp_path / f"data/{name}.jpg")
    with pytest.raises(UnreadableImage, match="leads out of the data folder"):
        decode_image(tmp_path / "data/link.jpg", within=tmp_path / "data")
    (tmp_path / "elsewhere").symlink_to(tmp_path)
    assert decode_image(tmp_path / "elsewhere/outside.jpg", within=tmp_path / "elsewhere").shape == (3, 60, 60)


@pytest.mark.filterwarnings("ignore:Image size")
@pytest.mark.parametrize("side", [10_001, 30_000])
def test_too_many_pixels_are_refused_by_the_header(tmp_path, side):
    header = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(b"")), (b"IEND", b""))
    parts = (struct.pack(">I", len(x)) + kind + x + struct.pack(">I", zlib.crc32(kind + x)) for kind, x in chunks)
    (tmp_path / "bomb.png").write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(parts))
    with pytest.raises(UnreadableImage, match="more than the 100,000,000 pixels"):
        decode_image(tmp_path / "bomb.png")


@pytest.mark.parametrize(("size", "expected"), [((100, 200), (50, 100)), ((40, 30), (66, 50)), ((50, 99), (50, 99))])
def test_short_side(size, expected):
    image = torch.zeros(3, *size, dtype=torch.uint8)
    small = resize_short_side(image, 50)
    assert small.shape[1:] == expected
    assert (small is image) == (size == expected)


def test_cut_from_corner_to_corner():
    image = torch.arange(3 * 6 * 8, dtype=torch.uint8).view(3, 6, 8)
    assert torch.equal(cut(image, 4), image[:, 1:5, 2:6])
    assert torch.equal(cut(image, 4, [0.0, 0.0, 0.9]), image[:, :4, :4])
    assert torch.equal(cut(image, 4, [0.999, 0.999, 0.9]), image[:, 2:, 4:])
    assert torch.equal(cut(image, 4, [0.0, 0.0, 0.1]), image[:, :4, :4].flip(-1))


def test_too_many_bytes_are_refused_before_any_is_read(tmp_path):
    path = tmp_path / "long.png"
    with path.open("wb") as file:
        file.truncate(MOST_BYTES + 1)  # a file with a hole: no disk is filled
    with pytest.raises(UnreadableImage, match="bytes that its file may have"):
        decode_image(path)
