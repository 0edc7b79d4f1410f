"""Solutions of lesson 08. Each passes its check."""

import math


def my_precision(is_wrong, first):
    """The mean of True and False is the share of True."""
    return is_wrong[:first].double().mean()


def my_recall(is_wrong, first):
    """Wrong ones seen, of all that there are."""
    return is_wrong[:first].sum() / is_wrong.sum()


def my_wilson(wrong, decided):
    """The values that a sample of this size would not contradict."""
    z, n = 1.96, decided
    share = wrong / n
    middle = share + z**2 / (2 * n)
    half = z * math.sqrt(share * (1 - share) / n + z**2 / (4 * n**2))
    return (middle - half) / (1 + z**2 / n), (middle + half) / (1 + z**2 / n)
