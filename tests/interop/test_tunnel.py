"""A commit drives the tunnel: the agent's state and the cloud's log tell the same story."""

import os
import subprocess
import sys

import pytest
from harness import program
from harness.agent import PASSWORD as ADMIN_PASSWORD
from harness.cloud import CODE, DOMAIN, PASSWORD
from harness.config import cloud as settings
from harness.config import server
from harness.orchestrator import Orchestrator
from harness.wait import DEADLINE


@pytest.fixture
def orchestrator(connect):
    return Orchestrator(connect())


@pytest.fixture
def tunnel(orchestrator, cloud):
    """An orchestrator whose device is connected."""
    orchestrator.point_at(cloud)
    orchestrator.sees_established()
    cloud.sees("subconnection telemetry up")
    return orchestrator


def test_a_commit_walks_the_steps_in_order_up_to_established(orchestrator, cloud):
    orchestrator.point_at(cloud)
    for step in ("TLS up", "authentication challenged", "authentication accepted (nc=1)",
                 "registered, services netconf, telemetry", "main connection up after 4 requests", "subconnections requested",
                 "subconnections sent: telemetry", "subconnection telemetry up", "telemetry ietf-yang-push:push-update"):
        cloud.sees(step)
    state = orchestrator.sees_established()
    assert (state["server-domain"], state["server-address"]) == (DOMAIN, "127.0.0.1")
    assert state["server-port"] == str(cloud.ports[0])
    assert (state["domain-origin"], state["password-origin"]) == ("configured", "configured")
    assert "failure-reason" not in state and "last-down/reason" not in state


def test_the_example_script_configures_a_device_and_sees_it_connect(agent, cloud, tmp_path):
    anchor = tmp_path / "ca.pem"
    anchor.write_text(cloud.ca)
    scanned = subprocess.run(["ssh-keyscan", "-p", str(agent.port), "127.0.0.1"], capture_output=True, text=True,
                             timeout=DEADLINE, check=True).stdout

    def configure(host_key):
        return subprocess.run(
            [sys.executable, program.ROOT / "examples/configure.py", "--device", f"127.0.0.1:{agent.port}", "--host-key",
             host_key, "--cloud", f"{DOMAIN}:{cloud.ports[0]}", "--address", f"{DOMAIN}=127.0.0.1",
             "--trust-anchor", anchor], capture_output=True, text=True, timeout=3 * DEADLINE, check=False,
            env=os.environ | {"TETHER_ADMIN_PASSWORD": ADMIN_PASSWORD, "TETHER_CLOUD_PASSWORD": PASSWORD})
    key = next(line.split()[2] for line in scanned.splitlines() if " ssh-ed25519 " in line)
    done = configure(key)
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith(f"established with {DOMAIN} (127.0.0.1) port {cloud.ports[0]}\n")
    wrong = configure(key[:-4] + ("AAAA" if key[-4:] != "AAAA" else "BBBB"))
    assert wrong.returncode == 1 and wrong.stderr.startswith("configure: ") and not wrong.stdout


def test_the_command_line_shows_an_established_tunnel(tunnel, agent, cloud):
    shown = subprocess.run(
        [program.TETHER, "cli", "--socket", agent.state / "tether.sock", "-c", "display cloud-management state"],
        capture_output=True, text=True, timeout=DEADLINE, check=True).stdout.splitlines()
    assert shown[:5] == [
        "Cloud connection state   : Established", "Device state             : Request_success",
        "Cloud server address     : 127.0.0.1", f"Cloud server domain name : {DOMAIN}",
        f"Cloud server port        : {cloud.ports[0]}"]
    assert shown[7:] == ["Process state            : Message received", "Failure reason           : N/A"]


def test_a_shorter_interval_keeps_the_tunnel_and_sends_keepalives(tunnel, cloud):
    tunnel.commit(settings("<keepalive-interval>10</keepalive-interval>"))
    cloud.sees("keepalive 1, answered")
    state = tunnel.sees(keepalives__answered="1", keepalives__missed="0")
    assert int(state["keepalives/round-trip-time"]) > 0
    assert "last-down/reason" not in state


def test_a_reset_takes_the_tunnel_down_and_brings_it_back(tunnel, cloud):
    tunnel.act("<reset-tunnel/>")
    cloud.sees("closed by the device with 1000")
    cloud.sees("last down reset-by-operator")
    cloud.sees("subconnection telemetry up")
    assert tunnel.sees_established()["last-down/reason"] == "reset-by-operator"


@pytest.mark.parametrize("code, answer", [(CODE, "accepted"), ("wrong", "refused")])
def test_the_action_unbind_is_answered_in_the_state(tunnel, cloud, code, answer):
    tunnel.act(f"<unbind><code>{code}</code></unbind>")
    cloud.sees("unbind 1: success" if answer == "accepted" else "unbind 1: code invalid")
    state = tunnel.sees(unbinding__status=answer)
    assert state.get("unbinding/reason") == (None if answer == "accepted" else "code-invalid")
    assert "last-down/reason" not in state
    assert code not in str(state)


def test_an_unbinding_code_that_is_committed_is_sent_once(tunnel, cloud):
    tunnel.commit(settings(f"<unbinding-code>{CODE}</unbinding-code>"))
    cloud.sees("unbind 1: success")
    tunnel.sees(unbinding__status="accepted")
    tunnel.act("<reset-tunnel/>")
    cloud.sees("subconnection telemetry up")
    assert tunnel.sees_established()["unbinding/status"] == "accepted"
    assert sum("unbind " in line for line in cloud.lines) == 1


def test_a_wrong_password_is_told_and_the_right_one_connects_at_once(orchestrator, cloud):
    orchestrator.point_at(cloud, password="wrong")
    cloud.sees("authentication refused, wrong credentials")
    state = orchestrator.sees(failure_reason="password-refused", device_state="waiting")
    assert state["connection-state"] == "unconnected" and "next-attempt-at" in state
    orchestrator.commit(server(f"<password>$0${PASSWORD}</password>"))
    orchestrator.sees_established()


def test_a_cloud_that_is_not_trusted_gets_no_credentials(orchestrator, cloud):
    orchestrator.point_at(cloud)
    orchestrator.sees_established()
    orchestrator.commit(settings('<trust nc:operation="delete"/>'))
    cloud.sees("TLS failed")
    state = orchestrator.sees(failure_reason="tls-failed", connection_state="unconnected")
    assert state["last-down/reason"] == "configuration-changed"


def test_another_port_moves_the_tunnel(tunnel, cloud):
    tunnel.commit(server(f"<port>{cloud.ports[1]}</port>"))
    cloud.sees("last down configuration-changed")
    tunnel.sees(connection_state="established", server_port=str(cloud.ports[1]))


def test_a_commit_that_changes_nothing_about_the_target_keeps_the_tunnel(tunnel, cloud):
    tunnel.commit(server(f"<domain>{DOMAIN.upper()}.</domain><password>$0${PASSWORD}</password>"))
    tunnel.act(f"<unbind><code>{CODE}</code></unbind>")
    cloud.sees("unbind 1: success")
    assert "last-down/reason" not in tunnel.sees_established()


def test_without_a_domain_there_is_no_tunnel(tunnel, cloud):
    tunnel.commit(server('<domain nc:operation="delete"/>'))
    cloud.sees("main connection: closed by the device with 1000")
    state = tunnel.sees(connection_state="unconnected", device_state="idle")
    assert "server-address" not in state


def test_a_cloud_that_comes_back_is_connected_to_again(tunnel, cloud):
    cloud.obey("stop")
    tunnel.sees(connection_state="unconnected")
    cloud.obey("start")
    tunnel.sees_established()
    cloud.sees("subconnection telemetry up")


def test_an_agent_that_starts_again_connects_by_itself(start, cloud):
    agent = start()
    with agent.connect() as session:
        orchestrator = Orchestrator(session)
        orchestrator.point_at(cloud)
        orchestrator.sees_established()
    assert agent.stop() == 0
    cloud.sees("main connection: closed by the device with 1001")
    with start().connect() as session:
        state = Orchestrator(session).sees_established()
    cloud.sees("last down shutdown")
    assert state["last-down/reason"] == "shutdown"


def test_an_agent_that_was_killed_is_let_in_again(start, cloud):
    agent = start()
    orchestrator = Orchestrator(agent.connect())
    orchestrator.point_at(cloud)
    orchestrator.sees_established()
    agent.kill()
    with start().connect() as session:
        Orchestrator(session).sees_established()
