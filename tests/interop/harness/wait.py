"""Waiting with a deadline, and nothing else."""

import time

# Seconds that anything may take on a loaded machine.
DEADLINE = 20
GLANCE = 0.02


def wait_until(what, look, seconds=DEADLINE):
    """Calls `look` until it gives something true, which is returned; fails with `what` at the deadline."""
    deadline = time.monotonic() + seconds
    while True:
        found = look()
        if found:
            return found
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        time.sleep(GLANCE)
