"""Networks that fail and come back. Most of it is waiting for clocks, so all of it happens at once, each in a lab of its own."""

import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from harness.cloud import DOMAIN
from harness.config import cloud as settings
from harness.config import known, resolvers, static_host, trust
from harness.lab import CLOUD, Lab

# Seconds: the shortest keepalive interval there is, and how long the tunnel lives without a sign of the cloud.
INTERVAL = 10
SILENCE = 3 * INTERVAL
# Seconds until a tunnel is back once it can be: one attempt that began too early and the wait after it.
BACK = 30


def established(lab, **behaviour):
    """A cloud, and an orchestrator whose device is connected to it and sends keepalives."""
    lab.wire.behave(**behaviour)
    cloud = lab.cloud()
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


def with_every_twentieth_packet_lost_and_50_ms_each_way_the_tunnel_is_made_and_stays(lab):
    cloud, orchestrator = established(lab, delay=0.05, loss=0.05)
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


SCENARIOS = [
    a_wire_that_is_cut_without_a_word_is_noticed_after_three_intervals_and_mended,
    a_link_that_is_down_for_three_intervals_comes_back_with_the_tunnel,
    a_link_that_flaps_costs_no_tunnel,
    with_every_twentieth_packet_lost_and_50_ms_each_way_the_tunnel_is_made_and_stays,
    without_any_answer_of_a_resolver_the_lookup_ends_after_ten_seconds,
]


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    def run(scenario, directory):
        lab = Lab(directory)
        try:
            scenario(lab)
        finally:
            lab.end()
    with ThreadPoolExecutor(len(SCENARIOS)) as pool:
        yield {scenario: pool.submit(run, scenario, tmp_path_factory.mktemp("cuts") / "lab") for scenario in SCENARIOS}


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.__name__)
def test(running, scenario):
    running[scenario].result()
