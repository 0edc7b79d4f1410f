"""Solutions of lesson 01. Each passes its check."""

import torch


def my_symmetric_matrix(noise_rate, num_classes):
    """A flipped label is always wrong: the rate is spread over the K - 1 other classes."""
    others = noise_rate / (num_classes - 1)
    return torch.full((num_classes, num_classes), others).fill_diagonal_(1 - noise_rate)


def my_transition_matrix(clean_labels, noisy_labels, num_classes):
    """Number each pair (true, given), count the numbers, divide each row by its sum."""
    pairs = clean_labels * num_classes + noisy_labels
    counts = torch.bincount(pairs, minlength=num_classes**2).view(num_classes, num_classes)
    return counts / counts.sum(dim=1, keepdim=True)


def my_memorised(predicted, noisy_labels, clean_labels):
    """Among the wrongly labelled samples: how often the network gives the wrong label."""
    wrong = noisy_labels != clean_labels
    return (predicted[wrong] == noisy_labels[wrong]).double().mean()
