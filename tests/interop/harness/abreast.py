"""Scenarios that mostly wait for clocks: all of them at once, each in a lab of its own."""

import contextlib
from concurrent.futures import ThreadPoolExecutor

from .lab import Lab


@contextlib.contextmanager
def abreast(scenarios, directory):
    """Runs each `scenario(lab)`; the futures by scenario."""
    def run(number, scenario):
        # Not the name, which is longer than the path of a socket may be.
        lab = Lab(directory / str(number))
        try:
            scenario(lab)
        finally:
            lab.end()
    with ThreadPoolExecutor(max(1, len(scenarios))) as pool:
        yield {scenario: pool.submit(run, number, scenario) for number, scenario in enumerate(scenarios)}
