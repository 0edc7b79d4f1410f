"""Speed and memory, each as a ratio inside one run. ``python -m benchmarks.run`` prints them all."""
