"""Waiting for what others do, in tests that look at them from outside."""

import time

PATIENCE = 60


def eventually(condition, seconds=PATIENCE, why="it did not come true in time", *, pause=0.1):
    """Wait until it is so, and return what it was; `why` may be made when it is needed."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, why() if callable(why) else why
        time.sleep(pause)
    return found
