"""A reply of 100 MB: what it costs the agent, and whom it keeps waiting."""

import os
import threading
import time
import time
from pathlib import Path

import pytest
from harness.program import ROOT

EXAMPLE = "urn:example:all"
MODULE = ROOT / "tests" / "yang"
ENTRIES = 50_000
NOTE = "n" * 2_000
# Entries of one edit: below the 16 MiB that a message may have.
PER_EDIT = 7_500
# Seconds in which all of it is read, on a loaded machine.
PATIENCE = 120


def memory(agent, name):
    """A line of /proc/PID/status, in MiB."""
    for line in Path(f"/proc/{agent.process.pid}/status").read_text().splitlines():
        if line.startswith(name + ":"):
            return int(line.split()[1]) / 1024
    raise AssertionError(name)


def from_here_on(agent):
    """Has the highest memory counted anew."""
    Path(f"/proc/{agent.process.pid}/clear_refs").write_text("5")
    return memory(agent, "VmRSS")


def edit(session, entries):
    reply = session.rpc(f'<edit-config><target><candidate/></target><config><all xmlns="{EXAMPLE}">{entries}</all>'
                        "</config></edit-config>", PATIENCE)
    assert reply.is_ok, reply.text


@pytest.fixture
def large(start):
    """An agent whose running configuration is 100 MB of XML."""
    agent = start("--yang", MODULE / "example-all.yang", "--yang", MODULE / "example-all-sub.yang")
    session = agent.local()
    session.hello()
    for first in range(0, ENTRIES, PER_EDIT):
        numbers = range(first, min(first + PER_EDIT, ENTRIES))
        edit(session, "".join(f"<entry><name>e{n:06}</name><note>{NOTE}</note></entry>" for n in numbers))
    assert session.rpc("<commit/>", PATIENCE).is_ok
    # The next one waits until the store has tidied up after the large one.
    edit(session, "<entry><name>last</name></entry>")
    assert session.rpc("<commit/>", PATIENCE).is_ok
    session.close()
    return agent


class Reading(threading.Thread):
    """Reads a whole reply and keeps nothing of it."""

    def __init__(self, session, operation):
        super().__init__(daemon=True)
        self.session = session
        self.octets = 0
        session.send(operation)
        self.start()

    def run(self):
        reader, tail = self.session._reader, b""
        os.set_blocking(reader, True)
        while not tail.endswith(b"</rpc-reply>\n##\n"):
            octets = os.read(reader, 1 << 20)
            if not octets:
                return
            self.octets += len(octets)
            tail = (tail + octets[-64:])[-64:]


# Everything; a subtree; the same by a filter that goes through all entries.
FILTERS = {
    "all": "",
    "a subtree": f'<filter><all xmlns="{EXAMPLE}"/></filter>',
    "each entry": f'<filter><all xmlns="{EXAMPLE}"><entry><note/></entry></all></filter>',
}


def test_a_reply_of_100_mb_takes_little_memory_and_keeps_nobody_waiting(large):
    small = f'<get><filter><all xmlns="{EXAMPLE}"><entry><name>e000007</name></entry></all></filter></get>'
    other = large.local()
    other.hello()
    assert other.rpc(small).text.count("<entry>") == 1
    for name, chosen in FILTERS.items():
        session = large.local()
        session.hello()
        before = from_here_on(large)
        reading = Reading(session, f"<get>{chosen}</get>")
        delays = []
        while reading.is_alive():
            asked = time.monotonic()
            other.rpc(small)
            delays.append(time.monotonic() - asked)
        reading.join(PATIENCE)
        grown = memory(large, "VmHWM") - before
        print(f"{name}: {reading.octets} octets, {grown:.1f} MiB more, slowest of {len(delays)} small gets "
              f"{max(delays) * 1000:.1f} ms")
        assert reading.octets > 100_000_000, name
        assert grown < 32, f"{name}: {grown:.1f} MiB more"
        assert len(delays) > 10 and sorted(delays)[len(delays) * 99 // 100] < 0.05, f"{name}: {max(delays)}"
        session.close()
    other.close()


def test_a_client_that_reads_nothing_of_it_is_dropped_alone(large):
    limits = 'xmlns="urn:tether:yang:device-management"'
    other = large.local()
    other.hello()
    shorter = (f"<edit-config><target><running/></target><config><device-management {limits}><limits>"
               "<write-timeout>1</write-timeout></limits></device-management></config></edit-config>")
    assert other.rpc(shorter, PATIENCE).is_ok
    session = large.local()
    session.hello()
    before = from_here_on(large)
    session.send("<get/>")
    deadline = time.monotonic() + PATIENCE
    sessions = '<get><filter><netconf-state xmlns="urn:ietf:params:xml:ns:yang:ietf-netconf-monitoring"><sessions/>' \
               "</netconf-state></filter></get>"
    while other.rpc(sessions).text.count("<session>") > 1:
        assert time.monotonic() < deadline, "the session that does not read is still there"
    assert memory(large, "VmHWM") - before < 32
    session.close()
    other.close()
