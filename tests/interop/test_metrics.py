"""The metrics as Prometheus reads them, by the parser of its own Python client, and the dashboard that shows them."""

import json
import re
import urllib.request
from pathlib import Path

import pytest
from harness.config import cloud, config
from harness.wait import DEADLINE, wait_until
from prometheus_client.parser import text_string_to_metric_families

DASHBOARD = Path(__file__).parents[2] / "examples/grafana/tether.json"


@pytest.fixture
def measured(start):
    """An agent with metrics on a free port, and how to read them."""
    agent = start("--metrics", "127.0.0.1:0")
    address = wait_until("the address is in the log", lambda: re.search(
        r"metrics are served.*?(127\.0\.0\.1:\d+)", agent.log.read_text())).group(1)

    def read():
        with urllib.request.urlopen(f"http://{address}/metrics", timeout=DEADLINE) as answer:
            assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
            return {family.name: family for family in text_string_to_metric_families(answer.read().decode())}
    return agent, read


def value(families, sample, **labels):
    """The value of the one sample with these labels."""
    found = [each.value for family in families.values() for each in family.samples
             if each.name == sample and labels.items() <= each.labels.items()]
    assert len(found) == 1, (sample, labels, found)
    return found[0]


def test_they_are_well_formed_described_and_count(measured):
    agent, read = measured
    with agent.connect() as session:
        session.edit_config(target="candidate", config=config(cloud("<keepalive-interval>60</keepalive-interval>")))
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


def test_the_dashboard_shows_metrics_that_there_are(measured):
    _, read = measured
    described = set(re.findall(r'"(tether_\w+)"', (DASHBOARD.parents[2] / "src/agent/metrics.rs").read_text()))
    dashboard = json.loads(DASHBOARD.read_text())
    asked = set(re.findall(r"tether_\w+", json.dumps(dashboard["panels"])))
    assert asked
    assert {re.sub(r"_bucket$", "", name) for name in asked} <= described
    assert read()
