"""The metrics as Prometheus reads them, by the parser of its own Python client, and the dashboard that shows them."""

import contextlib
import json
import re
import socket
import subprocess
import threading
import urllib.request
from pathlib import Path

import pytest
from harness.config import cloud as settings
from harness.config import config
from harness.orchestrator import Orchestrator
from harness.servers import find
from harness.wait import DEADLINE, wait_until
from prometheus_client.parser import text_string_to_metric_families

PROJECT = Path(__file__).parents[2]
DASHBOARD = PROJECT / "examples/grafana/tether.json"
SOURCES = PROJECT / "src"


class Reader:
    """Reads the metrics at an address."""

    def __init__(self, host, port):
        self.address = host, int(port)

    def text(self):
        with urllib.request.urlopen("http://{}:{}/metrics".format(*self.address), timeout=DEADLINE) as answer:
            assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
            return answer.read().decode()

    def tries(self):
        try:
            return self.text()
        except OSError:
            return None

    def __call__(self):
        return {family.name: family for family in text_string_to_metric_families(self.text())}


@pytest.fixture
def measured(start):
    """An agent with metrics on a free port, and how to read them."""
    agent = start("--metrics", "127.0.0.1:0")
    address = wait_until("the address is in the log", lambda: re.search(
        r"metrics are served.*?(127\.0\.0\.1):(\d+)", agent.log.read_text()))
    return agent, Reader(*address.groups())


def value(families, sample, **labels):
    """The value of the one sample with these labels."""
    found = [each.value for family in families.values() for each in family.samples
             if each.name == sample and labels.items() <= each.labels.items()]
    assert len(found) == 1, (sample, labels, found)
    return found[0]


def test_they_are_well_formed_described_and_count(measured):
    agent, read = measured
    with agent.connect() as session:
        session.edit_config(target="candidate", config=config(settings("<keepalive-interval>60</keepalive-interval>")))
        session.commit()
        families = read()
        assert value(families, "tether_netconf_sessions", transport="ssh") == 1
    assert value(families, "tether_netconf_rpcs_total", operation="commit", outcome="ok") == 1
    assert value(families, "tether_netconf_rpc_duration_seconds_count", operation="edit-config") == 1
    for phase in ("prepare", "store", "apply"):
        assert value(families, "tether_commit_duration_seconds_count", phase=phase) >= 1
    assert value(families, "tether_tunnel_state", state="idle") == 1
    for family in families.values():
        assert family.documentation, family.name
        assert family.type != "unknown", family.name
        if family.type == "histogram":
            assert any(each.labels.get("le") == "+Inf" for each in family.samples), family.name


def test_the_dashboard_shows_every_metric_that_there_is_and_no_other():
    measured = {name for source in SOURCES.rglob("*.rs")
                for name in re.findall(r'\b(?:counter|gauge|histogram)!\(\s*"(tether_\w+)"', source.read_text())}
    described = set(re.findall(r'"(tether_\w+)"', (SOURCES / "agent/metrics.rs").read_text()))
    dashboard = json.loads(DASHBOARD.read_text())
    asked = {re.sub(r"_bucket$", "", name) for name in re.findall(r"tether_\w+", json.dumps(dashboard["panels"]))}
    assert asked == measured == described
    numbers = [panel["id"] for panel in dashboard["panels"]]
    assert len(numbers) == len(set(numbers))


def test_promtool_finds_nothing_to_complain_of_in_the_metrics_of_a_whole_life(measured, cloud):
    promtool = find("promtool")
    if not promtool:
        pytest.skip("no promtool")
    agent, read = measured
    device = Orchestrator(agent.connect(), agent)
    device.point_at(cloud)
    device.sees_established()
    device.session.create_subscription()
    # What services carried is looked up while they are there.
    read()
    device.act("<reset-tunnel/>")
    cloud.obey("kill")
    device.sees_established()
    device.commit(settings("<server><password>$0$wrong</password></server>"))
    device.sees(failure_reason="password-refused")
    text = read.text()
    checked = subprocess.run([promtool, "check", "metrics"], input=text, capture_output=True, text=True, timeout=DEADLINE,
                             check=False)
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, "", "")
    told = set(re.findall(r"^# TYPE (\w+) ", text, re.MULTILINE))
    assert {"tether_tunnel_downs_total", "tether_tunnel_failures_total", "tether_notifications_total",
            "tether_subconnection_octets_total", "tether_commit_duration_seconds"} <= told


def test_hostile_readers_of_the_metrics_are_bounded_and_hold_up_nobody(measured):
    agent, read = measured
    address = read.address
    before = agent.descriptors()
    held = []
    for _ in range(500):
        held.append(socket.create_connection(address, DEADLINE))
    # Whoever is in says nothing, byte by byte, or all at once; whoever is not is out at once.
    for number, stream in enumerate(held):
        try:
            stream.sendall((b"", b"G", b"GET /metrics HTTP/1.1\r\nX: " + b"x" * (1 << 20))[number % 3])
        except OSError:
            pass
    assert agent.descriptors() - before <= 16
    with agent.connect() as session:
        session.edit_config(target="running", config=config(settings("<keepalive-interval>60</keepalive-interval>")))
    for stream in held:
        stream.close()
    wait_until("the next one is served", lambda: read.tries())


def test_readers_that_say_nothing_keep_no_other_out(measured):
    _, read = measured
    over = threading.Event()

    def loiter():
        while not over.is_set():
            with contextlib.suppress(OSError), socket.create_connection(read.address, DEADLINE) as stream:
                stream.sendall(b"G")
                # Ends when it is shown out.
                stream.recv(1)

    loiterers = [threading.Thread(target=loiter) for _ in range(16)]
    for loiterer in loiterers:
        loiterer.start()
    try:
        for _ in range(20):
            assert "tether_tunnel_state" in read.text()
    finally:
        over.set()
        # Their last connections end by the deadline of a request.
        for loiterer in loiterers:
            loiterer.join(DEADLINE)
