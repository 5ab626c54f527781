"""YANG push (RFC 8641) with ncclient, as a collector subscribes."""

import random

import pytest
from harness.config import CLOUD, HOSTS, SYSTEM, cloud, config, resolver
from harness.push import Subscriber, canonical, on_change, subtree

ORDERED = {f"{{{SYSTEM}}}search", f"{{{SYSTEM}}}server", f"{{{HOSTS}}}address"}
INSERT = 'xmlns:y="urn:ietf:params:xml:ns:yang:1" y:insert'


def leaf(chance, name):
    """A leaf of ietf-system that is set or taken away."""
    if chance.random() < 0.3:
        return f'<system xmlns="{SYSTEM}"><{name} nc:operation="remove"/></system>'
    return f'<system xmlns="{SYSTEM}"><{name}>{chance.randrange(5)}</{name}></system>'


def search(chance):
    """An entry that the user orders comes, goes or moves."""
    name = f"{chance.choice('abcdef')}.example"
    match chance.randrange(4):
        case 0:
            return resolver(f'<search nc:operation="remove">{name}</search>')
        case 1:
            return resolver(f'<search {INSERT}="first">{name}</search>')
        case 2:
            return resolver(f'<search {INSERT}="last">{name}</search>')
        case _:
            return resolver(f"<search>{name}</search>")


def server(chance):
    name = f"r{chance.randrange(4)}"
    if chance.random() < 0.3:
        return resolver(f'<server nc:operation="remove"><name>{name}</name></server>')
    port = chance.choice(["<port>53</port>", "<port>5353</port>", '<port nc:operation="remove"/>'])
    place = chance.choice(["", f' {INSERT}="first"', f' {INSERT}="last"'])
    return resolver(f"<server{place}><name>{name}</name>"
                    f"<udp-and-tcp><address>192.0.2.{chance.randrange(1, 4)}</address>{port}</udp-and-tcp></server>")


def host(chance):
    name = f"h{chance.randrange(4)}.example"
    if chance.random() < 0.4:
        return resolver(f'<host xmlns="{HOSTS}" nc:operation="remove"><name>{name}</name></host>')
    addresses = chance.sample(["192.0.2.1", "192.0.2.2", "2001:db8::1"], chance.randrange(1, 4))
    inside = "".join(f"<address>{address}</address>" for address in addresses)
    return resolver(f'<host xmlns="{HOSTS}" nc:operation="replace"><name>{name}</name>{inside}</host>')


def some_edit(chance):
    return chance.choice([
        lambda: leaf(chance, "contact"), lambda: leaf(chance, "hostname"), lambda: search(chance), lambda: search(chance),
        lambda: server(chance), lambda: host(chance),
        lambda: cloud(f"<keepalive-interval>{chance.randrange(10, 60)}</keepalive-interval>")])()


@pytest.fixture
def manager(agent):
    """Edits by hand: the loop of ncclient lets each operation take a tenth of a second."""
    session = agent.local()
    session.hello()
    yield session
    session.close()


def edit(manager, inside, target="running"):
    reply = manager.rpc(f"<edit-config><target><{target}/></target>{config(inside)}</edit-config>")
    assert reply.is_ok, reply.text


@pytest.mark.parametrize("datastore", ["running", "operational"])
@pytest.mark.parametrize("dampening", [0, 20])
def test_a_copy_kept_by_patches_is_what_get_shows(manager, connect, datastore, dampening):
    chance = random.Random(f"{datastore} {dampening}")
    listener = connect()
    selection = f'<system xmlns="{SYSTEM}"/>'
    for _ in range(5):
        edit(manager, some_edit(chance))
    content = subtree(selection) + on_change(f"<yp:dampening-period>{dampening}</yp:dampening-period>")
    subscriber = Subscriber(listener, datastore, content)
    commits = 300
    for number in range(commits):
        for _ in range(chance.randrange(1, 4)):
            edit(manager, some_edit(chance), "candidate")
        edit(manager, f'<system xmlns="{SYSTEM}"><location>{number}</location></system>', "candidate")
        assert manager.rpc("<commit/>").is_ok
    location = f"{{{SYSTEM}}}system/{{{SYSTEM}}}location"
    while subscriber.copy.findtext(location) != str(commits - 1):
        subscriber.take()
    shown = listener.get_config("running", filter=("subtree", selection)).data_ele
    assert canonical(subscriber.copy, ORDERED)[1].partition(">")[2] == canonical(shown, ORDERED)[1].partition(">")[2]
    # Nobody waits for a dampening period, and with one there are fewer updates than commits.
    assert dampening == 0 or subscriber.changes < commits / 2


def test_the_state_of_the_tunnel_is_told_as_it_changes(connect):
    manager, listener = connect(), connect()
    content = subtree(f'<cloud-management xmlns="{CLOUD}"><state/></cloud-management>') + on_change()
    subscriber = Subscriber(listener, "operational", content)
    assert subscriber.take() == "push-update"
    state = f"{{{CLOUD}}}cloud-management/{{{CLOUD}}}state/{{{CLOUD}}}connection-state"
    assert subscriber.copy.findtext(state) == "unconnected"
    manager.edit_config(target="running", config=config(cloud(
        "<server><domain>127.0.0.1</domain><port>9</port><password>$0$secret</password></server>")))
    failure = f"{{{CLOUD}}}cloud-management/{{{CLOUD}}}state/{{{CLOUD}}}failure-reason"
    while subscriber.copy.findtext(failure) != "connect-failed":
        subscriber.take()
    shown = manager.get(filter=("subtree", f'<cloud-management xmlns="{CLOUD}"><state/></cloud-management>')).data_ele
    assert shown.findtext(f".//{{{CLOUD}}}failure-reason") == "connect-failed"


def test_a_refusal_reaches_ncclient_with_its_identity(connect):
    from ncclient.operations import RPCError
    with pytest.raises(RPCError) as refused:
        Subscriber(connect(), "running", "<yp:periodic><yp:period>1</yp:period></yp:periodic>")
    assert refused.value.app_tag == "ietf-yang-push:period-unsupported"
    assert "period-hint" in str(refused.value.info)
