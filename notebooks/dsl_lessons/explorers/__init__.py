"""The explorers behind the sliders: what they compute, and the pictures they draw."""
