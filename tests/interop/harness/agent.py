"""The real agent, `tether agent`."""

import os
import socket

from ncclient import manager

from . import program
from .session import Session, over_ssh

PASSWORD = "correct horse"
SERIAL = "210235A1XXX000000001"
MONITORING = "urn:ietf:params:xml:ns:yang:ietf-netconf-monitoring"
# Seconds in which ncclient has to be answered.
ANSWER = 20


class Agent(program.Program):
    """An agent on a free port, ready when this returns; on this machine or on a host of harness/net.py."""

    def __init__(self, directory, *options, password=PASSWORD, host=None, wrapper=()):
        self.directory = directory
        directory.mkdir(exist_ok=True)
        self.state = directory / "state"
        env = {"TETHER_ADMIN_PASSWORD": password} if password else {}
        super().__init__(
            [*wrapper, program.TETHER, "agent", "--state-dir", self.state, "--ssh", "127.0.0.1:0", "--serial-number", SERIAL,
             *options], directory / "agent.log", env, host)
        ready = self.lines[self.line(lambda line: line.startswith("tether: ready "))]
        self.port = int(ready.rpartition(":")[2])

    def connect(self, user="admin", password=PASSWORD, **options):
        """A session of ncclient, with its defaults but for the unknown host key."""
        return manager.connect(host="127.0.0.1", port=self.port, username=user, password=password, timeout=ANSWER,
                               hostkey_verify=False, **options)

    def connect_locally(self):
        """A session of ncclient on the local socket, which is to be reached wherever the agent runs."""
        return manager.connect_uds(path=str(self.state / "tether.sock"), timeout=ANSWER, manager_params={"timeout": ANSWER})

    def local(self):
        """A session by hand on the local socket; root is `admin` there."""
        stream = socket.socket(socket.AF_UNIX)
        stream.connect(str(self.state / "tether.sock"))
        return Session.on_socket(stream)

    def ssh(self, key, user="admin"):
        """A session by hand through the OpenSSH client."""
        return over_ssh(self.port, user, key, self.directory / "ssh.log")

    def descriptors(self):
        """How many files and sockets it has open."""
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))

    def connections(self):
        """How many SSH connections it has accepted and not closed."""
        # proc(5): local address, state (0A listens) and inode, which is 0 once the socket is closed.
        local = f"0100007F:{self.port:04X}"
        with open("/proc/net/tcp", encoding="ascii") as table:
            rows = [line.split() for line in table]
        return sum(row[1] == local and row[3] != "0A" and row[9] != "0" for row in rows)

    def memory(self):
        """Its resident memory, in KiB."""
        with open(f"/proc/{self.process.pid}/status", encoding="ascii") as status:
            return int(next(line for line in status if line.startswith("VmRSS:")).split()[1])

    @staticmethod
    def sessions(session):
        """The numbers of the sessions that monitoring shows to this one."""
        wanted = f'<netconf-state xmlns="{MONITORING}"><sessions/></netconf-state>'
        data = session.get(filter=("subtree", wanted)).data_ele
        return {int(each.text) for each in data.iterfind(f".//{{{MONITORING}}}session-id")}
