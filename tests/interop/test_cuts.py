"""Networks that fail and come back. Most of it is waiting for clocks, so all of it happens at once, each in a lab of its own."""

import datetime
import time

import pytest
from harness.cloud import DOMAIN
from harness.config import authorized_key, known, resolvers, static_host, trust
from harness.config import cloud as settings
from harness.lab import CLOUD
from harness.session import generate_key, over_ssh
from harness.wait import wait_until

# Seconds: the shortest keepalive interval there is, and how long the tunnel lives without a sign of the cloud.
INTERVAL = 10
SILENCE = 3 * INTERVAL
LIBRARY = "urn:ietf:params:xml:ns:yang:ietf-yang-library"
# Seconds until a tunnel is back once it can be: one attempt that began too early and the wait after it.
BACK = 30
# Seconds that a retry has to wait at least if what wakes it is to be seen.
FAR_OFF = 3


def established(lab, rules=None, **behaviour):
    """A cloud, and an orchestrator whose device is connected to it and sends keepalives."""
    lab.wire.behave(**behaviour)
    cloud = lab.cloud(**(rules or {}))
    orchestrator = lab.orchestrator()
    orchestrator.commit(known(), trust(cloud.ca), static_host(DOMAIN, CLOUD),
                        settings(f"<keepalive-interval>{INTERVAL}</keepalive-interval>"))
    orchestrator.sees_established()
    cloud.sees("subconnection telemetry up")
    return cloud, orchestrator


def a_wire_that_is_cut_without_a_word_is_noticed_after_three_intervals_and_mended(lab):
    cloud, orchestrator = established(lab)
    orchestrator.sees(keepalives__answered="1")
    lab.wire.cut()
    cut = time.monotonic()
    orchestrator.sees(SILENCE + INTERVAL, last_down__reason="keepalive-expired", connection_state="request")
    assert SILENCE - 2 < time.monotonic() - cut < SILENCE + 3
    lab.wire.mend()
    orchestrator.sees(BACK, connection_state="established", device_state="request-success")
    cloud.sees("last down keepalive-expired")
    cloud.sees("subconnection telemetry up")


def a_link_that_is_down_for_three_intervals_comes_back_with_the_tunnel(lab):
    cloud, orchestrator = established(lab)
    lab.device.ip("link set up0 down")
    orchestrator.sees(SILENCE + INTERVAL, connection_state="unconnected")
    lab.device.ip("link set up0 up")
    orchestrator.sees(BACK, connection_state="established", device_state="request-success")
    cloud.sees("main connection up")
    cloud.sees("subconnection telemetry up")


def a_link_that_flaps_costs_no_tunnel(lab):
    cloud, orchestrator = established(lab)
    for _ in range(10):
        lab.far.ip("link set down0 down")
        lab.far.ip("link set down0 up")
    cloud.sees("keepalive 1, answered")
    assert "last-down/reason" not in orchestrator.sees_established()


def with_every_twentieth_packet_lost_and_50_ms_each_way_the_device_is_managed_and_the_tunnel_stays(lab):
    rules = {"services": ["netconf", "telemetry"], "netconf_listen": "127.0.0.1"}
    cloud, orchestrator = established(lab, rules, delay=0.05, loss=0.05)
    key = lab.folder("key") / "key"
    generate_key(key)
    orchestrator.commit(authorized_key("admin", key))
    manager = over_ssh(cloud.door(), "admin", key, key.with_name("ssh.log"), lab.far)
    manager.hello()
    # The whole of the modules, so that many packets are needed.
    schemas = manager.rpc(f'<get><filter><modules-state xmlns="{LIBRARY}"/><yang-library xmlns="{LIBRARY}"/></filter></get>')
    assert not schemas.errors and len(schemas.text) > 10_000
    manager.close()
    for number in (1, 2, 3):
        cloud.sees(f"keepalive {number}, answered")
    state = orchestrator.sees(keepalives__answered="3")
    assert "last-down/reason" not in state
    assert int(state["keepalives/round-trip-time"]) >= 100_000


def without_any_answer_of_a_resolver_the_lookup_ends_after_ten_seconds(lab):
    lab.silence(CLOUD)
    orchestrator = lab.orchestrator()
    began = time.monotonic()
    orchestrator.commit(known(), resolvers(CLOUD, options="<timeout>60</timeout><attempts>5</attempts>"))
    orchestrator.sees(device_state="resolving", process_state="dns-not-parsed")
    state = orchestrator.sees(device_state="waiting")
    assert 10 <= time.monotonic() - began < 15
    assert (state["failure-reason"], state["process-state"]) == ("timeout", "dns-not-parsed")


def far_off(orchestrator):
    """Waits until the next attempt is some seconds away."""
    def left():
        due = orchestrator.state().get("next-attempt-at")
        now = datetime.datetime.now(datetime.timezone.utc)
        return due and (datetime.datetime.fromisoformat(due) - now).total_seconds() > FAR_OFF + 1
    wait_until("a long wait", left)
    return time.monotonic()


def a_source_address_wakes_the_retry_when_it_appears(lab):
    cloud, orchestrator = lab.cloud(), lab.orchestrator()
    orchestrator.commit(known(inside="<source-ip>10.9.0.22</source-ip>"), trust(cloud.ca), static_host(DOMAIN, CLOUD))
    orchestrator.sees(failure_reason="source-ip-missing")
    began = far_off(orchestrator)
    lab.device.address("up0", "10.9.0.22/24")
    orchestrator.sees_established()
    assert time.monotonic() - began < FAR_OFF


def a_vpn_instance_wakes_the_retry_when_it_appears(lab):
    hidden = lab.net.host("hidden")
    hidden.address("lo", f"{CLOUD}/32")
    cloud, orchestrator = lab.cloud(CLOUD, host=hidden), lab.orchestrator()
    orchestrator.commit(known(inside="<vpn-instance>red</vpn-instance>"), trust(cloud.ca), static_host(DOMAIN, CLOUD))
    orchestrator.sees(failure_reason="vpn-instance-missing")
    began = far_off(orchestrator)
    lab.join_instance("red", hidden)
    orchestrator.sees_established()
    assert time.monotonic() - began < FAR_OFF


def a_route_wakes_the_retry_when_it_appears(lab):
    lab.far.ip("address add 10.7.0.1/32 dev lo")
    cloud, orchestrator = lab.cloud("10.7.0.1"), lab.orchestrator()
    orchestrator.commit(known(), trust(cloud.ca), static_host(DOMAIN, "10.7.0.1"))
    orchestrator.sees(failure_reason="connect-failed")
    began = far_off(orchestrator)
    lab.device.ip(f"route add 10.7.0.0/24 via {CLOUD}")
    orchestrator.sees_established()
    assert time.monotonic() - began < FAR_OFF


SCENARIOS = [
    a_wire_that_is_cut_without_a_word_is_noticed_after_three_intervals_and_mended,
    a_link_that_is_down_for_three_intervals_comes_back_with_the_tunnel,
    a_link_that_flaps_costs_no_tunnel,
    with_every_twentieth_packet_lost_and_50_ms_each_way_the_device_is_managed_and_the_tunnel_stays,
    without_any_answer_of_a_resolver_the_lookup_ends_after_ten_seconds,
    a_source_address_wakes_the_retry_when_it_appears,
    a_vpn_instance_wakes_the_retry_when_it_appears,
    a_route_wakes_the_retry_when_it_appears,
]


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.__name__)
def test(running, scenario):
    running[scenario].result()
