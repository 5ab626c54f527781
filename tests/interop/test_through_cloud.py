"""Managers reach the agent through the cloud: real SSH and NETCONF clients on the device's port at the cloud."""

import subprocess
import time

import pytest
from harness.agent import ANSWER, SERIAL, Agent
from harness.agent import PASSWORD as ADMIN_PASSWORD
from harness.cloud import Cloud
from harness.config import cloud as settings
from harness.config import authorized_key, config, user
from harness.orchestrator import Orchestrator
from harness.session import over_ssh
from harness.wait import DEADLINE, wait_until
from ncclient import manager
from ncclient.operations import RPCError
from ncclient.transport.errors import TransportError
from test_large import EXAMPLE, PATIENCE, Reading, edit, from_here_on, large, memory  # noqa: F401 (large is a fixture)

CONTACT = '<system xmlns="urn:ietf:params:xml:ns:yang:ietf-system"><contact>{}</contact></system>'


class Device:
    """An agent behind a cloud, the port that leads to it there, and a session that does not go through the cloud."""

    def __init__(self, agent, cloud):
        self.agent, self.cloud = agent, cloud
        self.direct = Orchestrator(agent.connect())
        self.direct.point_at(cloud)
        self.direct.sees_established()
        self.port = self._port()

    def _port(self):
        said = f"cloud: netconf {SERIAL} 127.0.0.1:"
        line = self.cloud.lines[self.cloud.line(lambda line: line.startswith(said))]
        return int(line.rpartition(":")[2])

    def connect(self, user="admin", password=ADMIN_PASSWORD):
        """A session of ncclient through the cloud."""
        return manager.connect(host="127.0.0.1", port=self.port, username=user, password=password, timeout=ANSWER,
                               hostkey_verify=False)

    def comes_back(self):
        """A session through the cloud, once there is a way again."""
        def try_it():
            try:
                return self.connect()
            except (TransportError, EOFError, OSError):
                return None
        return wait_until("a session through the cloud", try_it, 2 * DEADLINE)


@pytest.fixture
def through(tmp_path):
    """Makes a device of an agent; its cloud ends with the test."""
    clouds = []

    def through(agent):
        clouds.append(Cloud(tmp_path / "cloud", services=["netconf", "telemetry"], netconf_listen="127.0.0.1"))
        return Device(agent, clouds[-1])
    yield through
    for cloud in clouds:
        cloud.kill()


@pytest.fixture
def device(agent, through):
    return through(agent)


def test_ncclient_edits_and_commits_through_the_cloud(device):
    with device.connect() as session:
        assert session.session_id
        with session.locked("candidate"):
            session.edit_config(target="candidate", config=config(CONTACT.format("from afar")))
            session.commit()
        state = session.get(filter=("subtree", settings("<state/>"))).data_xml
    assert "established" in state and "netconf" in state
    assert "from afar" in device.direct.session.get_config("running").data_xml


def test_several_sessions_share_the_tunnel(device):
    sessions = [device.connect() for _ in range(6)]
    seen = Agent.sessions(sessions[0])
    assert {int(session.session_id) for session in sessions} <= seen
    for session in sessions:
        session.close_session()


def test_an_operator_is_held_to_his_rights_through_the_cloud(device):
    device.direct.session.edit_config(target="running", config=config(user("carol", "<password>$0$carol</password>")))
    with device.connect("carol", "carol") as session, pytest.raises(RPCError) as refused:
        session.edit_config(target="candidate", config=config(CONTACT.format("x")))
    assert refused.value.tag == "access-denied"


def test_openssh_knows_the_device_by_its_own_host_key(device, key, tmp_path):
    scanned = subprocess.run(["ssh-keyscan", "-p", str(device.agent.port), "127.0.0.1"], capture_output=True, text=True,
                             timeout=DEADLINE, check=True).stdout
    own = next(line.split(" ", 1)[1] for line in scanned.splitlines() if " ssh-ed25519 " in line)
    known = tmp_path / "known"

    def netconf(host_key):
        known.write_text(f"[127.0.0.1]:{device.port} {host_key}\n")
        return subprocess.run(
            ["ssh", "-F", "none", "-p", str(device.port), "-i", key, "-o", "BatchMode=yes", "-o", f"UserKnownHostsFile={known}",
             "-o", "StrictHostKeyChecking=yes", "-s", "admin@127.0.0.1", "netconf"],
            input="", capture_output=True, text=True, timeout=DEADLINE, check=False)
    assert "urn:ietf:params:netconf:base:1.1" in netconf(own).stdout
    wrong = netconf((key.with_name(key.name + ".pub")).read_text().rsplit(" ", 1)[0])
    assert wrong.returncode == 255 and "Host key verification failed" in wrong.stderr and not wrong.stdout


def test_a_tunnel_that_is_cut_ends_its_sessions_and_the_next_gets_through(device):
    session = device.connect()
    session.lock("running")
    device.cloud.obey("kill")
    wait_until("the end of the session", lambda: not session.connected)
    with device.comes_back() as again, again.locked("running"):
        pass
    assert device.direct.sees_established()["last-down/reason"] == "connection-lost"


def test_a_go_away_ends_the_sessions_and_the_tunnel_stays(device):
    session = device.connect()
    device.cloud.obey(f"go-away {SERIAL}")
    wait_until("the end of the session", lambda: not session.connected)
    with device.comes_back():
        pass
    assert "last-down/reason" not in device.direct.sees_established()


def test_100_mb_pass_through_and_the_keepalive_is_undisturbed(large, make_key, through):  # noqa: F811
    key = make_key()
    device = through(large)
    device.direct.commit(authorized_key("admin", key), settings("<keepalive-interval>10</keepalive-interval>"))
    through_cloud = over_ssh(device.port, "admin", key, large.directory / "ssh.log")
    through_cloud.hello()
    slow = over_ssh(device.port, "admin", key, large.directory / "ssh.log")
    slow.hello()
    slow.send(f'<get><filter><all xmlns="{EXAMPLE}"/></filter></get>')
    whole = f'<get><filter><all xmlns="{EXAMPLE}"/></filter></get>'
    direct = over_ssh(large.port, "admin", key, large.directory / "ssh.log")
    direct.hello()
    for name, session in (("direct", direct), ("through the cloud", through_cloud)):
        before, begun = from_here_on(large), time.monotonic()
        reading = Reading(session, whole)
        reading.join(PATIENCE)
        took, grown = time.monotonic() - begun, memory(large, "VmHWM") - before
        print(f"{name}: {reading.octets} octets in {took:.1f} s, {grown:.1f} MiB more")
        assert reading.octets > 100_000_000
        assert grown < 32, f"{name}: {grown:.1f} MiB more"
        session.close()
    # A reader that has not read a thing all the while holds nobody up, the keepalive least of all.
    seen = device.direct.sees(keepalives__missed="0", connection_state="established")
    assert "last-down/reason" not in seen
    device.cloud.sees("keepalive 1, answered")
    slow.close()
