"""Solutions of lesson 06. Each passes its check."""

import torch


def my_shares(labels, num_classes):
    """Counts over their sum; unknown labels are left out."""
    counts = torch.bincount(labels[labels >= 0], minlength=num_classes).double()
    return counts / counts.sum()


def my_soft(class_scores, temperature):
    """The temperature divides the scores, before the softmax."""
    return (class_scores / temperature).softmax(dim=1)


def my_chance(noisy_labels, corrected_labels, num_classes):
    """Each of the two has shares of its own."""
    noisy, corrected = (
        torch.bincount(labels, minlength=num_classes).double() / len(labels)
        for labels in (noisy_labels, corrected_labels)
    )
    return 1 - (noisy * corrected).sum()
