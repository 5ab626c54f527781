"""`tether service`: a program of the machine is a service of the cloud."""

import subprocess

import pytest
from harness import program
from harness.cloud import Cloud
from harness.orchestrator import Orchestrator
from harness.wait import DEADLINE, wait_until


@pytest.fixture
def cloud(tmp_path):
    cloud = Cloud(tmp_path / "cloud", services=["telemetry", "inventory"])
    yield cloud
    cloud.kill()


class Service(program.Program):
    """The tool with a shell command."""

    def __init__(self, agent, name, command):
        super().__init__([program.TETHER, "service", name, "--control", agent.state / "control.sock", "--", "sh", "-c", command],
                         agent.directory / "service.log")


def test_a_command_talks_to_the_cloud_and_sigterm_ends_the_service(agent, cloud, connect):
    orchestrator = Orchestrator(connect())
    orchestrator.point_at(cloud)
    orchestrator.sees_established()
    service = Service(agent, "inventory", "echo $TETHER_SERVICE; exec cat")
    cloud.sees("subconnection inventory up")

    def said():
        return [octets for leaf, octets in orchestrator.state().items() if leaf.endswith("octets-out")]
    wait_until("the octets of its first word in the state", lambda: str(len("inventory\n")) in said())
    assert service.stop() == 0
    cloud.sees("subconnection inventory: closed by the device with 1000")
    assert "last-down/reason" not in orchestrator.sees_established()


def test_a_name_that_is_taken_and_an_agent_that_is_gone_are_one_line_and_exit_code_1(start):
    agent = start()
    taken = Service(agent, "netconf", "cat")
    assert taken.process.wait(DEADLINE) == 1
    service = Service(agent, "inventory", "cat")
    agent.stop()
    assert service.process.wait(DEADLINE) == 1
    complaints = service.log.read_text().splitlines()
    assert len(complaints) == 2 and "already" in complaints[0], complaints
    assert complaints[1].startswith("tether: ") and "agent" in complaints[1]


@pytest.mark.parametrize("arguments", [["inventory"], ["inventory", "--"], []])
def test_without_a_command_the_usage_is_shown(arguments):
    shown = subprocess.run([program.TETHER, "service", *arguments], capture_output=True, text=True, timeout=DEADLINE,
                           check=False)
    assert shown.returncode == 2 and "COMMAND" in shown.stderr
