"""The command line through the OpenSSH client: one command, a script, and a shell on a terminal."""

import os
import re
import socket
import subprocess
from pathlib import Path

import pytest
from harness import program
from harness.config import authorized_key, config, member, server, trust
from harness.orchestrator import Orchestrator
from harness.screen import Screen
from harness.wait import DEADLINE, wait_until

OPTIONS = ["-F", "none", "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR",
           "-o", "BatchMode=yes"]
MORE = "---- More ----"
CTRL_C, UP = "\x03", "\x1b[A"
TRANSCRIPTS = Path(__file__).parents[1] / "transcripts"


@pytest.fixture
def ssh(agent, key):
    """The arguments of ssh(1) for a user and his key."""
    def ssh(*more, user="admin", own=key):
        return ["ssh", *OPTIONS, "-i", str(own), "-p", str(agent.port), *more[:-1], f"{user}@127.0.0.1", *more[-1:]]
    return ssh


@pytest.fixture
def shell(ssh):
    """Opens shells on terminals; all end with the test."""
    screens = []

    def shell(*command, rows=24):
        screens.append(Screen(ssh("-tt", *command) if command else ssh("-tt", "x")[:-1], rows))
        if not command:
            screens[-1].wait_for("<Device> ")
        return screens[-1]
    yield shell
    for screen in screens:
        screen.kill()


@pytest.fixture
def silent():
    """A port that takes connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


def run(arguments, given=""):
    return subprocess.run(arguments, input=given, capture_output=True, text=True, timeout=DEADLINE, check=False)


def test_one_command_has_its_output_and_its_exit_status(ssh):
    done = run(ssh("display cloud-management state"))
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[0] == "Cloud connection state   : Unconnected"
    wrong = run(ssh("display nothing"))
    assert wrong.returncode == 1
    assert wrong.stdout.splitlines()[1:] == ["        ^", "% Unrecognized command found at '^' position."]


def test_lines_of_standard_input_are_a_script(ssh):
    arguments = ssh("-T", "x")[:-1]
    done = run(arguments, "system-view\ncloud-management keepalive 60\ndisplay current-configuration | include keep\n")
    assert (done.returncode, done.stdout) == (0, " cloud-management keepalive 60\n"), done.stderr


def test_a_line_that_is_no_text_is_not_guessed_at(ssh):
    arguments = ssh("-T", "x")[:-1]
    script = b"system-view\nsysname caf\xe9\ndisplay current-configuration | include sysname\n"
    done = subprocess.run(arguments, input=script, capture_output=True, timeout=DEADLINE, check=False)
    stopped = b"% Line 2 is no UTF-8.\n% Stopped: 1 more command was not done.\n"
    assert (done.returncode, done.stdout) == (1, stopped), done.stderr
    done = subprocess.run(ssh(b"display\xff"), capture_output=True, timeout=DEADLINE, check=False)
    assert (done.returncode, done.stdout) == (1, b"% Line 1 is no UTF-8.\n"), done.stderr


def test_an_operator_may_not_edit(ssh, connect, make_key):
    own = make_key("ecdsa", 256)
    connect().edit_config(target="running", config=config(authorized_key("bob", own), member("operator", "bob")))
    done = run(ssh("system-view\nsysname mine", user="bob", own=own))
    assert done.returncode == 1
    assert 'user "bob" may not' in done.stdout


def test_a_test_of_the_connection_has_the_exit_status_of_what_it_found(ssh, agent, cloud):
    with agent.connect() as session:
        orchestrator = Orchestrator(session, agent)
        orchestrator.point_at(cloud)
        passed = run(ssh("cloud-management test"))
        assert passed.returncode == 0, passed.stdout
        assert passed.stdout.splitlines()[-1] == "The test passed."
        orchestrator.commit(server("<password>$0$wrong</password>"))
        failed = run(ssh("cloud-management test"))
    assert failed.returncode == 1
    assert "Authentication : FAILED" in failed.stdout, failed.stdout


def test_a_shell_helps_and_completes_with_what_the_device_knows(shell):
    screen = shell()
    screen.type("system-view\r")
    screen.wait_for("[Device] ")
    screen.type("cloud-management ?")
    assert "keepalive" in screen.wait_for("unbinding-code")
    screen.wait_for("[Device] ")
    # What is typed before the next prompt goes with the line.
    screen.type(CTRL_C)
    screen.wait_for("[Device] ")
    screen.type("ip host Core.example.com 10.1.1.1\r")
    screen.wait_for("[Device] ")
    screen.type("undo ip host Co\t")
    screen.wait_for("undo ip host Core.example.com ")
    screen.type("\r")
    screen.wait_for("[Device] ")
    screen.type("dis cu | inc host\r")
    assert "Core" not in screen.wait_for("[Device] ")
    screen.type("\x1a")
    screen.wait_for("<Device> ")
    screen.type("dis clo st\r")
    screen.wait_for("Cloud connection state   : Unconnected")
    screen.wait_for("<Device> ")
    screen.type("quit\r")
    assert screen.end() == 0


def test_lines_are_called_back_and_secrets_are_not(shell):
    screen = shell()
    screen.type("system-view\r")
    screen.wait_for("[Device] ")
    screen.type("display netconf sessions\r")
    screen.wait_for("Login time")
    screen.wait_for("[Device] ")
    for secret in ["password simple My#Pa55", "pasword simple My#Pa55"]:
        screen.type(f"cloud-management server {secret}\r")
        screen.wait_for("My#Pa55")
        screen.wait_for("[Device] ")
    screen.type(UP)
    called_back = screen.wait_for("display netconf sessions")
    assert "Pa55" not in called_back
    screen.type("\r")
    screen.wait_for("Login time")
    screen.wait_for("[Device] ")


def test_lines_that_are_pasted_are_so_many_commands(shell):
    screen = shell()
    screen.type("system-view\rip host a.example 10.0.0.1\r ip host b.example 10.0.0.2\r#\rdis cu | inc ^.ip.host\r")
    screen.wait_for("inc ^.ip.host")
    screen.wait_for(" ip host a.example 10.0.0.1\n ip host b.example 10.0.0.2\n")


def test_lines_that_are_pasted_around_a_long_output_are_all_done(shell):
    screen = shell(rows=10)
    screen.type("display current-configuration\rsystem-view\rsysname PASTED\rdisplay current-configuration\rip host last.example 10.0.0.9\r")
    shown = screen.wait_for("[PASTED] ip host last.example 10.0.0.9\n")
    assert MORE not in shown
    screen.wait_for("[PASTED] ")
    screen.type("display current-configuration | include ^.ip.host\r")
    screen.wait_for(" ip host last.example 10.0.0.9\n")


def test_a_script_on_a_terminal_is_done_to_its_end(ssh):
    done = run(ssh("-tt", "x")[:-1], "system-view\nsysname LAST\ndisplay current-configuration\nquit\nquit\n")
    assert done.returncode == 0, done.stdout
    assert " sysname LAST" in done.stdout and MORE not in done.stdout
    done = run(ssh("-tt", "x")[:-1], "display netconf sessions")
    assert done.returncode == 0 and "Login time" in done.stdout, done.stdout


def test_a_client_reads_why_its_command_is_not_done(ssh, agent, connect):
    limits = ('<config><device-management xmlns="urn:tether:yang:device-management"><limits><sessions-per-user>1'
              "</sessions-per-user></limits></device-management></config>")
    connect().edit_config(target="running", config=limits)
    done = run(ssh("display netconf sessions"))
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("% the device lets in no further session: there are too many"), done.stderr


def test_times_are_those_of_the_device_in_a_shell_too(start, make_key):
    agent = start(wrapper=("env", "TZ=XYZ-9"))
    own = make_key()
    with agent.connect() as session:
        session.edit_config(target="running", config=config(authorized_key("admin", own)))
    target = ["ssh", *OPTIONS, "-i", str(own), "-p", str(agent.port), "admin@127.0.0.1"]
    command = "display configuration commit 1"
    at = re.search("Time +: .*", run([*target, command]).stdout)[0]
    screen = Screen([target[0], "-tt", *target[1:]])
    try:
        screen.wait_for("<Device> ")
        screen.type(f"{command}\r")
        screen.wait_for(at)
    finally:
        screen.kill()


def test_a_shell_has_nothing_that_only_the_agent_needs(shell, agent):
    shell()
    process = Path("/proc", shells(agent)[0])
    status = dict(re.findall(r"^(\w+):\t(.*)$", (process / "status").read_text(), re.M))
    assert {int(status[name], 16) for name in ["CapInh", "CapPrm", "CapEff", "CapAmb"]} == {0}
    assert status["NoNewPrivs"] == "1"
    assert os.readlink(process / "cwd") == "/"


def test_a_program_whose_reader_is_gone_ends_without_a_word(agent):
    nobody, output = os.pipe()
    os.close(nobody)
    command = [program.TETHER, "cli", "--socket", agent.state / "tether.sock", "-c", "display current-configuration"]
    done = subprocess.run(command, stdout=output, stderr=subprocess.PIPE, text=True, timeout=DEADLINE, check=False)
    os.close(output)
    # As a shell tells of a program that SIGPIPE has ended.
    assert (done.returncode, done.stderr) == (141, "")


def test_what_is_no_text_drops_the_line_and_not_the_session(shell):
    screen = shell()
    screen.type(b"sysname \xff\xfe\r")
    screen.wait_for("% That is no UTF-8: the line is dropped, and all that was typed behind it.")
    screen.wait_for("<Device> ")
    screen.type(CTRL_C)
    screen.wait_for("<Device> ")
    screen.type("display netconf sessions\r")
    screen.wait_for("Login time")


def page(screen):
    """The lines of a page."""
    return screen.wait_for(MORE).splitlines()


def test_a_long_output_stops_at_pages(shell):
    screen = shell()
    screen.type("display current-configuration\r")
    first = page(screen)
    # The rest of the line that was typed, then all rows but one.
    assert len(first) == 24, first
    screen.type("\r")
    assert len(page(screen)) == 1
    screen.type(" ")
    assert len(page(screen)) == 23
    screen.type("q")
    screen.wait_for("<Device> ")
    screen.resize(12)
    # ssh(1) hears of the new size beside what is typed.
    for key in [CTRL_C] * DEADLINE:
        screen.type("display current-configuration\r")
        size = len(page(screen))
        screen.type(key)
        screen.wait_for("<Device> ")
        if size == 12:
            break
    assert size == 12


def test_ctrl_c_at_the_prompt_drops_the_line(shell):
    screen = shell()
    screen.type("system-view\r")
    screen.wait_for("[Device] ")
    screen.type("sysname Oops")
    screen.wait_for("sysname Oops")
    screen.type(CTRL_C)
    screen.wait_for("[Device] ")
    screen.type("\rdisplay this is wrong\r")
    assert "Oops" not in screen.wait_for("% Unrecognized")


@pytest.mark.parametrize("where", ["over ssh", "on a local terminal"])
def test_ctrl_c_breaks_a_running_command_off_and_the_session_goes_on(shell, agent, silent, where):
    with agent.connect() as session:
        Orchestrator(session, agent).commit(server(f"<domain>127.0.0.1</domain><port>{silent}</port>"))
    local = [program.TETHER, "cli", "--socket", agent.state / "tether.sock"]
    screen = shell() if where == "over ssh" else Screen(local)
    try:
        screen.type("cloud-management test\r")
        screen.wait_for("TCP            : passed")
        screen.type(CTRL_C)
        screen.wait_for("% Broken off. The test goes on by itself")
        screen.wait_for("<Device> ")
        screen.type("display cloud-management state verbose | begin Connection test\r")
        screen.wait_for("Started at")
        screen.wait_for("<Device> ")
        screen.type("cloud-management test\r")
        screen.wait_for("% a test is under way")
        screen.wait_for("<Device> ")
        screen.type("quit\r")
        assert screen.end() == 0
    finally:
        screen.kill()


def test_ctrl_c_ends_one_command_on_a_terminal(shell, agent, silent):
    with agent.connect() as session:
        Orchestrator(session, agent).commit(server(f"<domain>127.0.0.1</domain><port>{silent}</port>"))
    screen = shell("cloud-management test")
    screen.wait_for("TCP            : passed")
    screen.type(CTRL_C)
    assert screen.end() == 130


def test_one_command_ends_with_its_client(ssh, agent, silent):
    with agent.connect() as session:
        Orchestrator(session, agent).commit(server(f"<domain>127.0.0.1</domain><port>{silent}</port>"))
        client = subprocess.Popen(ssh("cloud-management test"), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
        with client:
            assert client.stdout.readline() == f"Testing 127.0.0.1, port {silent}\n"
            assert len(agent.sessions(session)) == 2
            client.kill()
        wait_until("its session is gone", lambda: len(agent.sessions(session)) == 1)


def shells(agent):
    """The processes of shells that the agent has started."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            parent = re.search(r"^PPid:\t(\d+)", (process / "status").read_text(), re.M)[1]
            if int(parent) == agent.process.pid and b"--session-on-stdin" in (process / "cmdline").read_bytes():
                found.append(process.name)
        except (OSError, TypeError):
            continue
    return found


def test_a_shell_whose_client_is_killed_leaves_no_process_and_no_session_and_no_lock(shell, agent):
    screen = shell()
    screen.type("configure exclusive\r")
    screen.wait_for("[*Device] ")
    screen.type("cloud-management keepalive 60\r")
    screen.wait_for("[*Device] ")
    assert len(shells(agent)) == 1
    screen.kill()
    wait_until("the shell is gone", lambda: not shells(agent))
    with agent.connect() as session:
        wait_until("its session is gone", lambda: len(agent.sessions(session)) == 1)
        with session.locked("candidate"):
            assert "keepalive-interval" not in session.get_config("candidate").data_xml


def test_a_session_that_is_freed_ends_its_shell(shell, agent):
    freed, other = shell(), shell()
    other.type("display netconf sessions\r")
    listed = other.wait_for("<Device> ")
    number = re.findall(r"^(\d+) +admin +127.0.0.1", listed, re.M)[0]
    other.type(f"free netconf session {number}\r")
    other.wait_for("<Device> ")
    assert freed.end() != 0
    assert "tether: the device has ended the session: another user has freed it" in freed.text
    wait_until("one shell is left", lambda: len(shells(agent)) == 1)


def test_the_example_of_the_manual_letter_for_letter(lab):
    lab.device.address("lo", "10.1.1.1/24")
    cloud = lab.cloud("10.1.1.1", host=lab.device, names=["cloud.com"])
    orchestrator = lab.orchestrator()
    # What the manual has done before its example: the password, and whom to trust.
    orchestrator.commit(server("<password>$0$cloud-Pa55</password>"), trust(cloud.ca))
    command = [program.TETHER, "cli", "--socket", orchestrator.agent.state / "tether.sock"]
    screen = Screen(lab.device.within(command), kind="dumb")
    try:
        screen.wait_for("<Device> ")
        for line in ["system-view", "cloud-management server domain cloud.com", "ip host cloud.com 10.1.1.1"]:
            screen.type(f"{line}\r")
            screen.wait_for("[Device] ")
        orchestrator.sees_established()
        screen.type("display cloud-management state\r")
        screen.wait_for("Failure reason           : N/A\n")
        seen = screen.text[:screen.text.rindex("\n") + 1]
    finally:
        screen.kill()
    seen = re.sub(r"\w{3} \w{3} [ \d]\d \d\d:\d\d:\d\d \d{4}", "Wed Jan 27 14:18:40 2019", seen)
    seen = re.sub(r"\d\dd \d\dh \d\dm \d\ds", "00d 00h 02m 01s", seen)
    assert seen == (TRANSCRIPTS / "manual-example.txt").read_text()
