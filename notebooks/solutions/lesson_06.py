"""Solutions of lesson 06. Each passes its check."""

import torch


def my_shares(labels, num_classes):
    """Unknown labels are left out before anything is counted."""
    counts = torch.bincount(labels[labels >= 0], minlength=num_classes).double()
    return counts / counts.sum()


def my_direction(clean_labels, noisy_labels, num_classes):
    """The sizes come from the clean labels: the noise has moved those of the noisy ones."""
    sizes = torch.bincount(clean_labels, minlength=num_classes)
    wrong = clean_labels != noisy_labels
    return (sizes[noisy_labels] > sizes[clean_labels])[wrong].double().mean()


def my_hours(images, epochs, rate, gpus):
    """All images of all epochs over the images that all GPUs do in an hour."""
    return images * epochs / (rate * gpus * 3600)
