"""A program with a ready line."""

import os
import subprocess
import threading
import time
from pathlib import Path

from .wait import DEADLINE

ROOT = Path(__file__).resolve().parents[3]
BINARIES = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / os.environ.get("PROFILE", "debug")
# Where .ci/counterparts puts what it makes.
COUNTERPARTS = ROOT / ".cargo" / "counterparts"
TETHER = BINARIES / "tether"
CROWD = BINARIES / "examples" / "crowd"
CLOUD = BINARIES / "examples" / "cloud"


class Program:
    """A child process: its lines of output are kept, its complaints go to the file `log`; with `join` they are lines too.

    It runs on this machine or on a host of harness/net.py.
    """

    def __init__(self, command, log, env=None, host=None, join=False):
        self.log = log
        self.lines = []
        self._heard = threading.Condition()
        self._over = False
        with log.open("ab") as complaints:
            self.process = subprocess.Popen(
                host.within(command) if host else command, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT if join else complaints, text=True, bufsize=1, start_new_session=True,
                env=os.environ | (env or {}))
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        for line in self.process.stdout:
            with self._heard:
                self.lines.append(line.rstrip("\n"))
                self._heard.notify_all()
        with self._heard:
            self._over = True
            self._heard.notify_all()

    def line(self, wanted, after=0, seconds=DEADLINE):
        """The number of the first line from `after` on for which `wanted(line)` holds."""
        deadline = time.monotonic() + seconds
        with self._heard:
            number = after
            while True:
                while number < len(self.lines):
                    if wanted(self.lines[number]):
                        return number
                    number += 1
                left = deadline - time.monotonic()
                if left <= 0 or self._over:
                    raise AssertionError(
                        f"not said within {seconds} s; output since then:\n" + "\n".join(self.lines[after:])
                        + "\nits log ends:\n" + self.log.read_text()[-4000:])
                self._heard.wait(left)

    def say(self, command):
        self.process.stdin.write(command + "\n")
        self.process.stdin.flush()

    def stop(self):
        """Ends it in order; its exit code."""
        if self.process.poll() is None:
            self.process.terminate()
        try:
            return self.process.wait(DEADLINE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise

    def kill(self):
        """SIGKILL: nothing is put in order."""
        self.process.kill()
        self.process.wait()
