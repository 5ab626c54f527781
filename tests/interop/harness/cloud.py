"""The reference cloud as a program of its own."""

import json

from . import program
from .agent import SERIAL

DOMAIN = "cloud.example"
PASSWORD = "cloud-Pa55"
CODE = "7A3F-22C1"


class Cloud(program.Program):
    """A cloud that knows the agent's serial number; on this machine or on a host of harness/net.py.

    Two free ports unless `listen` says where; `rules` are further members of its file (examples/cloud.toml).
    """

    def __init__(self, directory, host=None, listen=("127.0.0.1:0", "127.0.0.1:0"), password=PASSWORD, **rules):
        directory.mkdir(exist_ok=True)
        config, ca = directory / "cloud.toml", directory / "ca.pem"
        rules = {"names": [DOMAIN], "services": ["telemetry"]} | rules
        device = {"serial-number": SERIAL, "password": password, "unbinding-codes": [CODE]}
        config.write_text(toml(rules) + "[[device]]\n" + toml(device))
        command = [program.CLOUD, "--config", config, "--ca-out", ca]
        for address in listen:
            command += ["--listen", address]
        super().__init__(command, directory / "cloud.log", host=host)
        ready = self.lines[self.line(lambda line: line.startswith("cloud: ready "))]
        self.ports = [int(address.rpartition(":")[2]) for address in ready.split()[2:]]
        self.ca = ca.read_text()
        self._read_up_to = 0

    def sees(self, text):
        """Waits for a line with this text after the one that was waited for before."""
        self._read_up_to = 1 + self.line(lambda line: text in line, after=self._read_up_to)

    def door(self):
        """The port at which it lets managers through to the device."""
        return int(self.lines[self.line(lambda line: line.startswith("cloud: netconf "))].rpartition(":")[2])

    def obey(self, command):
        self.say(command)
        self.sees(f"cloud: {command.split()[0]} done")


def toml(members):
    """Members of a table; strings, numbers and lists of them are the same in JSON."""
    return "".join(f"{name.replace('_', '-')} = {json.dumps(value)}\n" for name, value in members.items())
