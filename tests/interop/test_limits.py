"""The limits that protect the agent: each holds at its configured number, and what is beyond happens as documented."""

import contextlib
import select
import socket
import time

import paramiko
import pytest
from harness.agent import MONITORING, PASSWORD
from harness.config import config, limits, member, user
from harness.session import NETCONF, Ended, Reply
from harness.wait import DEADLINE

GET = "<get-config><source><running/></source></get-config>"
SCHEMA = f'<get-schema xmlns="{MONITORING}"><identifier>ietf-hardware</identifier></get-schema>'
KIB = 1 << 10


@pytest.fixture
def limit(agent):
    """Sets limits through a session that is over when this returns."""
    def limit(**values):
        with agent.connect() as session:
            session.edit_config(target="running", config=config(limits(**values)))
    return limit


@pytest.fixture
def local(agent):
    """Opens sessions on the local socket, after the hellos; all end with the test."""
    sessions = []

    def local():
        sessions.append(agent.local())
        sessions[-1].hello()
        return sessions[-1]
    yield local
    for session in sessions:
        session.close()


@pytest.fixture
def connection(agent):
    """An SSH connection of `admin`."""
    transport = paramiko.Transport(("127.0.0.1", agent.port))
    transport.connect(username="admin", password=PASSWORD)
    yield transport
    transport.close()


def nested(levels):
    """An rpc whose elements are so deep."""
    inside = levels - 2
    return f'<rpc xmlns="{NETCONF}" message-id="1"><get>{"<a>" * inside}{"</a>" * inside}</get></rpc>'.encode()


@pytest.mark.parametrize("depth", [256, 16])
def test_a_message_is_so_deep_and_no_deeper(limit, local, depth):
    if depth != 256:
        limit(message_depth=depth)
    session = local()
    session.send_message(nested(depth + 1))
    assert Reply(session.receive()).errors[0].tag == "malformed-message"
    session.send_message(nested(depth))
    assert Reply(session.receive()).errors[0].tag != "malformed-message"
    assert "<data" in session.rpc(GET).text


def test_a_message_is_so_long_and_no_longer(limit, local):
    limit(message_size=4096)
    frame = f'<rpc xmlns="{NETCONF}" message-id="1">{GET}<!--%s--></rpc>'
    exact = frame % ("x" * (4096 - len(frame) + 2))
    session = local()
    session.send_message(exact.encode())
    assert "<data" in Reply(session.receive()).text
    session.send_message((exact + " ").encode())
    assert Reply(session.receive()).errors[0].tag == "too-big"
    assert session.receive_end() == b""


def test_a_login_takes_so_long_and_no_longer(agent, limit):
    limit(login_timeout=1)
    began = time.monotonic()
    with socket.create_connection(("127.0.0.1", agent.port)) as silent, \
            socket.create_connection(("127.0.0.1", agent.port)) as half:
        half.sendall(b"SSH-2.0-halfway\r\n")
        for stream in (silent, half):
            stream.settimeout(DEADLINE)
            with contextlib.suppress(ConnectionResetError):
                while stream.recv(4096):
                    pass
    assert time.monotonic() - began >= 0.9
    assert agent.connect().connected


def test_a_connection_has_so_many_attempts_at_a_password(agent, limit):
    limit(login_attempts=1)
    transport = paramiko.Transport(("127.0.0.1", agent.port))
    try:
        transport.start_client(timeout=DEADLINE)
        with pytest.raises(paramiko.AuthenticationException):
            transport.auth_password("admin", "wrong")
        with pytest.raises((paramiko.SSHException, EOFError)):
            transport.auth_password("admin", PASSWORD)
    finally:
        transport.close()


def test_an_idle_session_ends_and_a_busy_one_does_not(limit, local):
    limit(idle_timeout=1)
    idle, busy = local(), local()
    until = time.monotonic() + 1.5
    while time.monotonic() < until:
        assert "<data" in busy.rpc(GET).text
        select.select([], [], [], 0.2)
    assert idle.receive_end() == b""
    assert "<data" in busy.rpc(GET).text


@pytest.mark.parametrize("few", [{"pipelined_octets": 64 * KIB}, {"pipelined_requests": 2}], ids=["octets", "requests"])
def test_requests_that_wait_are_bounded_and_none_is_lost(limit, local, few):
    limit(**few)
    session = local()
    # Replies of 50 KiB that nobody takes hold the session up, so whatever else arrives has to wait.
    padding = f"<!--{'x' * 32 * KIB}-->"
    sent = 0
    with contextlib.suppress(AssertionError):
        while sent < 400:
            session.send_message(f'<rpc xmlns="{NETCONF}" message-id="{sent}">{SCHEMA}{padding}</rpc>'.encode(),
                                 read=False, seconds=1)
            sent += 1
    # Both sockets' buffers, what is being answered, and the queue.
    assert 2 <= sent <= 40, sent
    for number in range(sent):
        assert Reply(session.receive()).id == str(number)


def test_so_many_sessions_are_open_and_no_more(limit, local, agent):
    limit(sessions=2)
    one, two = local(), local()
    with pytest.raises(Ended):
        local()
    assert one.rpc("<close-session/>").is_ok and one.receive_end() == b""
    local()
    assert "<data" in two.rpc(GET).text


def test_one_user_has_so_many_sessions_and_others_have_theirs(agent, local):
    with agent.connect() as session:
        session.edit_config(target="running", config=config(
            limits(sessions_per_user=2), user("olga", "<password>$0$olga</password>"), member("admin", "olga")))
    local(), local()
    with pytest.raises(Ended):
        local()
    with agent.connect("olga", "olga") as other:
        assert other.get_config("running").data_ele is not None


def test_a_connection_has_so_many_channels(limit, connection):
    channels = [connection.open_session(timeout=DEADLINE) for _ in range(32)]
    with pytest.raises(paramiko.ChannelException) as caught:
        connection.open_session(timeout=DEADLINE)
    assert caught.value.code == 4, "SSH_OPEN_RESOURCE_SHORTAGE"
    channels[0].close()
    connection.open_session(timeout=DEADLINE)
    limit(channels=1)
    with pytest.raises(paramiko.ChannelException):
        connection.open_session(timeout=DEADLINE)
