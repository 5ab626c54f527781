"""A throw-away machine: this one's files under an overlay, a systemd of its own, no network, gone with its process."""

import shutil
import subprocess
from pathlib import Path

from .net import Unavailable
from .wait import DEADLINE, wait_until

# Proc, run and the devices are the machine's own; what is written goes to memory.
BOOT = """
set -e
mount -t tmpfs tmpfs "$1"
mkdir "$1/upper" "$1/work" "$1/root"
mount -t overlay overlay -o "lowerdir=/,upperdir=$1/upper,workdir=$1/work" "$1/root"
cd "$1/root"
mount -t proc proc proc
mount --rbind /sys sys
mount --make-rslave sys
mount --rbind /dev dev
mount --make-rslave dev
mount -t tmpfs tmpfs run
mount -t tmpfs tmpfs tmp
: >etc/machine-id
# What keeps services from starting in a container.
rm -f usr/sbin/policy-rc.d
echo "nameserver 127.0.0.1" >etc/resolv.conf
exec env -i container=lxc PATH="$PATH" chroot . /lib/systemd/systemd --unit=multi-user.target
"""
NAMESPACES = ["--mount", "--pid", "--uts", "--ipc", "--net", "--cgroup"]


class Machine:
    """A machine that has booted when this returns."""

    def __init__(self, directory):
        if not Path("/lib/systemd/systemd").exists() or not shutil.which("systemctl"):
            raise Unavailable("no systemd is installed")
        directory.mkdir()
        with (directory.parent / "machine.log").open("wb") as log:
            self._holder = subprocess.Popen(
                ["unshare", *NAMESPACES, "--fork", "--kill-child", "--propagation", "private", "sh", "-c", BOOT, "boot", directory],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
        try:
            self.pid = wait_until("systemd starts", self._init)
            wait_until("the machine is up", self._is_up)
        except BaseException:
            self.end()
            raise

    def _init(self):
        if self._holder.poll() is not None:
            raise Unavailable("no systemd can be booted in namespaces")
        children = Path(f"/proc/{self._holder.pid}/task/{self._holder.pid}/children").read_text().split()
        for child in children:
            if Path(f"/proc/{child}/comm").read_text().strip() == "systemd":
                return int(child)
        return None

    def _is_up(self):
        # Degraded: a service of this machine may fail where there is no hardware.
        return self.run("systemctl", "is-system-running", check=False).stdout.strip() in ("running", "degraded")

    def run(self, *command, check=True, **options):
        """Runs a command on it to its end."""
        ran = subprocess.run(["nsenter", "--all", f"--target={self.pid}", f"--root=/proc/{self.pid}/root", "--wd=/", *command],
                             capture_output=True, text=True, timeout=2 * DEADLINE, check=False, **options)
        assert not check or ran.returncode == 0, f"{command}: {ran.stdout}{ran.stderr}"
        return ran

    def path(self, path):
        """Where a file of it is to be found from here."""
        return Path(f"/proc/{self.pid}/root{path}")

    def copy(self, file):
        """Puts a file into its /root; its place there."""
        shutil.copy(file, self.path("/root"))
        return f"/root/{Path(file).name}"

    def end(self):
        self._holder.kill()
        self._holder.wait()
