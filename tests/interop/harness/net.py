"""Networks of the test's own: hosts are network namespaces, joined by veth pairs or by wires that delay, lose and cut.

Nothing of it outlives the tests, however they end: a namespace lives as long as the child that holds it, and that one
ends when its standard input does.
"""

import functools
import subprocess
import tempfile
from pathlib import Path

from .wait import DEADLINE
from .wire import wire

HOLD = "mount -t sysfs -o ro sysfs /sys; ip link set lo up && echo up && exec cat"


class Unavailable(Exception):
    """The machine has no network namespaces for us; why."""


class Host:
    """A network namespace with mounts of its own."""

    def __init__(self, name):
        self.name = name
        self._holder = subprocess.Popen(
            ["unshare", "--net", "--mount", "--uts", "--propagation", "private", "sh", "-c", HOLD], text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True)
        if self._holder.stdout.readline() != "up\n":
            raise Unavailable(self._holder.communicate(timeout=DEADLINE)[1].strip())
        self.pid = self._holder.pid

    def within(self, command):
        """The command that runs this one inside."""
        return ["nsenter", f"--net={self.namespace}", f"--mount=/proc/{self.pid}/ns/mnt", f"--uts=/proc/{self.pid}/ns/uts",
                *command]

    @property
    def namespace(self):
        return f"/proc/{self.pid}/ns/net"

    def run(self, *command):
        """Runs a command to its end; its output."""
        ran = subprocess.run(self.within(command), capture_output=True, text=True, timeout=DEADLINE, check=False)
        assert ran.returncode == 0, f"{self.name}: {' '.join(map(str, command))}: {ran.stderr or ran.stdout}"
        return ran.stdout

    def ip(self, arguments):
        """`ip` with these arguments."""
        return self.run("ip", *arguments.split())

    def up(self, link, *addresses):
        """Sets addresses (with prefix length) on a link and the link up."""
        for address in addresses:
            self.address(link, address)
        self.ip(f"link set {link} up")

    def address(self, link, address):
        # Nobody else is there to have it: no time for Duplicate Address Detection.
        self.ip(f"address add {address} dev {link}" + (" nodad" if ":" in address else ""))

    def hide(self, *paths):
        """Puts a layer over these directories: what is written there is seen inside alone and is gone with the host."""
        for path in paths:
            self.run("sh", "-ec", 'layer=$(mktemp -d); mount -t tmpfs tmpfs "$layer"; mkdir "$layer"/upper "$layer"/work; '
                     'mount -t overlay -o "lowerdir=$1,upperdir=$layer/upper,workdir=$layer/work" overlay "$1"; '
                     'umount --lazy "$layer"; rmdir "$layer"', "sh", path)

    def write(self, path, text):
        """Writes a file, which nobody else sees once its directory is hidden."""
        self.run("sh", "-ec", 'printf %s "$2" >"$1"', "sh", path, text)

    def clear(self, *paths):
        """Puts nothing in the place of these directories, inside alone."""
        for path in paths:
            self.run("mount", "-t", "tmpfs", "tmpfs", path)

    def end(self):
        self._holder.stdin.close()
        self._holder.wait(DEADLINE)
        self._holder.stdout.close()
        self._holder.stderr.close()


class Net:
    """Hosts and what joins them."""

    def __init__(self):
        self._hosts, self._wires = [], []

    def host(self, name):
        self._hosts.append(Host(name))
        return self._hosts[-1]

    def join(self, one, link, other, other_link):
        """A veth pair between two hosts."""
        one.ip(f"link add {link} type veth peer name {other_link} netns {other.pid}")

    def wire(self, one, link, other, other_link, seed=1):
        """A pair of links that can delay, lose and cut; what is lost is the same with the same seed."""
        self._wires.append(wire(one, link, other, other_link, seed))
        return self._wires[-1]

    def end(self):
        for each in self._wires:
            each.end()
        for host in self._hosts:
            host.end()


@functools.cache
def missing():
    """Why there can be no hosts here; None when there can."""
    try:
        host = Host("probe")
    except (Unavailable, OSError) as error:
        return f"no network namespaces here: {error}"
    try:
        host.hide("/etc")
    except AssertionError as error:
        return f"no mounts of one's own here: {error}"
    finally:
        host.end()
    return None
