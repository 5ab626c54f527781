"""The tunnel on a network: a device and its cloud on hosts of their own, with real resolvers between them."""

import pytest
from harness.cloud import DOMAIN, PASSWORD, Cloud
from harness.config import resolver, server, trust
from harness.orchestrator import Orchestrator
from harness.servers import Dns, find

# The ends of the link between device and cloud.
DEVICE, CLOUD = "10.9.0.2", "10.9.0.1"
DEVICE6, CLOUD6 = "fd09::2", "fd09::1"


class Lab:
    """A device and a cloud on a link."""

    def __init__(self, net, start, directory):
        self._start, self._directory = start, directory
        self.device, self.far = net.host("device"), net.host("cloud")
        self.wire = net.wire(self.device, "up0", self.far, "down0")
        self.device.up("up0", f"{DEVICE}/24", f"{DEVICE6}/64")
        self.far.up("down0", f"{CLOUD}/24", f"{CLOUD6}/64")
        self.programs = []

    def cloud(self, *listen, host=None, **rules):
        """A cloud, on port 443 of these addresses."""
        directory = self._directory / f"cloud-{len(self.programs)}"
        listen = [f"{address}:443" for address in listen or (CLOUD, f"[{CLOUD6}]")]
        return self._keep(Cloud(directory, host or self.far, listen, **rules))

    def dns(self, records, *options):
        """A resolver beside the cloud."""
        if not find("dnsmasq"):
            pytest.skip("no dnsmasq: see .ci/counterparts")
        return self._keep(Dns(self._directory / "dns", self.far, records, *options))

    def _keep(self, program):
        self.programs.append(program)
        return program

    def orchestrator(self):
        """A session with an agent on the device."""
        agent = self._start(host=self.device)
        return Orchestrator(agent.connect_locally())

    def peers(self, host=None, port=443):
        """The addresses of those who are connected to the cloud."""
        rows = (host or self.far).run("ss", "-Htn", "state", "established", f"sport = :{port}").splitlines()
        return {row.split()[3].rpartition(":")[0].strip("[]") for row in rows}


@pytest.fixture
def lab(net, start, tmp_path):
    lab = Lab(net, start, tmp_path)
    yield lab
    for program in lab.programs:
        program.kill()


def known(domain=DOMAIN, inside=""):
    """A cloud by name or address, and its password."""
    return server(f"<domain>{domain}</domain><password>$0${PASSWORD}</password>{inside}")


def ask(*addresses, options="<timeout>1</timeout><attempts>1</attempts>", search=()):
    """Resolvers to ask, in this order."""
    searched = "".join(f"<search>{each}</search>" for each in search)
    servers = "".join(f"<server><name>r{number}</name><udp-and-tcp><address>{address}</address></udp-and-tcp></server>"
                      for number, address in enumerate(addresses))
    return resolver(f"{searched}{servers}<options>{options}</options>")


def test_a_name_is_looked_up_anew_for_each_attempt_and_no_old_address_is_tried(lab):
    lab.far.address("down0", "10.9.0.3/24")
    first, second = lab.cloud(CLOUD), lab.cloud("10.9.0.3")
    names = lab.dns({DOMAIN: [CLOUD]})
    orchestrator = lab.orchestrator()
    orchestrator.commit(known(), trust(first.ca), ask(CLOUD))
    assert orchestrator.sees_established()["server-address"] == CLOUD
    names.know({DOMAIN: ["10.9.0.3"]})
    orchestrator.commit(trust(second.ca))
    second.sees("main connection up")
    assert orchestrator.sees_established()["server-address"] == "10.9.0.3"
    assert sum("TLS up" in line for line in first.lines) == 2, first.lines
