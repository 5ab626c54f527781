"""Scenarios that mostly wait for clocks: all of them at once, each in a lab of its own."""

import contextlib
from concurrent.futures import ThreadPoolExecutor

from .lab import Lab


@contextlib.contextmanager
def abreast(scenarios, directory):
    """Runs `scenario(lab)` for each of {name: scenario}; the futures by name."""
    def run(name, scenario):
        lab = Lab(directory / name)
        try:
            scenario(lab)
        finally:
            lab.end()
    with ThreadPoolExecutor(len(scenarios)) as pool:
        yield {name: pool.submit(run, name, scenario) for name, scenario in scenarios.items()}


def named(*scenarios):
    """Functions by their names."""
    return {scenario.__name__: scenario for scenario in scenarios}
