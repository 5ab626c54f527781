"""The cloud by DHCP: real servers with options 253 and 252, real clients beside the agent."""

import re

import pytest
from harness.cloud import DOMAIN, PASSWORD
from harness.config import cloud as settings
from harness.config import known, resolvers, server, trust
from harness.dhcp import Dhclient, Dhcpcd, Dnsmasq, Kea, Networkd, Udhcpc
from harness.lab import CLOUD
from harness.program import TETHER
from harness.wait import wait_until

NAMES = [DOMAIN, "one.example", "two.example"]
# Seconds: a lease that clients renew soon. udhcpc does not believe in one shorter than half a minute.
LEASE, PATIENCE = 8, 40
# A password with what shells, quotes and escapes are made of.
TRICKY = r"""it's "50 %" \n $HOME; `x` #"""


def asked_for(link="up0"):
    return settings(f"<discovery><dhcp><interface>{link}</interface></dhcp></discovery>")


def site(lab, **rules):
    """A cloud that has all the names, and its resolver."""
    cloud = lab.cloud(CLOUD, names=NAMES, **rules)
    lab.dns({name: [CLOUD] for name in NAMES})
    return cloud


def asks_again(lab, agent):
    """A hook that says that its client has nothing makes the agent ask as well."""
    lab.device.run(TETHER, "dhcp-event", "up0", "--control", agent.state / "control.sock")


def followed(dhcp):
    def scenario(lab):
        cloud = site(lab)
        offers = lab.dhcp(dhcp, domain="one.example", password=PASSWORD)
        orchestrator = lab.orchestrator()
        orchestrator.commit(trust(cloud.ca), resolvers(CLOUD), asked_for())
        state = orchestrator.sees_established()
        assert state["server-domain"] == "one.example"
        assert (state["domain-origin"], state["password-origin"]) == ("dhcp", "dhcp")
        assert (state["discovered/domain"], state["discovered/password-present"]) == ("one.example", "true")

        offers.offer(domain="two.example", password=PASSWORD)
        asks_again(lab, orchestrator.agent)
        cloud.sees("last down discovery-changed")
        assert orchestrator.sees_established()["server-domain"] == "two.example"

        # Configured values come after those discovered: nothing happens until there are none.
        orchestrator.commit(known())
        offers.offer()
        asks_again(lab, orchestrator.agent)
        orchestrator.sees(server_domain=DOMAIN, domain_origin="configured", password_origin="configured")
        state = orchestrator.sees_established()
        assert sum("main connection up" in line for line in cloud.lines) == 3
        assert PASSWORD not in str(state) and PASSWORD not in orchestrator.agent.log.read_text()
    scenario.__name__ = f"what_{dhcp.program}_says_leads_to_the_cloud_and_is_followed_when_it_changes"
    return scenario


def test_a_url_in_option_252_is_no_password(lab):
    cloud = site(lab)
    offers = lab.dhcp(Dnsmasq, domain="one.example", password="http://wpad.example/wpad.dat")
    orchestrator = lab.orchestrator()
    orchestrator.commit(trust(cloud.ca), resolvers(CLOUD), known(), asked_for())
    state = orchestrator.sees(domain_origin="dhcp", connection_state="established")
    assert (state["server-domain"], state["password-origin"]) == ("one.example", "configured")
    assert state["discovered/password-present"] == "false"
    log = orchestrator.agent.log.read_text()
    assert "252" in log and "wpad" not in log


def test_an_interface_is_asked_on_as_soon_as_it_exists(lab):
    cloud = site(lab)
    orchestrator = lab.orchestrator()
    orchestrator.commit(trust(cloud.ca), resolvers(CLOUD), asked_for("lan0"))
    lab.net.join(lab.device, "lan0", lab.far, "lan1")
    lab.far.up("lan1", "10.8.0.1/24")
    lab.dhcp(Kea, link="lan1", network="10.8.0.0/24", domain="two.example", password=PASSWORD)
    lab.device.up("lan0", "10.8.0.2/24")
    state = orchestrator.sees_established()
    assert (state["server-domain"], state["discovered/interface"]) == ("two.example", "lan0")


def an_answer_that_is_lost_is_asked_for_again(lab):
    cloud = site(lab)
    offers = lab.dhcp(Dnsmasq, domain="one.example", password=PASSWORD)
    orchestrator = lab.orchestrator()
    lab.wire.cut()
    orchestrator.commit(trust(cloud.ca), resolvers(CLOUD), asked_for())
    lab.wire.mend()
    orchestrator.sees_established()
    offers.sees_inform()


def beside(client):
    def scenario(lab):
        cloud = site(lab)
        offers = lab.dhcp(Kea, domain="one.example", password=PASSWORD, lease=LEASE)
        lab.device.ip("address flush dev up0 scope global")
        its = lab.client(client)
        wait_until("a lease", lambda: addresses(lab))
        leased = addresses(lab)
        orchestrator = lab.orchestrator()
        orchestrator.commit(trust(cloud.ca), resolvers(CLOUD), asked_for())
        orchestrator.sees_established()
        offers.sees_inform()
        # The port of DHCP clients is the client's alone.
        owners = set(re.findall(r"pid=(\d+)", lab.device.run("ss", "-Hulnp", "sport = :68")))
        assert owners <= {str(its.process.pid)}
        for _ in range(2):
            offers.sees_renewal(PATIENCE)
        assert addresses(lab) == leased
        assert "last-down/reason" not in orchestrator.sees_established()
    scenario.__name__ = f"the_agent_asks_beside_{client.__name__.lower()}_which_keeps_its_port_and_its_lease"
    return scenario


def hooked(client):
    """The agent may not ask by itself: what it knows it has from the client's hook."""
    def scenario(lab):
        cloud = site(lab, password=TRICKY)
        offers = lab.dhcp(Kea, domain="one.example", password=TRICKY, lease=LEASE)
        lab.device.ip("address flush dev up0 scope global")
        orchestrator = lab.orchestrator(wrapper=["setpriv", "--bounding-set=-net_raw"])
        orchestrator.commit(trust(cloud.ca), resolvers(CLOUD), asked_for())
        its = lab.client(client, orchestrator.agent.state / "control.sock")
        wait_until("a lease", lambda: addresses(lab))
        its.tell()
        state = orchestrator.sees_established()
        assert (state["server-domain"], state["discovered/domain"]) == ("one.example", "one.example")
        assert (state["domain-origin"], state["password-origin"]) == ("dhcp", "dhcp")
        wait_until("a complaint", lambda: "it takes CAP_NET_RAW" in orchestrator.agent.log.read_text())
        offers.kill()
        state = orchestrator.sees(PATIENCE, connection_state="unconnected", device_state="idle")
        assert "discovered/domain" not in state
        log = orchestrator.agent.log.read_text()
        assert log.count("it takes CAP_NET_RAW") == 1 and TRICKY not in log
    scenario.__name__ = f"what_{client.__name__.lower()}_has_got_is_handed_over_by_its_hook_and_lost_with_its_lease"
    return scenario


def addresses(lab):
    """The device's addresses on the link."""
    return re.findall(r"inet (\S+)", lab.device.ip("-4 address show dev up0"))


SCENARIOS = [
    an_answer_that_is_lost_is_asked_for_again,
    *(followed(dhcp) for dhcp in (Dnsmasq, Kea)),
    *(hooked(client) for client in (Dhclient, Udhcpc, Dhcpcd, Networkd)),
    *(beside(client) for client in (Dhclient, Udhcpc, Dhcpcd, Networkd)),
]


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.__name__)
def test(running, scenario):
    running[scenario].result()
