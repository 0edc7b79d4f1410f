"""Networks, losses, and the two phases of self-learning."""
