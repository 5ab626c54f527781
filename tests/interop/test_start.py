"""How the agent starts, is refused a start, and ends."""

import re
import signal
import subprocess

import pytest
from harness import program
from harness.agent import PASSWORD, Agent
from harness.wait import DEADLINE


def run(*arguments):
    """A start that is expected to fail."""
    return subprocess.run([program.TETHER, *arguments], capture_output=True, text=True, timeout=DEADLINE, check=False)


def is_one_line(text):
    return text.startswith("tether: ") and text.count("\n") == 1


def test_a_first_start_prints_a_password_once_and_it_logs_in(start):
    agent = start(password=None)
    printed = re.findall(r"the user admin was made, with the password (\S+)", agent.log.read_text())
    assert len(printed) == 1
    assert agent.connect("admin", printed[0]).connected
    assert agent.stop() == 0
    again = start(password=None)
    assert again.log.read_text().count(printed[0]) == 1
    assert again.connect("admin", printed[0]).connected


def test_a_given_password_is_not_printed(agent):
    assert PASSWORD not in agent.log.read_text()
    assert not any(PASSWORD in line for line in agent.lines)


def test_the_host_key_stays_the_same(start):
    def key(agent):
        with agent.connect() as session:
            return session._session.transport.get_remote_server_key()
    agent = start()
    before = key(agent)
    agent.stop()
    assert key(start()) == before


@pytest.mark.parametrize("arguments", [
    ["agent", "--nonsense"], ["agent", "--ssh", "nowhere"], ["nonsense"], [], ["agent", "--log-format", "nonsense"]])
def test_bad_arguments_are_exit_code_2(arguments):
    refused = run(*arguments)
    assert refused.returncode == 2
    assert refused.stderr and not refused.stdout


@pytest.mark.parametrize("arguments", [
    ["--factory-default", "/nonexistent"], ["--config", "/nonexistent"], ["--yang", "/nonexistent"],
    ["--ssh", "192.0.2.1:0"]])
def test_what_cannot_be_used_is_one_line_and_exit_code_1(tmp_path, arguments):
    refused = run("agent", "--state-dir", tmp_path / "state", *arguments)
    assert refused.returncode == 1
    assert is_one_line(refused.stderr), refused.stderr
    assert arguments[1].rpartition(":")[0] in refused.stderr


def test_a_port_in_use_is_one_line_and_exit_code_1(agent, tmp_path):
    refused = run("agent", "--state-dir", tmp_path / "other", "--ssh", f"127.0.0.1:{agent.port}")
    assert (refused.returncode, refused.stdout) == (1, "")
    assert is_one_line(refused.stderr) and f"127.0.0.1:{agent.port}" in refused.stderr


def test_a_second_agent_on_a_state_directory_is_refused_and_the_first_goes_on(agent):
    refused = run("agent", "--state-dir", agent.state, "--ssh", "127.0.0.1:0")
    assert (refused.returncode, refused.stdout) == (1, "")
    assert is_one_line(refused.stderr) and str(agent.process.pid) in refused.stderr
    assert agent.connect().connected


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_sessions_and_agent_in_order(agent, connect, number):
    session = connect()
    agent.process.send_signal(number)
    assert agent.process.wait(5) == 0
    session._session.join(DEADLINE)
    assert not session.connected


def test_every_address_has_its_port_in_the_ready_line(tmp_path):
    agent = Agent(tmp_path / "two", "--ssh", "[::1]:0")
    try:
        assert re.fullmatch(r"tether: ready ssh=127\.0\.0\.1:[1-9]\d* ssh=\[::1\]:[1-9]\d*", agent.lines[0])
    finally:
        agent.kill()


def test_the_command_line_shows_the_state_of_an_unconfigured_device(agent):
    shown = run("cli", "--socket", agent.state / "tether.sock", "-c", "display cloud-management state")
    assert (shown.returncode, shown.stderr) == (0, "")
    fields = dict(re.split(r" *: ", line, maxsplit=1) for line in shown.stdout.splitlines())
    assert list(fields) == [
        "Cloud connection state", "Device state", "Cloud server address", "Cloud server domain name",
        "Cloud server port", "Connected at", "Duration", "Process state", "Failure reason"]
    assert fields["Cloud connection state"] == "Unconnected"
    assert fields["Connected at"] == fields["Failure reason"] == "N/A"


def test_an_unknown_command_is_exit_code_1_and_no_agent_one_line(agent, tmp_path):
    unknown = run("cli", "--socket", agent.state / "tether.sock", "-c", "display nonsense")
    assert unknown.returncode == 1 and "Unrecognized command" in unknown.stdout
    nobody = run("cli", "--socket", tmp_path / "nobody.sock", "-c", "display cloud-management state")
    assert nobody.returncode == 1 and is_one_line(nobody.stderr)
