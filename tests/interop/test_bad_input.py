"""What a manager gets wrong: each has its tag, its path and its info, and changes nothing."""

import pytest
from harness.config import CLOUD, cloud, config, server, user
from ncclient.operations import RPCError

ROOT = "/cloud-management:cloud-management"


def path(*names):
    return ROOT + "".join(f"/cloud-management:{name}" for name in names)


def interval(value):
    return cloud(f"<keepalive-interval>{value}</keepalive-interval>")


@pytest.mark.parametrize("edit, tag, where", [
    (interval(9), "invalid-value", path("keepalive-interval")),
    (interval(601), "invalid-value", path("keepalive-interval")),
    (interval("abc"), "invalid-value", path("keepalive-interval")),
    (interval(""), "invalid-value", path("keepalive-interval")),
    (server("<domain></domain>"), "invalid-value", path("server", "domain")),
    (server(f"<domain>{'a' * 63}.{'b' * 63}.{'c' * 63}.{'d' * 62}</domain>"), "invalid-value", path("server", "domain")),
    (server("<domain>two..dots</domain>"), "invalid-value", path("server", "domain")),
    (server("<port>0</port>"), "invalid-value", path("server", "port")),
    (server("<port>65536</port>"), "invalid-value", path("server", "port")),
    (server("<source-ip>2001:db8::1</source-ip>"), "invalid-value", path("server", "source-ip")),
    (server("<password>clear</password>"), "invalid-value", path("server", "password")),
    (server("<password>$0$</password>"), "invalid-value", path("server", "password")),
    (server(f"<password>$0${'x' * 64}</password>"), "invalid-value", path("server", "password")),
    (server(f"<password>$1${'A' * 64}</password>"), "invalid-value", path("server", "password")),
    (cloud("<unbinding-code></unbinding-code>"), "invalid-value", path("unbinding-code")),
    (cloud('<keepalive-interval nc:operation="shake"/>'), "bad-attribute", path("keepalive-interval")),
    (cloud('<keepalive-interval nc:operation="delete"/>'), "data-missing", path("keepalive-interval")),
    (cloud("<trust><trust-anchor><certificate>x</certificate></trust-anchor></trust>"), "missing-element",
     path("trust", "trust-anchor")),
])
def test_a_wrong_value_is_refused_by_its_path(connect, edit, tag, where):
    session = connect()
    with pytest.raises(RPCError) as caught:
        session.edit_config(target="candidate", config=config(edit))
    error = caught.value
    assert (error.type, error.tag, error.path, error.severity) == ("application", tag, where, "error")
    assert "\n" not in error.message and len(error.message) < 400
    assert "clear" not in error.message.replace("clear text", "")
    assert not session.get_config("candidate").data_ele.findall(f".//{{{CLOUD}}}*")


@pytest.mark.parametrize("edit, tag, info", [
    (cloud("<nonsense/>"), "unknown-element", "<bad-element>nonsense</bad-element>"),
    (cloud("<state><duration>1</duration></state>"), "unknown-element", "<bad-element>state</bad-element>"),
    ('<nonsense xmlns="urn:nonsense"/>', "unknown-namespace", "<bad-namespace>urn:nonsense</bad-namespace>"),
    (cloud('<keepalive-interval nc:operation="shake"/>'), "bad-attribute", "<bad-attribute>operation</bad-attribute>"),
])
def test_what_is_not_in_the_model_is_named(connect, edit, tag, info):
    with pytest.raises(RPCError) as caught:
        connect().edit_config(target="candidate", config=config(edit))
    assert caught.value.tag == tag
    assert info in caught.value.info


@pytest.mark.parametrize("edit, tag, where", [
    (cloud("<trust><trust-anchor><name>a</name></trust-anchor></trust>"), "data-missing", "trust-anchor"),
    (cloud("<trust><trust-anchor><name>a</name><certificate>x</certificate></trust-anchor></trust>"), "invalid-value",
     "certificate"),
    (server("<vpn-instance>sixteen-letters-</vpn-instance>"), "invalid-value", "vpn-instance"),
])
def test_what_does_not_hold_as_a_whole_is_refused_at_the_commit(connect, edit, tag, where):
    session = connect()
    session.edit_config(target="candidate", config=config(edit))
    with pytest.raises(RPCError) as caught:
        session.commit()
    assert caught.value.tag == tag
    assert where in caught.value.path
    assert not session.get_config("running").data_ele.findall(f".//{{{CLOUD}}}*")


def test_one_wrong_value_takes_the_whole_edit_back(connect):
    session = connect()
    with pytest.raises(RPCError, match="port|range"):
        session.edit_config(target="running", config=config(
            user("alice", "<password>$0$alice</password>"),
            cloud("<keepalive-interval>60</keepalive-interval><server><port>0</port></server>")))
    text = session.get_config("running").data_xml
    assert "alice" not in text and "keepalive-interval" not in text


def test_a_secret_of_another_device_is_refused(connect, start, tmp_path):
    other = start(directory=tmp_path / "other")
    with other.connect() as session:
        session.edit_config(target="running", config=config(server("<password>$0$cloud-Pa55</password>")))
        secret = session.get_config("running").data_ele.findtext(f".//{{{CLOUD}}}password")
    with pytest.raises(RPCError, match="cannot be opened with the key of this device") as caught:
        connect().edit_config(target="candidate", config=config(server(f"<password>{secret}</password>")))
    assert (caught.value.tag, caught.value.path) == ("invalid-value", path("server", "password"))


def test_a_secret_of_this_device_can_be_written_back(connect):
    session = connect()
    session.edit_config(target="running", config=config(server("<password>$0$cloud-Pa55</password>")))

    def stored():
        return session.get_config("running").data_ele.findtext(f".//{{{CLOUD}}}password")
    before = stored()
    assert before.startswith("$1$")
    session.edit_config(target="running", config=config(server(f"<password>{before}</password>")))
    assert stored() == before
    session.edit_config(target="running", config=config(server("<password>$0$cloud-Pa55</password>")))
    assert stored() == before, "the same clear text keeps its ciphertext"
