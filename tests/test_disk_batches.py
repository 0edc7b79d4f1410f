import itertools

import pytest
import torch

from dsl_teach.data.batches import OnDiskBatches
from dsl_teach.data.clothing1m import clothing1m
from dsl_teach.data.dataset import ImageFiles
from dsl_teach.data.decode import UnreadableImage, cut, decode_image, resize_short_side

SIZE = {"short_side": 40, "crop": 32}


@pytest.fixture(scope="module")
def data(small_clothing1m):
    return clothing1m(small_clothing1m)


def on_disk(data, **options):
    return OnDiskBatches(data.images, data.noisy_labels, **{"batch_size": 8, **SIZE, **options})


def collect(batches):
    images, labels, index = (torch.cat(parts) for parts in zip(*batches, strict=True))
    order = index.argsort()
    return images[order], labels[order], index


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def test_in_order_is_the_middle_of_each_image(data):
    images, labels, index = collect(on_disk(data).in_order())
    assert index.tolist() == [*range(30)]
    assert torch.equal(labels, data.noisy_labels)
    assert images.shape == (30, 3, 32, 32)
    assert images.dtype == torch.uint8
    for image, path in zip(images, data.images.paths, strict=True):
        assert torch.equal(image, cut(resize_short_side(decode_image(data.images.root / path), 40), 32))


def test_shuffled_gives_every_sample_once_with_its_own_label(data):
    batches = list(on_disk(data).shuffled(generator()))
    assert [len(batch.index) for batch in batches] == [8, 8, 8, 6]
    _, labels, index = collect(batches)
    assert sorted(index.tolist()) == [*range(30)]
    assert index.tolist() != [*range(30)]
    assert torch.equal(labels, data.noisy_labels)


def test_the_same_images_for_any_number_of_workers_and_any_batch_size(data):
    state = torch.get_rng_state()
    expected, _, order = collect(on_disk(data).shuffled(generator()))
    for options in ({"loader_workers": 2, "batch_size": 2}, {"loader_workers": 1, "batch_size": 5}, {"batch_size": 99}):
        images, _, index = collect(on_disk(data, **options).shuffled(generator()))
        assert torch.equal(images, expected)
        assert torch.equal(index, order)
    assert torch.equal(torch.get_rng_state(), state)  # torch's own random numbers stay untouched


def test_squares_are_moved_and_mirrored(data):
    batches = on_disk(data, batch_size=30)
    paths = [data.images.root / path for path in data.images.paths[:3]]
    whole = [resize_short_side(decode_image(path), 40) for path in paths]
    seen = torch.stack([collect(batches.shuffled(generator(seed)))[0][:3] for seed in range(20)])
    for place, image in enumerate(whole):
        windows = image.unfold(1, 32, 1).unfold(2, 32, 1).permute(1, 2, 0, 3, 4).flatten(0, 1)
        mirrored = [bool((windows == view.flip(-1)).flatten(1).all(1).any()) for view in seen[:, place]]
        straight = [bool((windows == view).flatten(1).all(1).any()) for view in seen[:, place]]
        assert all(a or b for a, b in zip(mirrored, straight, strict=True))
        assert 3 <= sum(mirrored) <= 17
        assert len(seen[:, place].unique(dim=0)) > 10


@pytest.mark.parametrize("loader_workers", [0, 1])
def test_each_pass_is_its_own_though_workers_stay_and_one_is_left_early(data, loader_workers):
    batches, random = on_disk(data, loader_workers=loader_workers), generator()
    first = collect(batches.shuffled(random))[0]
    list(itertools.islice(batches.shuffled(generator(1)), 2))
    assert collect(batches.in_order())[2].tolist() == [*range(30)]
    second, again = (collect(batches.shuffled(g))[0] for g in (random, generator()))
    assert torch.equal(first, again)
    assert not torch.equal(first, second)


@pytest.mark.parametrize("loader_workers", [0, 1])
def test_two_passes_at_once_are_refused(data, loader_workers):
    batches = on_disk(data, loader_workers=loader_workers)
    first = batches.shuffled(generator())
    next(first)
    next(batches.in_order())
    with pytest.raises(RuntimeError, match="Another pass over these batches has begun"):
        next(first)


@pytest.mark.parametrize("loader_workers", [0, 1])
def test_a_file_that_breaks_later_is_named(data, loader_workers):
    files = ImageFiles(data.images.root, (*data.images.paths[:5], "0/gone.jpg"))
    batches = OnDiskBatches(files, torch.arange(6), batch_size=4, loader_workers=loader_workers, **SIZE)
    with pytest.raises(UnreadableImage, match=r"^The image [^\n]*0/gone\.jpg cannot be read: missing\. [^\n]*$"):
        list(batches.in_order())


def test_settings_out_of_range_are_refused(data):
    for name, value in (("batch_size", 0), ("loader_workers", -1), ("crop", 41)):
        with pytest.raises(ValueError, match=name):
            on_disk(data, **{name: value})
    with pytest.raises(ValueError, match="There are 30 images and 29 noisy_labels"):
        OnDiskBatches(data.images, data.noisy_labels[1:], batch_size=4)


def test_batches_go_to_the_device(data, device):
    for batch in on_disk(data, device=device, loader_workers=1).shuffled(generator()):
        assert {part.device.type for part in batch} == {device.type}
