import time
from pathlib import Path

ROOT = Path(__file__).parent.parent


def wait_for(condition, seconds=200):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it never came"
        time.sleep(0.05)
