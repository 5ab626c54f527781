"""The OpenSSH client with NETCONF written by hand, well and badly. Another session goes on whatever happens."""

import os
import subprocess
from contextlib import suppress

import pytest
from harness.agent import MONITORING
from harness.config import authorized_key, cloud, config, limits, member
from harness.session import BASE_1_0, BASE_1_1, NETCONF, Ended, Reply
from harness.wait import DEADLINE, wait_until

GET = "<get-config><source><running/></source></get-config>"
MIB = 1 << 20


@pytest.fixture
def other(connect):
    """A session that must not notice anything."""
    session = connect()
    yield session
    assert session.get_config("running").data_ele is not None


@pytest.mark.parametrize("kind, bits", [("ed25519", None), ("ecdsa", 256), ("ecdsa", 384), ("rsa", 2048)])
def test_a_key_that_netconf_has_configured_logs_in(agent, connect, make_key, kind, bits):
    key = make_key(kind, bits)
    connect().edit_config(target="running", config=config(authorized_key("alice", key), member("admin", "alice")))
    session = agent.ssh(key, "alice")
    session.hello()
    assert session.rpc(GET).element.find(f"{{{NETCONF}}}data") is not None
    session.close()


def test_a_key_that_is_not_configured_does_not_log_in(agent, key, make_key):
    with pytest.raises(Ended):
        agent.ssh(make_key("ecdsa")).hello()


def test_a_password_typed_into_the_openssh_client_logs_in(agent, tmp_path):
    ask = tmp_path / "ask"
    ask.write_text('#!/bin/sh\necho "correct horse"\n')
    ask.chmod(0o700)
    hello = f'<hello xmlns="{NETCONF}"><capabilities><capability>{BASE_1_0}</capability></capabilities></hello>]]>]]>'
    close = f'<rpc xmlns="{NETCONF}" message-id="1"><close-session/></rpc>]]>]]>'
    said = subprocess.run(
        ["ssh", "-F", "none", "-p", str(agent.port), "-o", "StrictHostKeyChecking=no", "-o", "LogLevel=ERROR",
         "-o", "UserKnownHostsFile=/dev/null", "-s", "admin@127.0.0.1", "netconf"],
        input=hello + close, capture_output=True, text=True, timeout=DEADLINE, check=False,
        env=os.environ | {"SSH_ASKPASS": str(ask), "SSH_ASKPASS_REQUIRE": "force"})
    assert said.returncode == 0, said.stderr
    assert said.stdout.count("]]>]]>") == 2 and "<ok/>" in said.stdout


@pytest.mark.parametrize("bases", [(BASE_1_0,), (BASE_1_1,), (BASE_1_0, BASE_1_1)])
def test_both_framings_are_spoken(by_hand, bases):
    session = by_hand()
    session.hello(*bases)
    for _ in range(3):
        assert "<data" in session.rpc(GET).text
    assert session.rpc("<close-session/>").is_ok
    assert session.receive_end() == b""


def test_a_message_may_come_in_chunks_of_one_octet(by_hand):
    session = by_hand()
    session.hello()
    message = f'<rpc xmlns="{NETCONF}" message-id="x">{GET}</rpc>'.encode()
    session.write(b"".join(b"\n#1\n%c" % octet for octet in message) + b"\n##\n")
    assert Reply(session.receive()).id == "x"


def test_pipelined_requests_are_answered_in_order(by_hand):
    session = by_hand()
    session.hello()
    for _ in range(500):
        session.send(GET)
    assert [Reply(session.receive()).id for _ in range(500)] == [str(number) for number in range(1, 501)]


@pytest.mark.parametrize("message", [
    "this is not XML", "<rpc", f'<rpc xmlns="{NETCONF}" message-id="1"><get></rpc>', "",
    f'<!DOCTYPE a [<!ENTITY b "c">]><rpc xmlns="{NETCONF}" message-id="1"><get/></rpc>',
    f'<!DOCTYPE rpc SYSTEM "file:///etc/passwd"><rpc xmlns="{NETCONF}" message-id="1"><get/></rpc>',
    f'<rpc xmlns="{NETCONF}" message-id="1">{"<a>" * 100_000}{"</a>" * 100_000}</rpc>',
    f'<rpc xmlns="{NETCONF}" message-id="1">{"<a>" * 100_000}',
], ids=["text", "open", "crossed", "empty", "DTD", "external DTD", "deep", "deep and open"])
def test_a_message_that_is_no_xml_is_refused_and_the_session_goes_on(by_hand, other, message):
    session = by_hand()
    session.hello()
    session.send_message(message.encode() or b" ")
    error = Reply(session.receive()).errors[0]
    assert (error.kind, error.tag) == ("rpc", "malformed-message")
    assert "root:" not in error.message
    assert "<data" in session.rpc(GET).text


@pytest.mark.parametrize("frame", [
    b"\n#4294967296\n", b"\n#0\n", b"\n#01\n<", b"\n#x\n", b"#3\n", b"\n##\n", b"\n#3\n<a/>\n#", b"<rpc/>]]>]]>"],
    ids=["4294967296", "zero", "leading zero", "letter", "no line feed", "no chunk", "too short", "end of message"])
def test_broken_framing_ends_that_session_alone(by_hand, other, frame):
    session = by_hand()
    session.hello()
    session.write(frame)
    assert session.receive_end() == b""


def test_a_message_of_64_mib_is_too_big_and_ends_that_session_alone(by_hand, other):
    session = by_hand()
    session.hello()
    message = b'<rpc xmlns="%b" message-id="7"><get><filter>' % NETCONF.encode()
    size = 64 * MIB
    with suppress(Ended):
        session.write(b"\n#%d\n%b" % (size, message) + b"x" * (size - len(message)) + b"\n##\n")
    reply = Reply(session.receive())
    assert (reply.id, reply.errors[0].tag) == ("7", "too-big")
    assert session.receive_end() == b""


def test_the_reply_to_a_message_that_is_too_big_names_it(by_hand, other):
    other.edit_config(target="running", config=config(limits(message_size=4096)))
    session = by_hand()
    session.hello()
    session.send(f"<get><filter>{'x' * 5000}</filter></get>")
    reply = Reply(session.receive())
    assert (reply.id, reply.errors[0].tag) == ("1", "too-big")
    assert session.receive_end() == b""


def test_a_client_that_stops_in_the_middle_holds_nobody_up(agent, by_hand, other):
    session = by_hand()
    session.hello()
    assert session.rpc("<lock><target><candidate/></target></lock>").is_ok
    session.write(b"\n#100\n<rpc")
    assert other.get_config("running").data_ele is not None
    session.close()
    wait_until("the lock is free", lambda: lockable(other))
    other.unlock("candidate")


def test_a_client_that_says_no_hello_is_ended(by_hand, other):
    other.edit_config(target="running", config=config(limits(hello_timeout=1)))
    session = by_hand()
    assert b"<hello" in session.receive()
    assert session.receive_end() == b""


def test_a_client_that_never_reads_is_dropped_alone(agent, by_hand, other):
    other.edit_config(target="running", config=config(limits(write_timeout=1)))
    session = by_hand()
    session.hello()
    own = max(agent.sessions(other))
    request = f'<get-schema xmlns="{MONITORING}"><identifier>ietf-hardware</identifier></get-schema>'
    message = f'<rpc xmlns="{NETCONF}" message-id="1">{request}</rpc>'.encode()
    for _ in range(400):
        session.send_message(message, read=False)
    assert own in agent.sessions(other)
    wait_until("the session is gone", lambda: own not in agent.sessions(other))


def test_a_second_hello_and_a_wrong_base_end_the_session(by_hand, other):
    session = by_hand()
    session.hello()
    session.send_message(f'<hello xmlns="{NETCONF}"><capabilities/></hello>'.encode())
    assert session.receive_end() == b""
    session = by_hand()
    session.write(f'<hello xmlns="{NETCONF}"><capabilities><capability>urn:nonsense</capability></capabilities></hello>'
                  "]]>]]>".encode())
    session.receive()
    assert session.receive_end() == b""


def test_a_session_beyond_the_limit_is_refused_and_the_others_go_on(by_hand, other):
    other.edit_config(target="running", config=config(limits(sessions=2)))
    session = by_hand()
    session.hello()
    with suppress(Ended):
        by_hand().hello()
        raise AssertionError("a third session is let in")
    assert "<data" in session.rpc(GET).text


def test_sixteen_sessions_work_side_by_side(agent, key):
    sessions = [agent.ssh(key) for _ in range(16)]
    for session in sessions:
        session.hello()
    for session in sessions:
        session.send(f"<edit-config><target><running/></target><config>"
                     f"{cloud('<keepalive-interval>60</keepalive-interval>')}</config></edit-config>")
    assert all(Reply(session.receive()).is_ok for session in sessions)
    for session in sessions:
        session.close()


def lockable(session):
    try:
        return session.lock("candidate").ok
    except Exception:  # still held
        return False
