"""The crowd of examples/crowd: clients by the hundred, honest and hostile, in a program of their own."""

import subprocess

from . import program

# Seconds for what a crowd does on a loaded machine.
PATIENCE = 120


class Crowd:
    """Crowds at the door of one agent, with a key that `admin` may log in with."""

    def __init__(self, agent, key):
        self._agent = agent
        self._command = [program.CROWD, "--ssh", f"127.0.0.1:{agent.port}", "--key", key]

    def ask(self, requests):
        """One session, one request at a time: the microseconds that `p50`, `p99` and `max` took."""
        return self._run("ask", "--requests", str(requests))

    def live(self, count, socket=True, abreast=64, seconds=PATIENCE):
        """So many sessions that end in every way, so many at a time, half of them over the local socket."""
        over = ["--socket", self._agent.state / "tether.sock"] if socket else []
        return self._run(*over, "lives", "--count", str(count), "--abreast", str(abreast), seconds=seconds)

    def siege(self):
        """Lays the siege; `Siege.lift` ends it."""
        return Siege([*self._command, "siege"], self._agent.directory / "siege.log")

    def _run(self, *arguments, seconds=PATIENCE):
        ran = subprocess.run([*self._command, *arguments], capture_output=True, text=True, timeout=seconds, check=False)
        assert ran.returncode == 0, ran.stderr
        return numbers(ran.stdout.splitlines()[-1])


class Siege(program.Program):
    """Hostile clients, in place when this returns."""

    def __init__(self, command, log):
        super().__init__(command, log)
        self.laid = numbers(self.lines[self.line(lambda line: "laid=" in line, seconds=PATIENCE)])["laid"]

    def lift(self):
        """Ends it; what its clients did."""
        self.process.stdin.close()
        return numbers(self.lines[self.line(lambda line: "noise=" in line)])


def numbers(line):
    head, *pairs = line.split()
    assert head == "crowd:", line
    return {name: int(value) for name, value in (pair.split("=") for pair in pairs)}
