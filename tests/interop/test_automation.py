"""The programs of examples/automation, as their heads say that they are called."""

import json
import os
import socket
import subprocess
import sys

import pytest
from harness import ansible
from harness.agent import PASSWORD
from harness.cloud import DOMAIN
from harness.cloud import PASSWORD as CLOUD_PASSWORD
from harness.config import CLOUD, NACM, authorized_key, config, static_host
from harness.orchestrator import Orchestrator
from harness.program import ROOT
from harness.wait import DEADLINE

EXAMPLES = ROOT / "examples" / "automation"


@pytest.fixture
def orchestrator(agent, connect):
    return Orchestrator(connect(), agent)


@pytest.fixture
def point(agent, cloud, connect, tmp_path):
    """Runs the playbook."""
    connect().edit_config(target="running", config=config(static_host(DOMAIN, "127.0.0.1")))
    (tmp_path / "anchor.pem").write_text(cloud.ca)

    def point(**more):
        said = {"cloud_domain": DOMAIN, "cloud_port": cloud.ports[0], "cloud_password": CLOUD_PASSWORD,
                "trust_anchor": str(tmp_path / "anchor.pem")} | more
        return ansible.play(EXAMPLES / "point.yml", tmp_path, "-e", json.dumps(said), device=agent)
    return point


@pytest.mark.skipif(not ansible.IS_THERE, reason=ansible.MISSING)
def test_the_playbook_confirms_its_commit_once_the_tunnel_stands(point, orchestrator):
    ran = point()
    assert ran.returncode == 0, ran.stdout + ran.stderr
    orchestrator.sees_established()
    assert CLOUD_PASSWORD not in ran.stdout
    # Nothing is pending any more, and nothing locked.
    with orchestrator.session.locked("candidate"):
        orchestrator.session.commit()


@pytest.mark.skipif(not ansible.IS_THERE, reason=ansible.MISSING)
def test_the_playbook_takes_a_wrong_password_back_and_says_so(point, orchestrator):
    assert point().returncode == 0
    ran = point(cloud_password="wrong", patience=3)
    assert ran.returncode == 2
    assert "device is as it was: Wait until the tunnel stands: password-refused" in ran.stdout, ran.stdout
    orchestrator.sees_established()
    with orchestrator.session.locked("candidate"):
        orchestrator.session.commit()


@pytest.mark.skipif(not ansible.IS_THERE, reason=ansible.MISSING)
def test_the_playbook_takes_a_wrong_domain_back_and_says_so(point, orchestrator):
    """Also of a device that was at no cloud before."""
    ran = point(cloud_domain="nowhere.invalid", patience=2)
    assert ran.returncode == 2
    assert "device is as it was: Wait until the tunnel stands: dns-failed" in ran.stdout, ran.stdout
    orchestrator.sees(connection_state="unconnected", device_state="idle")
    assert "nowhere.invalid" not in orchestrator.session.get_config("running").xml
    with orchestrator.session.locked("candidate"):
        orchestrator.session.commit()


@pytest.mark.skipif(not ansible.IS_THERE, reason=ansible.MISSING)
def test_the_playbook_names_the_step_that_failed_although_the_tunnel_stands(point):
    # Another word each time that it is asked for, so that the commit cannot be confirmed.
    ran = point(token="{{ lookup('ansible.builtin.password', '/dev/null', length=8) }}", confirm_timeout=30)
    assert ran.returncode == 2
    assert "device goes back by itself within 30 s: Confirm the commit: " in ran.stdout, ran.stdout
    assert "no tunnel in time" not in ran.stdout


def fleet(tmp_path, hosts, *arguments):
    (tmp_path / "hosts.yaml").write_text(json.dumps(hosts))
    return subprocess.run([sys.executable, EXAMPLES / "fleet.py", "--hosts", tmp_path / "hosts.yaml", *arguments],
                          env=os.environ | {"TETHER_ADMIN_PASSWORD": PASSWORD}, capture_output=True, text=True, timeout=2 * DEADLINE,
                          check=False, cwd=tmp_path)


def device(agent):
    return {"hostname": "127.0.0.1", "port": agent.port, "username": "admin",
            "connection_options": {"netconf": {"extras": {"hostkey_verify": False}}}}


def test_nornir_shows_the_tunnels_of_several_devices_and_sets_an_interval_on_all(start, agent, cloud, orchestrator, tmp_path):
    orchestrator.point_at(cloud)
    orchestrator.sees_established()
    other = start(directory=tmp_path / "other")
    ran = fleet(tmp_path, {"one": device(agent), "two": device(other)}, "--keepalive-interval", "60")
    assert ran.returncode == 1, ran.stderr
    assert [line.split()[:3] for line in ran.stdout.splitlines()] == [["one", "established", DOMAIN], ["two", "unconnected", "-"]], \
        ran.stderr
    for each in (agent, other):
        with each.connect() as session:
            assert session.get_config("running").data_ele.findtext(f".//{{{CLOUD}}}keepalive-interval") == "60"
    assert fleet(tmp_path, {"one": device(agent)}).returncode == 0


def test_nornir_says_which_device_cannot_be_reached(agent, cloud, orchestrator, tmp_path):
    orchestrator.point_at(cloud)
    orchestrator.sees_established()
    ran = fleet(tmp_path, {"one": device(agent), "gone": device(agent) | {"username": "nobody"}})
    one, gone = ran.stdout.splitlines()
    assert ran.returncode == 1 and "established" in one and "nobody" not in one
    assert gone.startswith("gone") and "uthentication" in gone


def test_devices_that_are_away_are_named_with_the_reason_and_keep_nobody_waiting(agent, cloud, orchestrator, tmp_path):
    orchestrator.point_at(cloud)
    orchestrator.sees_established()
    with socket.create_server(("127.0.0.1", 0)) as silent, socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        away = {name: device(agent) | {"port": each.getsockname()[1]} for name, each in (("silent", silent), ("nobody", nobody))}
        ran = fleet(tmp_path, {"one": device(agent)} | away, "--keepalive-interval", "60", "--timeout", "3")
    lines = dict(line.split(None, 1) for line in ran.stdout.splitlines())
    assert ran.returncode == 1 and lines["one"].startswith("established"), ran.stdout
    assert len(lines) == 3 and all("established" not in lines[name] and len(lines[name]) > 5 for name in away), ran.stdout


def state(agent, key, name):
    return subprocess.run(["sh", EXAMPLES / "state.sh", "-i", key, "-o", "StrictHostKeyChecking=no", "-o", "LogLevel=ERROR", "-o",
                           "BatchMode=yes", "-p", str(agent.port), f"{name}@127.0.0.1"], capture_output=True, text=True,
                          timeout=DEADLINE, check=False)


def test_plain_ssh_does_not_take_a_refusal_for_success(agent, key, connect):
    exec_denied = f'<nacm xmlns="{NACM}"><exec-default>deny</exec-default></nacm>'
    connect().edit_config(target="running", config=config(authorized_key("guest", key)))
    seen = state(agent, key, "guest")
    assert seen.returncode == 1 and "does not show" in seen.stderr, seen.stdout
    connect().edit_config(target="running", config=config(exec_denied))
    ran = state(agent, key, "guest")
    assert ran.returncode == 1 and "does not show" in ran.stderr, ran.stdout
    stranger = state(agent, key, "stranger")
    assert stranger.returncode == 255 and not stranger.stdout, stranger.stdout


def test_plain_ssh_reads_the_state(agent, key):
    ran = state(agent, key, "admin")
    assert ran.returncode == 0, ran.stderr
    hello, answer, goodbye, nothing = ran.stdout.split("]]>]]>")
    assert "<hello" in hello and "<connection-state>unconnected</connection-state>" in answer
    assert "<ok/>" in goodbye and not nothing.strip()
