"""A whole life at the level trace: no secret is in the log, wherever it goes, in a metric or in what managers read of the past."""

import base64
import re
import socket
import subprocess
import threading
import urllib.request

import pytest
from harness import program
from harness.agent import PASSWORD as ADMIN
from harness.agent import SERIAL
from harness.cloud import CODE, Cloud
from harness.cloud import PASSWORD as CLOUD
from harness.config import MANAGEMENT, authorized_key, cloud, config, server, user
from harness.orchestrator import Orchestrator
from harness.wait import DEADLINE, wait_until
from ncclient.operations import RPCError
from ncclient.transport.errors import AuthenticationError

BOB, BOB_LATER, GUESS = "bobs-first-Pa55", "bobs-second-Pa55", "guessed-Pa55"
TYPED, DISCOVERED, LATER = "typed-Pa55", "discovered-Pa55", "later-Pa55"
# The code is in the configuration, for those who may read it; the rest is nowhere in clear text.
SECRETS = [ADMIN, CLOUD, BOB, BOB_LATER, GUESS, TYPED, DISCOVERED, LATER]


def live(agent, the_cloud, key):
    """Everything that a secret is given to the agent for; the texts that it is asked for afterwards."""
    device = Orchestrator(agent.connect(), agent)
    device.commit(authorized_key("admin", key))
    device.point_at(the_cloud)
    device.sees_established()
    the_cloud.obey(f"password {SERIAL} {LATER}")
    device.commit(server(f"<password>$0${LATER}</password>"))
    device.sees_established()
    device.commit(cloud(f"<unbinding-code>{CODE}</unbinding-code>"))
    device.sees(unbinding__status="accepted")
    device.act("<reset-tunnel/>")
    device.sees_established()
    device.commit(user("bob", f"<password>$0${BOB}</password>"))
    agent.connect("bob", BOB).close_session()
    device.commit(user("bob", f"<password>$0${BOB_LATER}</password>"))
    agent.connect("bob", BOB_LATER).close_session()
    with pytest.raises(AuthenticationError):
        agent.connect("bob", GUESS)
    # A wrong password for the cloud: by hand over ssh, then by DHCP's hook.
    typed = subprocess.run(
        ["ssh", "-F", "none", "-i", str(key), "-p", str(agent.port), "-o", "StrictHostKeyChecking=no", "-o", "LogLevel=ERROR",
         "-o", "BatchMode=yes", "admin@127.0.0.1"],
        input=f"system-view\ncloud-management server password simple {TYPED}\n", capture_output=True, text=True,
        timeout=DEADLINE, check=False)
    assert typed.returncode == 0, typed.stdout + typed.stderr
    device.sees(failure_reason="password-refused")
    device.commit(cloud("<discovery><dhcp><interface>lo</interface></dhcp></discovery>"))
    hook = [program.TETHER, "dhcp-event", "lo", "--password-stdin", "--control", agent.state / "control.sock"]
    subprocess.run(hook, input=DISCOVERED + "\n", text=True, check=True, timeout=DEADLINE)
    device.sees(password_origin="dhcp")
    # What is refused may quote a value.
    for secret in (f"$0${LATER * 30}", LATER):
        with pytest.raises(RPCError):
            device.session.edit_config(target="candidate", config=config(server(f"<password>{secret}</password>")))
    history = device.session.get(("subtree", f'<device-management xmlns="{MANAGEMENT}"/>')).xml
    everything = device.session.get().xml
    device.session.close_session()
    return history, everything


class Collector:
    """Takes datagrams until it is closed."""

    def __init__(self):
        self.socket = socket.socket(type=socket.SOCK_DGRAM)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8 << 20)
        self.socket.bind(("127.0.0.1", 0))
        self.heard = bytearray()
        self._thread = threading.Thread(target=self._hear, daemon=True)
        self._thread.start()

    def _hear(self):
        while datagram := self.socket.recv(1 << 16):
            self.heard += datagram + b"\n"

    def text(self):
        """All of it; nothing is heard any more."""
        with socket.socket(type=socket.SOCK_DGRAM) as last:
            last.sendto(b"", self.socket.getsockname())
        self._thread.join(DEADLINE)
        self.socket.close()
        return self.heard.decode()


@pytest.fixture
def collector():
    return Collector()


@pytest.mark.parametrize("sink", ["stderr", "file", "json", "syslog"])
def test_no_secret_leaves_the_agent_at_any_level(sink, start, collector, make_key, tmp_path):
    path = tmp_path / "log"
    to = {"stderr": [], "file": ["--log-to", path], "json": ["--log-to", path, "--log-format", "json"],
          "syslog": ["--log-to", f"syslog:127.0.0.1:{collector.socket.getsockname()[1]}"]}[sink]
    agent = start("--log", "trace", "--metrics", "127.0.0.1:0", *to)

    the_cloud = Cloud(tmp_path / "cloud")
    try:
        history, everything = live(agent, the_cloud, make_key())
        port = metrics_port(agent)
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=DEADLINE) as answer:
            metrics = answer.read().decode()
    finally:
        the_cloud.kill()
    agent.stop()
    log = {"stderr": agent.log.read_text, "syslog": collector.text}.get(sink, path.read_text)()
    # It did tell of everything.
    for words in ["ssh login", "running changed", "ssh login refused", "device_state", "password-refused", "discovered by DHCP"]:
        assert words in log, words
    for where, text in {"log": log, "metrics": metrics, "history": history, "all data": everything}.items():
        for secret in SECRETS:
            for form in (secret, base64.b64encode(secret.encode()).decode().rstrip("="), secret.encode().hex()):
                assert form not in text, (where, secret, context(text, form))
    assert CODE not in log and CODE not in metrics, context(log, CODE)
    for sealed in (r"\$1\$", r"\$6\$", "Bearer", "Authorization", "response="):
        assert not re.search(sealed, log), (sealed, context(log, sealed.replace("\\", "")))


def context(text, form):
    at = text.find(form)
    return text[max(0, at - 300):at + 100]


def metrics_port(agent):
    """The port on which the agent listens beside that of SSH."""
    def port():
        shown = subprocess.run(["ss", "--tcp", "--listening", "--numeric", "--processes", "--no-header"], capture_output=True,
                               text=True, check=True, timeout=DEADLINE).stdout
        own = [line for line in shown.splitlines() if f"pid={agent.process.pid}," in line]
        ports = {int(re.search(r":(\d+) ", line)[1]) for line in own} - {agent.port}
        return ports.pop() if ports else None
    return wait_until("the metrics are served", port)
