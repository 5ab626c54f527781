"""The command line through the OpenSSH client: one command, a script, and a shell on a terminal."""

import fcntl
import os
import pty
import select
import struct
import subprocess
import termios
import time

import pytest
from harness.config import authorized_key, config, member
from harness.wait import DEADLINE

OPTIONS = ["-F", "none", "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR",
           "-o", "BatchMode=yes"]


@pytest.fixture
def ssh(agent, key):
    """The arguments of ssh(1) for a user and his key."""
    def ssh(*more, user="admin", own=key):
        return ["ssh", *OPTIONS, "-i", str(own), "-p", str(agent.port), *more[:-1], f"{user}@127.0.0.1", *more[-1:]]
    return ssh


def run(arguments, given=""):
    return subprocess.run(arguments, input=given, capture_output=True, text=True, timeout=DEADLINE, check=False)


def test_one_command_has_its_output_and_its_exit_status(ssh):
    done = run(ssh("display cloud-management state"))
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[0] == "Cloud connection state   : Unconnected"
    wrong = run(ssh("display nothing"))
    assert wrong.returncode == 1
    assert wrong.stdout.splitlines()[1:] == ["        ^", "% Unrecognized command found at '^' position."]


def test_lines_of_standard_input_are_a_script(ssh, agent, key):
    arguments = ssh("-T", "x")[:-1]
    done = run(arguments, "system-view\ncloud-management keepalive 60\ndisplay current-configuration | include keep\n")
    assert (done.returncode, done.stdout) == (0, " cloud-management keepalive 60\n"), done.stderr


def test_an_operator_may_not_edit(ssh, agent, connect, make_key):
    own = make_key("ecdsa", 256)
    connect().edit_config(target="running", config=config(authorized_key("bob", own), member("operator", "bob")))
    done = run(ssh("system-view\nsysname mine", user="bob", own=own))
    assert done.returncode == 1
    assert 'user "bob" may not' in done.stdout


class Screen:
    """A program on a pseudo-terminal."""

    def __init__(self, arguments):
        self.pid, self.terminal = pty.fork()
        if self.pid == 0:
            fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
            os.execvpe(arguments[0], arguments, os.environ | {"TERM": "xterm"})
        self.seen = ""

    def type(self, text):
        os.write(self.terminal, text.encode())

    def wait_for(self, text):
        until = time.monotonic() + DEADLINE
        while text not in self.seen:
            assert time.monotonic() < until, self.seen
            if select.select([self.terminal], [], [], 1)[0]:
                self.seen += os.read(self.terminal, 4096).decode()
        before, self.seen = self.seen.split(text, 1)
        return before

    def end(self):
        try:
            while os.read(self.terminal, 4096):
                pass
        except OSError:
            pass
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])


def test_a_shell_helps_completes_and_stops_at_pages(ssh):
    screen = Screen(ssh("-tt", "x")[:-1])
    screen.wait_for("<Device> ")
    screen.type("system-view\r")
    screen.wait_for("[Device] ")
    screen.type("cloud-management ?")
    assert "keepalive" in screen.wait_for("unbinding-code")
    screen.wait_for("[Device] ")
    # What is typed before the next prompt goes with the line.
    screen.type("\x03")
    screen.wait_for("[Device] ")
    screen.type("dis cur\t\r")
    screen.wait_for("---- More ----")
    screen.type("q")
    screen.wait_for("[Device] ")
    screen.type("\x1a")
    screen.wait_for("<Device> ")
    screen.type("quit\r")
    assert screen.end() == 0
