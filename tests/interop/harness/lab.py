"""A device and a cloud on hosts of their own, and whatever else a test wants between them."""

import contextlib
import sys

import pytest

from .agent import Agent
from .cloud import DOMAIN, Cloud
from .net import Net, missing
from .orchestrator import Orchestrator
from .program import Program
from .servers import Dns, Front, find

# The ends of the link between device and cloud.
DEVICE, CLOUD = "10.9.0.2", "10.9.0.1"
DEVICE6, CLOUD6 = "fd09::2", "fd09::1"

DEAF = """
import socket, sys
taken = socket.socket(type=socket.SOCK_DGRAM)
taken.bind((sys.argv[1], 53))
print("deaf", flush=True)
sys.stdin.read()
"""


def needs(*programs):
    """Skips the test if one of these is neither unpacked nor installed."""
    for name in programs:
        if not find(name):
            pytest.skip(f"no {name}: see .ci/counterparts")


class Lab:
    """A device and the cloud's host on a wire. Everything ends with `end`."""

    def __init__(self, directory):
        if reason := missing():
            pytest.skip(reason)
        directory.mkdir(exist_ok=True)
        self._directory, self._folders, self._ends = directory, 0, contextlib.ExitStack()
        self.net = Net()
        self._ends.callback(self.net.end)
        self.device, self.far = self.net.host("device"), self.net.host("cloud")
        self.wire = self.net.wire(self.device, "up0", self.far, "down0")
        self.device.up("up0", f"{DEVICE}/24", f"{DEVICE6}/64")
        self.far.up("down0", f"{CLOUD}/24", f"{CLOUD6}/64")

    def cloud(self, *listen, host=None, **rules):
        """A cloud, on port 443 of these addresses."""
        listen = [f"{address}:443" for address in listen or (CLOUD, f"[{CLOUD6}]")]
        return self.keep(Cloud(self.folder("cloud"), host or self.far, listen, **rules))

    def dns(self, records, *options, host=None):
        """A resolver, beside the cloud unless a host is given."""
        needs("dnsmasq")
        return self.keep(Dns(self.folder("dns"), host or self.far, records, *options))

    def dhcp(self, server, link="down0", **offer):
        """A DHCP server beside the cloud, of one of the classes of harness/dhcp.py."""
        needs(server.program)
        return self.keep(server(self.folder("dhcp"), self.far, link, **offer))

    def client(self, client, control=None):
        """A DHCP client of one of the classes of harness/dhcp.py, on the device; with a hook if the agent's control
        socket is given."""
        needs(*client.programs)
        self.device.hide("/etc", "/var/lib")
        self.device.clear("/run")
        return self.keep(client(self.folder("client"), self.device, "up0", control))

    def front(self, name, address, cloud):
        """nginx under this name, on port 443 of this address, in front of a cloud."""
        needs("nginx")
        return self.keep(Front(self.folder("front"), self.far, (name, address), (DOMAIN, CLOUD), cloud.ca))

    def silence(self, address):
        """Takes what comes for a resolver and never answers."""
        deaf = self.keep(Program([sys.executable, "-c", DEAF, address], self.folder("deaf") / "log", host=self.far))
        deaf.line(lambda line: line == "deaf")

    def orchestrator(self, wrapper=()):
        """A session with an agent on the device, which a command may start."""
        agent = self.keep(Agent(self.folder("agent"), host=self.device, wrapper=wrapper))
        session = agent.connect_locally()
        self._ends.callback(session.close_session)
        return Orchestrator(session, agent)

    def join_instance(self, name, host):
        """A VPN instance of the device with a host behind it that has the addresses of the cloud's.

        A VRF where the kernel has them; else the link itself bears the name, which is the same to who binds to it.
        """
        try:
            self.device.ip(f"link add {name} type vrf table 10")
        except AssertionError:
            link = name
        else:
            link = f"{name}-0"
        self.net.join(self.device, link, host, "down0")
        if link != name:
            self.device.ip(f"link set {name} up")
            self.device.ip(f"link set {link} master {name}")
        host.up("down0", f"{CLOUD}/24")
        self.device.up(link, f"{DEVICE}/24")

    def peers(self, host=None, address=None):
        """The addresses of those who are connected to port 443 there, of this address or any."""
        rows = (host or self.far).run("ss", "-Htn", "state", "established", "sport = :443").splitlines()
        pairs = [[end.rpartition(":")[0].strip("[]") for end in row.split()[2:4]] for row in rows]
        return {peer for own, peer in pairs if address in (None, own)}

    def folder(self, name):
        self._folders += 1
        folder = self._directory / f"{name}-{self._folders}"
        folder.mkdir()
        return folder

    def keep(self, program):
        """Ends the program with the lab."""
        self._ends.callback(program.kill)
        return program

    def end(self):
        self._ends.close()
