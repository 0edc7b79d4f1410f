"""The solution of lesson 05. It passes its check."""

from torch.nn.functional import one_hot


def my_left_out(fitted, leverage, noisy_labels):
    """The own vote is taken away, and what is left of the weights made whole again."""
    h = leverage[:, None]
    y = one_hot(noisy_labels, fitted.shape[1])
    return (fitted - h * y) / (1 - h)
