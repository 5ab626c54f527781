"""scrapli-netconf: over paramiko, over the OpenSSH client on a terminal of its own, and over asyncssh."""

import asyncio

import pytest
from harness.agent import ANSWER, PASSWORD
from harness.config import NETCONF, cloud, config, server
from scrapli_netconf.driver import AsyncNetconfDriver, NetconfDriver

INTERVAL = cloud("<keepalive-interval>60</keepalive-interval>")


def options(agent, **others):
    return {"host": "127.0.0.1", "port": agent.port, "auth_username": "admin", "auth_password": PASSWORD,
            "auth_strict_key": False, "timeout_ops": ANSWER, "timeout_socket": ANSWER, "timeout_transport": ANSWER,
            } | others


@pytest.fixture(params=["paramiko", "system"])
def session(agent, request):
    with NetconfDriver(**options(agent, transport=request.param)) as session:
        yield session


def done(response):
    assert not response.failed, response.result
    return response.result


def refused(response):
    """The tag and the path of a refusal; scrapli marks the response as failed."""
    assert response.failed, response.result
    error = response.xml_result.find("{*}rpc-error")
    return error.findtext("{*}error-tag"), error.findtext("{*}error-path")


@pytest.mark.parametrize("version", ["1.0", "1.1"])
def test_both_versions_of_the_protocol_are_agreed_on(agent, version):
    with NetconfDriver(**options(agent, transport="paramiko", preferred_netconf_version=version)) as session:
        assert session.netconf_version.value == version
        assert "<data" in done(session.get_config(source="running"))


def test_the_datastores_are_known_from_the_hello(session):
    assert set(session.readable_datastores) >= {"running", "candidate"}
    assert set(session.writeable_datastores) >= {"running", "candidate"}


def test_an_edit_of_the_candidate_is_running_after_the_commit_only(session):
    done(session.lock(target="candidate"))
    done(session.edit_config(config=config(INTERVAL), target="candidate"))
    done(session.validate(source="candidate"))
    assert "keepalive-interval" not in done(session.get_config(source="running"))
    done(session.commit())
    done(session.unlock(target="candidate"))
    wanted = cloud("<keepalive-interval/>")
    assert "<keepalive-interval>60</keepalive-interval>" in done(session.get_config(source="running", filter_=wanted))


def test_discarded_and_copied_over_changes_are_gone(session):
    for undo in (session.discard, lambda: session.copy_config(source="running", target="candidate")):
        done(session.edit_config(config=config(INTERVAL), target="candidate"))
        done(undo())
        assert "keepalive-interval" not in done(session.get_config(source="candidate"))


def test_state_is_read_with_a_subtree_filter(session):
    answer = done(session.get(filter_=cloud("<state><connection-state/></state>")))
    assert "<connection-state>unconnected</connection-state>" in answer


def test_an_operation_of_its_own_is_sent_as_it_is(session):
    answer = session.rpc(filter_="<get-config><source><candidate/></source></get-config>")
    assert "<data" in done(answer)


@pytest.mark.parametrize("edit, tag, path", [
    (cloud("<keepalive-interval>9</keepalive-interval>"), "invalid-value", "keepalive-interval"),
    (server("<port>0</port>"), "invalid-value", "port"),
    (cloud("<nonsense/>"), "unknown-element", "cloud-management"),
])
def test_a_refused_edit_is_a_failed_response_with_tag_and_path(session, edit, tag, path):
    there, where = refused(session.edit_config(config=config(edit), target="candidate"))
    assert (there, path in where) == (tag, True)
    assert "cloud-management" not in done(session.get_config(source="candidate"))


def test_what_another_session_has_locked_is_refused(agent, session):
    with agent.connect() as other, other.locked("candidate"):
        assert refused(session.lock(target="candidate"))[0] == "lock-denied"
        assert refused(session.edit_config(config=config(INTERVAL), target="candidate"))[0] == "in-use"
    done(session.lock(target="candidate"))


def test_running_cannot_be_deleted(session):
    delete = f'<delete-config xmlns="{NETCONF}"><target><running/></target></delete-config>'
    assert refused(session.rpc(filter_=delete))[0] == "operation-not-supported"


def test_a_large_reply_arrives_whole(session):
    monitoring = "urn:ietf:params:xml:ns:yang:ietf-netconf-monitoring"
    request = f'<get-schema xmlns="{monitoring}"><identifier>ietf-hardware</identifier></get-schema>'
    text = done(session.rpc(filter_=request))
    assert "module ietf-hardware {" in text and text.count("\n") > 1000


def test_eight_asynchronous_sessions_work_side_by_side(agent):
    async def one(number):
        async with AsyncNetconfDriver(**options(agent, transport="asyncssh")) as session:
            edit = cloud(f"<keepalive-interval>{60 + number}</keepalive-interval>")
            done(await session.edit_config(config=config(edit), target="running"))
            return done(await session.get_config(source="running", filter_=cloud("<keepalive-interval/>")))

    async def all_of_them():
        return await asyncio.gather(*(one(number) for number in range(8)))
    assert all("<keepalive-interval>6" in answer for answer in asyncio.run(all_of_them()))
