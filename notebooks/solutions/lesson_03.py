"""Solutions of lesson 03. Each passes its check."""

import torch
from torch.nn.functional import cross_entropy, normalize


def my_loss(logits, noisy_labels, corrected_labels, alpha):
    """Before the first correction alpha counts as 0."""
    if corrected_labels is None:
        return cross_entropy(logits, noisy_labels)
    return (1 - alpha) * cross_entropy(logits, noisy_labels) + alpha * cross_entropy(logits, corrected_labels)


def my_scores(embeddings, prototypes):
    """Every cosine, then their mean over the prototypes of a class."""
    cosines = torch.einsum("nd,kpd->nkp", normalize(embeddings, dim=-1), normalize(prototypes, dim=-1))
    return cosines.mean(dim=2)


def my_fixed(noisy_labels, corrected_labels, clean_labels):
    """Wrong before and right now, as a share of all samples."""
    was_wrong, is_right = noisy_labels != clean_labels, corrected_labels == clean_labels
    return (was_wrong & is_right).double().mean()


def my_chance(noisy_labels, corrected_labels, num_classes):
    """A label stays if both draws give the same class."""
    given = torch.bincount(noisy_labels, minlength=num_classes).double() / len(noisy_labels)
    corrected = torch.bincount(corrected_labels, minlength=num_classes).double() / len(corrected_labels)
    return 1 - given @ corrected
