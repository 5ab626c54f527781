"""Where the log goes: a file that is moved, JSON, syslog, and a journal that is not there."""

import json
import os
import socket
import subprocess
import time

import pytest
from harness import program
from harness.config import SYSTEM, config
from harness.wait import DEADLINE, wait_until
from ncclient.transport.errors import AuthenticationError

CONTACT = f'<system xmlns="{SYSTEM}"><contact>x</contact></system>'


def change(agent):
    with agent.connect_locally() as session:
        session.edit_config(target="running", config=config(CONTACT))


def test_a_log_file_is_opened_again_at_a_hangup_and_each_line_is_json(start, tmp_path):
    path, moved = tmp_path / "log", tmp_path / "log.1"
    agent = start("--log-to", path, "--log-format", "json")
    path.rename(moved)
    agent.process.send_signal(1)
    wait_until("the new file", path.exists)
    change(agent)
    agent.stop()
    said = [json.loads(line) for file in (moved, path) for line in file.read_text().splitlines()]
    assert all({"timestamp", "level", "target", "fields"} <= line.keys() for line in said), said
    records = [line["fields"] for line in map(json.loads, path.read_text().splitlines()) if line["target"] == "audit"]
    assert any(record.get("operation") == "edit-config" and record["user"] == "admin" and record["outcome"] == "ok"
               for record in records), records
    assert any("contact" in record.get("paths", "") for record in records), records


def test_a_sink_that_nobody_reads_holds_up_neither_the_agent_nor_its_end(start, tmp_path):
    pipe = tmp_path / "log"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    try:
        agent = start("--log-to", pipe)
        session = agent.local()
        session.hello()
        # Ten times what the pipe holds.
        for _ in range(7000):
            assert session.rpc("<discard-changes/>").is_ok
        session.close()
        begun = time.monotonic()
        assert agent.stop() == 0
        assert time.monotonic() - begun < 5
        told = os.read(reader, 1 << 16).decode()
    finally:
        os.close(reader)
    assert "operation=discard-changes" in told


def test_what_a_peer_says_is_one_line_of_the_log_whatever_is_in_it(start, tmp_path):
    path = tmp_path / "log"
    agent = start("--log-to", path)
    name = "x\n2026-01-01T00:00:00.000Z  INFO audit: rpc user=admin\x1b[2J"
    with pytest.raises(AuthenticationError):
        agent.connect(name, "wrong")
    agent.stop()
    lines = path.read_text().splitlines()
    refused, = [line for line in lines if "ssh login refused" in line]
    assert 'user="x\\n2026' in refused and "\x1b" not in refused
    assert all(line[:2] == "20" and " user=admin" not in line.split('"')[0] for line in lines if "x\\n" in line)


def test_a_collector_of_syslog_hears_of_each_change(start):
    with socket.socket(type=socket.SOCK_DGRAM) as collector:
        collector.bind(("127.0.0.1", 0))
        collector.settimeout(DEADLINE)
        agent = start("--log-to", f"syslog:127.0.0.1:{collector.getsockname()[1]}")
        change(agent)
        # RFC 5424: facility "log audit" and severity "informational" are 110.
        while not (line := collector.recv(4096).decode()).startswith("<110>1 "):
            assert line.startswith("<30>1 ") or line.startswith("<28>1 "), line
        assert " tether " in line and " audit [origin software=\"tether\"" in line, line


def test_a_journal_that_is_not_there_is_told_in_one_line(tmp_path):
    ran = subprocess.run(["unshare", "--mount", "sh", "-c", 'mount -t tmpfs none /run && exec "$@"', "sh", program.TETHER, "agent",
                          "--state-dir", tmp_path / "state", "--ssh", "127.0.0.1:0", "--log-to", "journald"],
                         capture_output=True, text=True, timeout=DEADLINE, check=False)
    assert ran.returncode == 1 and ran.stderr.count("\n") == 1 and "--log-to" in ran.stderr, ran.stderr


def test_a_place_that_is_none_is_wrong_usage(tmp_path):
    ran = subprocess.run([program.TETHER, "agent", "--state-dir", tmp_path / "state", "--log-to", "nowhere"],
                         capture_output=True, text=True, timeout=DEADLINE, check=False)
    assert ran.returncode == 2 and "journald" in ran.stderr, ran.stderr


def test_the_journal_gets_each_value_as_a_field_of_its_own(start, tmp_path):
    journal = tmp_path / "journal"
    journal.mkdir()
    within = 'mount -t tmpfs none /run && mkdir -p /run/systemd/journal && mount --bind "$0" /run/systemd/journal && exec "$@"'
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as reader:
        reader.bind(str(journal / "socket"))
        reader.settimeout(DEADLINE)
        agent = start("--log-to", "journald", wrapper=["unshare", "--mount", "sh", "-c", within, journal])
        change(agent)
        while b"OPERATION" not in (entry := reader.recv(65536)):
            pass
    assert all(part in entry for part in (b"PRIORITY\n", b"\nUSER\n", b"admin", b"edit-config", b"\nOUTCOME\n")), entry
