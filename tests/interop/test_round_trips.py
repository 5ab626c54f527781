"""How many round trips it takes until the tunnel stands (cloud-protocol.md, "Transport"): with 50 ms each way, TCP included."""

import datetime
import sys
from functools import partial

from harness.agent import Agent
from harness.cloud import DOMAIN
from harness.config import cloud as settings
from harness.config import config, known, static_host, trust
from harness.lab import CLOUD

ONE_WAY = 0.05
ROUND_TRIP = 2 * ONE_WAY
# Of a machine that is busy with other things the best of so many counts.
TRIES = 3
DAY = datetime.timedelta(days=1)
COLD, NONCE_KNOWN, SUBCONNECTIONS = "cold", "with a known nonce", "all subconnections, after that"
# TCP, TLS 1.3, one or two for the authentication, registration, upgrade; for subconnections the list, TCP, TLS, upgrade.
EXPECTED = {COLD: 6, NONCE_KNOWN: 5, SUBCONNECTIONS: 4}
MOST = {what: expected + 0.5 for what, expected in EXPECTED.items()}
SERVICES = ["netconf", "telemetry"]
RESET = f'<action xmlns="urn:ietf:params:xml:ns:yang:1">{settings("<reset-tunnel/>")}</action>'


def said_at(line):
    """The time that begins a line of the cloud."""
    return datetime.datetime.combine(datetime.date.today(), datetime.time.fromisoformat(line.split()[0]))


class Clock:
    """Takes the time from a word to the device until the cloud has said its last."""

    def __init__(self, cloud):
        self._cloud, self._seen = cloud, len(cloud.lines)

    def measure(self, act):
        """Round trips until Established, and from there until all subconnections stand."""
        begun = datetime.datetime.now()
        act()
        first = self._cloud.line(lambda line: "main connection up" in line, after=self._seen)
        ups = [self._cloud.line(lambda line, service=service: f"subconnection {service} up" in line, after=first)
               for service in SERVICES]
        self._seen = max(ups) + 1
        main = said_at(self._cloud.lines[first])
        last = max(said_at(self._cloud.lines[up]) for up in ups)
        # The 101 that the cloud has sent is on its way to the device; at both ends of the second span alike.
        return ((main - begun) % DAY).total_seconds() / ROUND_TRIP + 0.5, (last - main).total_seconds() / ROUND_TRIP


def test_a_tunnel_takes_as_many_round_trips_as_its_steps_need(lab, capsys):
    cloud = lab.cloud(services=SERVICES)
    # Each knows the other's hardware address by then: on a wire of 50 ms that would be a round trip of its own.
    lab.device.run(sys.executable, "-c", f"import socket; socket.create_connection(({CLOUD!r}, 443)).close()")
    lab.wire.behave(delay=ONE_WAY)
    taken = {what: [] for what in EXPECTED}
    for _ in range(TRIES):
        agent = lab.keep(Agent(lab.folder("agent"), host=lab.device))
        session = agent.local()
        session.hello()
        for part in trust(cloud.ca), static_host(DOMAIN, CLOUD), known():
            ask(session, f"<edit-config><target><candidate/></target>{config(part)}</edit-config>")
        clock = Clock(cloud)
        for what, operation in (COLD, "<commit/>"), (NONCE_KNOWN, RESET):
            established, others = clock.measure(partial(ask, session, operation))
            taken[what].append(established)
            taken[SUBCONNECTIONS].append(others)
        agent.kill()
    with capsys.disabled():
        print(f"\n{'round trips of 100 ms':32} expected  at most     best")
        for what, expected in EXPECTED.items():
            print(f"{what:32} {expected:8}  {MOST[what]:7}  {min(taken[what]):7.2f}")
    for what, times in taken.items():
        assert EXPECTED[what] - 0.5 < min(times) <= MOST[what], f"{what}: {times}"


def ask(session, operation):
    """Without a client beside us whose own pauses would be counted too."""
    reply = session.rpc(operation)
    assert not reply.errors, reply.text
