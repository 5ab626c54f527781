"""The command of rustnetconf-cli: what is desired in files, compared, applied by a confirmed commit, confirmed."""

import json
import os
import subprocess
import textwrap

import pytest
from harness import program
from harness.agent import PASSWORD
from harness.config import CLOUD, cloud, config, server
from harness.wait import DEADLINE

COMMAND = program.COUNTERPARTS / "bin" / "netconf"
pytestmark = pytest.mark.skipif(not COMMAND.exists(), reason="rustnetconf-cli could not be built: see .ci/counterparts")
INTERVAL = f".//{{{CLOUD}}}keepalive-interval"


@pytest.fixture
def project(agent, key, tmp_path):
    """A project of the command, with the host key it checks."""
    folder = tmp_path / "project"
    (folder / "desired" / "device").mkdir(parents=True)
    known = folder / "known_hosts"
    scanned = subprocess.run(["ssh-keyscan", "-t", "ed25519", "-p", str(agent.port), "127.0.0.1"], capture_output=True,
                             text=True, timeout=DEADLINE, check=True)
    known.write_text(scanned.stdout)
    (folder / "inventory.toml").write_text(textwrap.dedent(f"""\
        [defaults]
        confirm_timeout = 600
        [devices.device]
        host = "127.0.0.1:{agent.port}"
        username = "admin"
        key_file = "{key}"
        known_hosts_path = "{known}"
        [devices.by-password]
        host = "127.0.0.1:{agent.port}"
        username = "admin"
        password = "{PASSWORD}"
        known_hosts_path = "{known}"
        [devices.guessing]
        host = "127.0.0.1:{agent.port}"
        username = "admin"
        password = "wrong"
        known_hosts_path = "{known}"
        """))
    return folder


@pytest.fixture
def want(project):
    def want(inside):
        (project / "desired" / "device" / "wanted.xml").write_text(inside)
    return want


@pytest.fixture
def netconf(project):
    """Runs the command: exit code, standard output and standard error."""
    def netconf(*arguments):
        ran = subprocess.run([COMMAND, "-C", project, *arguments], capture_output=True, text=True, timeout=DEADLINE,
                             check=False, env=os.environ | {"NO_COLOR": "1"})
        return ran.returncode, ran.stdout, ran.stderr
    return netconf


def interval(session):
    return session.get_config("running").data_ele.findtext(INTERVAL)


@pytest.mark.parametrize("device", ["device", "by-password"])
def test_the_running_configuration_is_fetched(netconf, device):
    code, said, complaints = netconf("get", device)
    assert (code, "<user-name>admin</user-name>" in said) == (0, True), complaints


def test_a_wrong_password_is_an_error(netconf):
    code, _, complaints = netconf("get", "guessing")
    assert code == 1 and "failed to connect" in complaints


def test_a_plan_names_what_would_change_and_changes_nothing(netconf, want, connect):
    want(cloud("<keepalive-interval>60</keepalive-interval>"))
    code, said, complaints = netconf("plan", "device", "--json")
    assert code == 0, complaints
    assert "keepalive-interval" in json.dumps(json.loads(said))
    assert interval(connect()) is None


def test_what_is_desired_is_validated_and_discarded(netconf, want, connect):
    want(cloud("<keepalive-interval>60</keepalive-interval>"))
    code, _, complaints = netconf("validate", "device")
    assert (code, "Validation passed" in complaints) == (0, True), complaints
    session = connect()
    assert session.get_config("candidate").data_ele.findtext(INTERVAL) is None


@pytest.mark.parametrize("inside, tag", [
    (cloud("<keepalive-interval>9</keepalive-interval>"), "InvalidValue"),
    (server("<port>0</port>"), "InvalidValue"),
    (cloud("<nonsense/>"), "UnknownElement"),
])
@pytest.mark.parametrize("command", [("validate", "device"), ("apply", "device", "--yes")])
def test_a_refused_edit_is_an_error_with_its_tag_and_leaves_no_lock(netconf, want, connect, command, inside, tag):
    want(inside)
    code, _, complaints = netconf(*command)
    assert (code, f"[{tag}]" in complaints) == (1, True), complaints
    session = connect()
    with session.locked("candidate"):
        assert interval(session) is None
    assert session.get_config("candidate").data_ele.find(f".//{{{CLOUD}}}server") is None


def test_what_was_applied_and_not_confirmed_goes_with_its_session(netconf, want, connect):
    # RFC 6241, section 8.4.1: without <persist> the end of the session takes the commit back.
    want(cloud("<keepalive-interval>60</keepalive-interval>"))
    code, _, complaints = netconf("apply", "device", "--yes")
    assert (code, "Committing (confirmed, 600s timeout)" in complaints) == (0, True), complaints
    assert interval(connect()) is None
    code, _, complaints = netconf("confirm", "device")
    assert code == 0, "a commit with nothing pending is a plain one: " + complaints
    assert interval(connect()) is None


def test_what_was_saved_before_is_put_back(netconf, want, connect):
    want(cloud("<keepalive-interval>60</keepalive-interval>"))
    assert netconf("apply", "device", "--yes")[0] == 0
    session = connect()
    session.edit_config(target="running", config=config(cloud("<keepalive-interval>61</keepalive-interval>")))
    code, _, complaints = netconf("rollback", "device")
    assert code == 0, complaints
    assert interval(session) is None
