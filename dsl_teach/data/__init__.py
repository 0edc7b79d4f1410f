"""Data sets with noisy labels, and batches of them."""
