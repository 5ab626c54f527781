"""Whom the tunnel trusts where no trust anchors are configured: the platform's roots, as they are at each attempt."""

import signal

from harness.cloud import DOMAIN, PASSWORD
from harness.config import server, static_host
from harness.orchestrator import Orchestrator


def test_without_trust_anchors_the_platforms_roots_count_as_they_are_now(start, cloud, tmp_path, monkeypatch):
    roots = tmp_path / "roots.pem"
    roots.write_text(cloud.ca)
    monkeypatch.setenv("SSL_CERT_FILE", str(roots))
    agent = start()
    with agent.connect_locally() as session:
        orchestrator = Orchestrator(session)
        inside = f"<domain>{DOMAIN}</domain><port>{cloud.ports[0]}</port><password>$0${PASSWORD}</password>"
        orchestrator.commit(server(inside), static_host(DOMAIN, "127.0.0.1"))
        orchestrator.sees_established()

        roots.write_text("")
        orchestrator.act("<reset-tunnel/>")
        orchestrator.sees(device_state="waiting", failure_reason="tls-failed")

        roots.write_text(cloud.ca)
        agent.process.send_signal(signal.SIGHUP)
        orchestrator.act("<reset-tunnel/>")
        state = orchestrator.sees_established()
        assert state["server-certificate/subject"] == "CN=tether reference cloud"
