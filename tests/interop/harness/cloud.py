"""The reference cloud as a program of its own."""

import textwrap

from . import program
from .agent import SERIAL

DOMAIN = "cloud.example"
PASSWORD = "cloud-Pa55"
CODE = "7A3F-22C1"


class Cloud(program.Program):
    """A cloud with two ports that knows the agent's serial number."""

    def __init__(self, directory):
        directory.mkdir(exist_ok=True)
        config, ca = directory / "cloud.toml", directory / "ca.pem"
        config.write_text(textwrap.dedent(f"""\
            names = ["{DOMAIN}"]
            services = ["telemetry"]
            [[device]]
            serial-number = "{SERIAL}"
            password = "{PASSWORD}"
            unbinding-codes = ["{CODE}"]
            """))
        super().__init__(
            [program.CLOUD, "--config", config, "--ca-out", ca, "--listen", "127.0.0.1:0", "--listen", "127.0.0.1:0"],
            directory / "cloud.log")
        ready = self.lines[self.line(lambda line: line.startswith("cloud: ready "))]
        self.ports = [int(address.rpartition(":")[2]) for address in ready.split()[2:]]
        self.ca = ca.read_text()
        self._read_up_to = 0

    def sees(self, text):
        """Waits for a line with this text after the one that was waited for before."""
        self._read_up_to = 1 + self.line(lambda line: text in line, after=self._read_up_to)

    def obey(self, command):
        self.say(command)
        self.sees(f"cloud: {command.split()[0]} done")
