"""Digits: split, thinning, noise at the requested rate, reproducible."""

import torch

from dsl_teach import Settings, load_dataset
from dsl_teach.data.digits import neighbour_probabilities


def test_the_split_is_70_to_30_and_the_test_set_is_balanced():
    data = load_dataset(Settings())
    assert len(data) == 1797 - round(0.3 * 1797)
    (per_class,) = torch.bincount(data.test_labels).unique().tolist()
    assert 400 <= 10 * per_class <= round(0.3 * 1797)


def test_classes_thin_out_evenly():
    full, thinned = (torch.bincount(load_dataset(Settings(rarest_share=s)).clean_labels) for s in (1.0, 0.15))
    shares = thinned / full
    torch.testing.assert_close(shares, torch.linspace(1, 0.15, 10), atol=0.01, rtol=0)


def test_the_colder_the_noise_the_less_certain_are_the_mislabelled_images():
    certain = []
    for temperature in (0.0, 1.0, 2.0, 1000.0):
        data = load_dataset(Settings(noise_rate=0.2, noise_temperature=temperature))
        probabilities = neighbour_probabilities(data.images.flatten(1), data.clean_labels, num_classes=10)
        sure = probabilities.gather(1, data.clean_labels[:, None]).squeeze(1)
        certain.append(float(sure[data.noisy_labels != data.clean_labels].mean() / sure.mean()))
    assert certain == sorted(certain)
    assert certain[0] < 0.95 < certain[-1] < 1.05


def test_neighbour_probabilities_by_hand():
    """Three points on a line at 0, 1 and 3: the median nearest distance is 1."""
    probabilities = neighbour_probabilities(torch.tensor([[0.0], [1.0], [3.0]]), torch.tensor([0, 0, 1]), num_classes=2)
    near, middle, far = (torch.exp(torch.tensor(-d * d / 2, dtype=torch.float64)) for d in (1.0, 2.0, 3.0))
    expected = torch.stack(
        [torch.stack([near, far]) / (near + far), torch.stack([near, middle]) / (near + middle), torch.tensor([1.0, 0])]
    )
    torch.testing.assert_close(probabilities, expected)
