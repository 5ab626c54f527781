"""A program on a pseudo-terminal, as a person sees it."""

import fcntl
import os
import pty
import re
import select
import signal
import struct
import termios
import time

from .wait import DEADLINE

# What moves the cursor or colours, and what only goes back to the first column.
SEQUENCE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\r")


class Screen:
    """A program on a terminal of this many rows; a kind of terminal that is `dumb` gets no control sequences."""

    def __init__(self, arguments, rows=24, kind="xterm"):
        self.pid, self.terminal = pty.fork()
        if self.pid == 0:
            self._set_size(0, rows)
            os.execvpe(arguments[0], [str(each) for each in arguments], os.environ | {"TERM": kind})
        self._octets, self._seen_up_to = b"", 0
        self._ended, self._code = False, None

    @staticmethod
    def _set_size(terminal, rows):
        fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", rows, 80, 0, 0))

    def resize(self, rows):
        """The program hears of it by SIGWINCH."""
        self._set_size(self.terminal, rows)

    def type(self, text):
        os.write(self.terminal, text.encode() if isinstance(text, str) else text)

    @property
    def text(self):
        """All that was shown, without control sequences."""
        return SEQUENCE.sub("", self._octets.decode(errors="replace"))

    def wait_for(self, text):
        """Waits for a text after the one that was waited for before; what was shown in between."""
        until = time.monotonic() + DEADLINE
        while True:
            unseen = self.text[self._seen_up_to:]
            if text in unseen:
                before = unseen.partition(text)[0]
                self._seen_up_to += len(before) + len(text)
                return before
            assert time.monotonic() < until and not self._ended, f"{text!r} never came: {unseen}"
            self._read(1)

    def _read(self, seconds):
        if select.select([self.terminal], [], [], seconds)[0]:
            try:
                octets = os.read(self.terminal, 4096)
            except OSError:
                octets = b""
            self._octets += octets
            self._ended = not octets

    def end(self):
        """Waits for the end of the program; its exit code."""
        until = time.monotonic() + DEADLINE
        while not self._ended:
            assert time.monotonic() < until, f"it does not end: {self.text}"
            self._read(1)
        if self._code is None:
            self._code = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
            os.close(self.terminal)
        return self._code

    def kill(self):
        """SIGKILL: nothing is put in order."""
        if self._code is None:
            os.kill(self.pid, signal.SIGKILL)
            self.end()
