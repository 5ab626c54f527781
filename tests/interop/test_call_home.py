"""NETCONF call home (RFC 8071): a device behind a NAT that lets nothing in, and the clients of a manager that it calls."""

import json
import sys

import pytest
from harness.agent import PASSWORD, Agent
from harness.config import MANAGEMENT, SYSTEM, authorized_key
from harness.lab import needs
from harness.net import Net, missing
from harness.orchestrator import Orchestrator
from harness.program import Program
from harness.servers import find, libraries
from harness.session import over_ssh
from harness.wait import DEADLINE, wait_until

INSIDE, GATEWAY = "10.7.0.2", "10.7.0.1"
OUTSIDE, MANAGER = "192.0.2.1", "192.0.2.9"

RULES = """
table ip gateway {
  chain postrouting {
    type nat hook postrouting priority srcnat
    oifname "outside" masquerade
  }
  chain forward {
    type filter hook forward priority filter
    policy drop
    iifname "inside" accept
    ct state established,related accept
  }
}
"""

KNOCK = """
import socket, sys
try:
    socket.create_connection((sys.argv[1], 830), timeout=1)
except OSError as error:
    print(type(error).__name__)
"""

# What a manager does with ncclient; says who called, and what it found.
NCCLIENT = """
import json, sys
from ncclient import manager
address, port, password, system, management = sys.argv[1:]
with manager.call_home(host=address, port=int(port), username="admin", password=password, hostkey_verify=False, timeout=20) as session:
    with session.locked("candidate"):
        contact = f'<system xmlns="{system}"><contact>from outside</contact></system>'
        config = f'<config xmlns="urn:ietf:params:xml:ns:netconf:base:1.0">{contact}</config>'
        session.edit_config(target="candidate", config=config)
        session.commit()
    state = f'<device-management xmlns="{management}"><call-home><state/></call-home></device-management>'
    found = session.get(filter=("subtree", state)).data_ele
    leaves = {leaf.tag.rpartition("}")[2]: leaf.text for leaf in found.iter() if len(leaf) == 0}
    print(json.dumps(leaves | {"session": session.session_id}), flush=True)
    sys.stdin.read()
"""

# Takes one call and hands its connection to the OpenSSH client (ProxyUseFdpass in ssh_config(5)).
TAKE_CALL = """
import socket, sys
listener = socket.create_server((sys.argv[1], 4334))
stream, _ = listener.accept()
socket.send_fds(socket.socket(fileno=1), [b"."], [stream.fileno()])
"""


class Behind:
    """A device behind a gateway that translates addresses, and a manager outside."""

    def __init__(self, directory):
        self.net, self.programs, self.directory = Net(), [], directory
        self.device, self.gateway, self.manager = (self.net.host(name) for name in ("device", "gateway", "manager"))
        self.net.join(self.device, "up0", self.gateway, "inside")
        self.net.join(self.gateway, "outside", self.manager, "down0")
        self.device.up("up0", f"{INSIDE}/24")
        self.gateway.up("inside", f"{GATEWAY}/24")
        self.gateway.up("outside", f"{OUTSIDE}/24")
        self.manager.up("down0", f"{MANAGER}/24")
        self.device.ip(f"route add default via {GATEWAY}")
        # The manager even has a route to the device: it is the gateway that lets nobody in.
        self.manager.ip(f"route add 10.7.0.0/24 via {OUTSIDE}")
        rules = directory / "rules"
        rules.write_text(RULES)
        path = libraries()["LD_LIBRARY_PATH"]
        self.gateway.run("env", f"LD_LIBRARY_PATH={path}", find("nft"), "-f", str(rules))
        self.gateway.run("sh", "-c", "echo 1 >/proc/sys/net/ipv4/ip_forward")
        self.agent = self.keep(Agent(directory / "agent", "--ssh", "0.0.0.0:830", host=self.device))
        self.orchestrator = Orchestrator(self.agent.connect_locally(), self.agent)

    def calls(self, inside=""):
        endpoint = f"<endpoint><name>nms</name><address>{MANAGER}</address></endpoint>"
        inside = f"<max-attempts>1</max-attempts>{inside}"
        self.orchestrator.commit(
            f'<device-management xmlns="{MANAGEMENT}"><call-home>{endpoint}{inside}</call-home></device-management>')

    def ncclient(self, port):
        """Lets ncclient take a call; the program, and the state of call home as it then reads it."""
        program = self.keep(Program([sys.executable, "-c", NCCLIENT, MANAGER, str(port), PASSWORD, SYSTEM, MANAGEMENT],
                                    self.directory / "ncclient.log", host=self.manager))
        said = program.lines[program.line(lambda line: line.startswith("{"), seconds=2 * DEADLINE)]
        return program, json.loads(said)

    def keep(self, program):
        self.programs.append(program)
        return program

    def end(self):
        for program in self.programs:
            program.kill()
        self.net.end()


@pytest.fixture
def behind(tmp_path):
    if reason := missing():
        pytest.skip(reason)
    needs("nft")
    behind = Behind(tmp_path)
    yield behind
    behind.end()


def test_nobody_gets_in_but_ncclient_takes_the_call_of_a_device_behind_nat(behind):
    for address in (INSIDE, OUTSIDE):
        assert behind.manager.run(sys.executable, "-c", KNOCK, address).strip() in {"TimeoutError", "ConnectionRefusedError"}
    behind.calls(f"<endpoint><name>other</name><address>{MANAGER}</address><port>4335</port></endpoint>")
    manager, said = behind.ncclient(4334)
    assert said["connection-state"] == "connected" and said["user"] == "admin" and said["address"] == MANAGER, said
    assert "from outside" in behind.orchestrator.session.get_config("running").data_xml
    assert int(said["session"]) in behind.agent.sessions(behind.orchestrator.session)
    # It is gone without a word, and the other one is called.
    manager.kill()
    assert behind.ncclient(4335)[1]["endpoint"] == "other"


def test_the_openssh_client_takes_a_call_that_another_program_has_accepted(behind, make_key):
    key = make_key()
    behind.orchestrator.commit(authorized_key("admin", key))
    take = behind.directory / "take.py"
    take.write_text(TAKE_CALL)
    behind.calls("<periodic><period>1000</period><idle-timeout>0</idle-timeout></periodic>")
    session = over_ssh(4334, "admin", key, behind.directory / "ssh.log", behind.manager,
                       [f"ProxyCommand={sys.executable} {take} {MANAGER}", "ProxyUseFdpass=yes"])
    session.hello()
    assert "<data" in session.rpc("<get-config><source><running/></source></get-config>", 2 * DEADLINE).text
    session.close()

    def waits():
        filter_ = ("subtree", f'<device-management xmlns="{MANAGEMENT}"><call-home><state/></call-home></device-management>')
        return "waiting" in behind.orchestrator.session.get(filter=filter_).data_xml
    wait_until("a periodic call that waits for its next turn", waits)
