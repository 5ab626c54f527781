#!/usr/bin/env python3
"""`make demo`: a reference cloud, a device and an orchestrator on loopback, and what each of them sees.

Starts everything on free ports in a temporary directory and leaves nothing behind, whichever way it ends. Exit code 0
says that every step was seen on both sides. `--stay` keeps cloud and device up until Ctrl-C.
"""

import argparse
import base64
import os
import re
import secrets
import signal
import subprocess
import sys
import tempfile
import textwrap
import threading
import time
from pathlib import Path

import configure
import paramiko

SERIAL = "210235A1XXX000000001"
DOMAIN = "cloud.example"
# The shortest that the model allows.
KEEPALIVE_INTERVAL = 10
# Seconds within which each step has to be seen, and in which programs start and end.
STEP = 15
START = 10
ROOT = Path(__file__).resolve().parent.parent
BINARIES = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "debug"


class Missed(Exception):
    """A step that was not seen in time."""


class Story:
    """Prints who does and sees what; coloured on a terminal."""

    COLOURS = {"orchestrator": "33", "device": "36", "cloud": "35"}

    def __init__(self):
        self.coloured = sys.stdout.isatty() and "NO_COLOR" not in os.environ
        self.chapters = 0

    def chapter(self, title):
        self.chapters += 1
        print("\n" + self.paint("1", f"{self.chapters}. {title}"), flush=True)

    def tell(self, who, text):
        for line in text.splitlines():
            print(f"  {self.paint(self.COLOURS[who], f'{who:<13}')} {line}", flush=True)

    def paint(self, code, text):
        return f"\x1b[{code}m{text}\x1b[0m" if self.coloured else text


class Program:
    """A child whose lines of output are kept, and waited for."""

    # All that were started, in that order.
    started = []

    def __init__(self, name, command, log, **options):
        self.name, self.log = name, log
        self.lines, self.heard = [], threading.Condition()
        # A session of its own: Ctrl-C is for the demo, which ends its children in order.
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log.open("wb"), text=True,
            start_new_session=True, **options)
        self.started.append(self)
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        for line in self.process.stdout:
            with self.heard:
                self.lines.append(line.rstrip("\n"))
                self.heard.notify_all()
        with self.heard:
            self.lines.append(None)
            self.heard.notify_all()

    def line(self, number, deadline):
        """The line of that number, from 0; `None` at the end of the output or when the deadline passes first."""
        with self.heard:
            self.heard.wait_for(lambda: len(self.lines) > number, deadline - time.monotonic())
            return self.lines[number] if len(self.lines) > number else None

    def ready(self):
        """What the ready line says after `ready`."""
        deadline, number = time.monotonic() + START, 0
        while (line := self.line(number, deadline)) is not None:
            number += 1
            if line.startswith(f"{self.name}: ready "):
                return line.split()[2:]
        raise Missed(f"{self.name} did not start")

    def say(self, command):
        self.process.stdin.write(command + "\n")
        self.process.stdin.flush()

    def stop(self):
        """Ends it in order, and returns its exit code; by force when it does not hear."""
        if self.process.poll() is None:
            self.process.terminate()
        try:
            return self.process.wait(START)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return self.process.wait()


class Cloud(Program):
    """The reference cloud: what its log tells is part of the story."""

    # How each TCP connection begins and ends, and what comes with every one, is left to its own log.
    OMITTED = re.compile(r"^(TCP from|connection over|GET |POST |TLS up|listening on|telemetry )|: ping$")

    def __init__(self, directory, story):
        self.story, self.seen = story, 0
        self.ca = directory / "ca.pem"
        config = directory / "cloud.toml"
        config.write_text(textwrap.dedent(f"""\
            names = ["{DOMAIN}"]
            user = "example-operator"
            services = ["telemetry"]
            [[device]]
            serial-number = "{SERIAL}"
            password = "first-Pa55"
            bound-to = "example-operator"
            unbinding-codes = ["7A3F-22C1"]
            """))
        super().__init__("cloud", [
            BINARIES / "examples/cloud", "--config", config, "--ca-out", self.ca,
            "--listen", "127.0.0.1:0", "--listen", "127.0.0.1:0"], directory / "cloud.log")
        self.ports = [int(address.rpartition(":")[2]) for address in self.ready()]

    def until(self, pattern):
        """Tells what the cloud sees, up to a line with this pattern."""
        deadline = time.monotonic() + STEP
        while (line := self.line(self.seen, deadline)) is not None:
            self.seen += 1
            text = re.sub(r"^[\d:.]+ (#\d+ )?", "", line.rstrip()).removeprefix(SERIAL + " ")
            if not self.OMITTED.search(text) and not text.startswith("cloud:"):
                self.story.tell("cloud", text)
            if re.search(pattern, text):
                return
        if self.process.poll() is not None:
            raise Missed(f"the cloud ended before it saw {pattern!r}")
        raise Missed(f"the cloud did not see {pattern!r} within {STEP} s")

    def obey(self, command):
        self.say(command)
        self.until(f"cloud: {command.split()[0]} done")


class Device(Program):
    """The agent, its orchestrator's session, and its command line."""

    def __init__(self, directory, story):
        self.story, self.state = story, directory / "device"
        password = secrets.token_urlsafe(12)
        super().__init__("tether", [
            BINARIES / "tether", "agent", "--state-dir", self.state, "--ssh", "127.0.0.1:0",
            "--serial-number", SERIAL], directory / "device.log", env=os.environ | {"TETHER_ADMIN_PASSWORD": password})
        self.address = self.ready()[0].removeprefix("ssh=")
        self.password = password
        self.session = None

    def host_key(self):
        """Who set the device up knows its key, so the orchestrator need not trust the first it sees."""
        key = paramiko.Ed25519Key.from_private_key_file(str(self.state / "ssh_host_ed25519_key"))
        return base64.b64encode(key.asbytes()).decode()

    def connect(self):
        self.session = configure.connect(self.address, "admin", self.password, self.host_key())

    def commit(self, what, **changes):
        self.story.tell("orchestrator", what)
        steps = []
        try:
            configure.commit(self.session, configure.configuration(**changes), steps.append)
        finally:
            self.story.tell("orchestrator", "  " + ", ".join(steps))

    def shows(self, wanted, reached):
        """Waits for a state that the orchestrator can get."""
        return configure.wait_until(self.session, STEP, wanted, reached)

    def established(self):
        return self.shows("an established tunnel", configure.is_established)

    def display(self):
        command = "display cloud-management state"
        shown = subprocess.run(
            [BINARIES / "tether", "cli", "--socket", self.state / "tether.sock", "-c", command],
            check=False, timeout=START, capture_output=True, text=True)
        if shown.returncode != 0:
            raise Missed(f"tether cli failed: {shown.stdout}{shown.stderr}")
        self.story.tell("device", f"$ tether cli -c \"{command}\"\n{shown.stdout}")
        return shown.stdout


def configure_cloud(story, cloud, device):
    story.chapter("The orchestrator points the device at the cloud, by NETCONF over SSH (ncclient)")
    device.connect()
    story.tell("orchestrator", f"logs in; session {device.session.session_id}")
    device.commit("sets domain, port, password, trust anchor and a static host for the domain",
                  domain=DOMAIN, port=cloud.ports[0], password="first-Pa55",
                  trust_anchor=cloud.ca.read_text(), addresses={DOMAIN: "127.0.0.1"})
    cloud.until("subconnection telemetry up")
    device.established()
    if "Established" not in device.display():
        raise Missed("the command line does not show Established")


def keepalive(story, cloud, device):
    story.chapter(f"A keepalive: the interval becomes {KEEPALIVE_INTERVAL} s, and the tunnel stays")
    device.commit("sets the keepalive interval", keepalive_interval=KEEPALIVE_INTERVAL)
    cloud.until("keepalive 1, answered")
    now = device.shows("an answered keepalive", lambda now: int(now.get("keepalives/answered", 0)) > 0)
    if "last-down/reason" in now:
        raise Missed("the tunnel did not stay: it was established anew")
    story.tell("device", f"keepalives answered {now['keepalives/answered']}, round trip "
                         f"{now['keepalives/round-trip-time']} µs; connected since {now['connected-at']}")


def reestablish(story, cloud, device, act, reason):
    """Does `act` and watches the tunnel go down, for this reason, and come back."""
    act()
    cloud.until("closed by the device")
    cloud.until("subconnection telemetry up")
    now = device.established()
    if now.get("last-down/reason") != reason:
        raise Missed(f"the device gives another reason than {reason}: {now.get('last-down/reason')}")
    story.tell("device", f"established again, port {now['server-port']}; last down: {reason}")


def new_password(story, cloud, device):
    story.chapter("A new password, at the cloud and then at the device")
    story.tell("cloud", "is told the new password")
    cloud.obey(f"password {SERIAL} second-Pa55")
    reestablish(story, cloud, device,
                lambda: device.commit("sets the password", password="second-Pa55"), "configuration-changed")


def new_port(story, cloud, device):
    story.chapter(f"Another port: {cloud.ports[0]} becomes {cloud.ports[1]}")
    reestablish(story, cloud, device,
                lambda: device.commit("sets the port", port=cloud.ports[1]), "configuration-changed")


def unbind(story, cloud, device):
    story.chapter("An unbinding code frees the device from the user it is bound to")
    device.commit("sets the unbinding code", unbinding_code="7A3F-22C1")
    cloud.until("unbind 1: success")
    device.shows("the cloud's answer", lambda now: now.get("unbinding/status") == "accepted")
    story.tell("device", "unbinding accepted; the tunnel stayed")


def reset(story, cloud, device):
    story.chapter("The orchestrator resets the tunnel")

    def act():
        story.tell("orchestrator", "action reset-tunnel")
        configure.act(device.session, "<reset-tunnel/>")
    reestablish(story, cloud, device, act, "reset-by-operator")
    device.display()


def stay(story, cloud, device):
    story.chapter("Everything stays up until Ctrl-C; try, from here:")
    print(f"""\
{BINARIES / "tether"} cli --socket {device.state / "tether.sock"} -c "display cloud-management state"
TETHER_ADMIN_PASSWORD={device.password} .venv/bin/python examples/configure.py --device {device.address} --reset-tunnel
ssh -p {device.address.rpartition(":")[2]} -s admin@127.0.0.1 netconf     (password {device.password})
""", flush=True)
    cloud.seen = len(cloud.lines)
    while device.process.poll() is None and cloud.process.poll() is None:
        line = cloud.line(cloud.seen, time.monotonic() + 1)
        if line is not None:
            cloud.seen += 1
            story.tell("cloud", line.rstrip())
    raise Missed("cloud or device ended by itself")


def end(story, cloud, device):
    story.chapter("The device is told to end")
    device.session.close_session()
    code = device.stop()
    cloud.until("main connection: closed by the device")
    story.tell("device", f"exit code {code}")
    if code != 0:
        raise Missed(f"the device ended with exit code {code}, not 0")


def run(story, directory, staying):
    story.tell("cloud", "starts; it knows one device, by serial number and password")
    cloud = Cloud(directory, story)
    story.tell("cloud", f"listens on 127.0.0.1, ports {cloud.ports[0]} and {cloud.ports[1]} (TLS)")
    story.tell("device", f"starts with an empty state directory, serial number {SERIAL}")
    device = Device(directory, story)
    story.tell("device", f"listens on {device.address} (NETCONF over SSH); no cloud is configured")
    configure_cloud(story, cloud, device)
    for step in (keepalive, new_password, new_port, unbind, reset):
        step(story, cloud, device)
    if staying:
        stay(story, cloud, device)
    end(story, cloud, device)


def interrupted(_signal, _frame):
    raise KeyboardInterrupt


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--stay", action="store_true", help="keep cloud and device up until Ctrl-C")
    staying = parser.parse_args().stay
    for ending in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(ending, interrupted)
    story, began = Story(), time.monotonic()
    with tempfile.TemporaryDirectory(prefix="tether-demo-") as directory:
        try:
            run(story, Path(directory), staying)
            print(f"\nEvery step was seen on both sides, in {time.monotonic() - began:.0f} s.")
            return 0
        except KeyboardInterrupt:
            print("\ninterrupted: everything is taken down", flush=True)
            return 0 if staying else 130
        except Exception as error:  # whatever it is, the logs that explain it are about to be removed
            sys.stdout.flush()
            report(error)
            return 1
        finally:
            for ending in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                signal.signal(ending, signal.SIG_IGN)
            for program in reversed(Program.started):
                program.stop()


def report(error):
    told = isinstance(error, (Missed, configure.NotReached, configure.RPCError))
    print(f"\ndemo: {error if told else repr(error)}", file=sys.stderr)
    for program in Program.started:
        lines = [line for line in program.lines if line is not None] + program.log.read_text().splitlines()
        print(f"--- {program.name}, its last lines", *lines[-20:], sep="\n", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
