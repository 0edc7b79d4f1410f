"""What notebooks and people need: figures, widgets, checks. Nothing imports it but them."""
