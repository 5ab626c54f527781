"""ncclient, as it comes: what an orchestrator does all day."""

import pytest
from harness.config import CLOUD, SYSTEM, cloud, config, server
from harness.wait import wait_until
from ncclient.operations import RPCError
from ncclient.transport.errors import AuthenticationError
from ncclient.xml_ import to_ele

INTERVAL = f".//{{{CLOUD}}}keepalive-interval"


def interval(session, source="running"):
    return session.get_config(source).data_ele.findtext(INTERVAL)


def refusal(operation, *arguments, **options):
    with pytest.raises(RPCError) as caught:
        operation(*arguments, **options)
    return caught.value


def test_a_key_that_is_refused_first_does_not_keep_the_password_from_being_tried(connect, make_key, home):
    make_key().rename(home / ".ssh" / "id_ed25519")
    assert connect().connected


def test_the_hello_announces_what_the_server_does(connect):
    capabilities = list(connect().server_capabilities)
    for wanted in ("base:1.0", "base:1.1", "capability:candidate:1.0", "capability:writable-running:1.0",
                   "capability:rollback-on-error:1.0", "capability:validate:1.1", "capability:confirmed-commit:1.1",
                   "capability:xpath:1.0", "capability:notification:1.0", "capability:interleave:1.0"):
        assert f"urn:ietf:params:netconf:{wanted}" in capabilities
    assert any("yang-library:1.1?revision=2019-01-04&content-id=" in each for each in capabilities)
    for missing in (":startup", ":url"):
        assert not any(missing in each for each in capabilities), missing


def test_an_edit_of_the_candidate_is_running_after_the_commit_only(connect):
    session = connect()
    session.edit_config(target="candidate", config=config(cloud("<keepalive-interval>60</keepalive-interval>")))
    session.validate(source="candidate")
    assert (interval(session), interval(session, "candidate")) == (None, "60")
    session.commit()
    assert interval(session) == "60"


def test_an_edit_of_running_takes_effect_at_once(connect):
    session = connect()
    session.edit_config(target="running", config=config(cloud("<keepalive-interval>61</keepalive-interval>")))
    assert interval(session) == "61"


def test_a_config_without_a_namespace_is_accepted(connect):
    session = connect()
    session.edit_config(target="running", config=f"<config>{cloud('<keepalive-interval>62</keepalive-interval>')}</config>")
    assert interval(session) == "62"


def test_discarded_changes_are_gone(connect):
    session = connect()
    session.edit_config(target="candidate", config=config(cloud("<keepalive-interval>60</keepalive-interval>")))
    session.discard_changes()
    assert interval(session, "candidate") is None
    session.commit()
    assert interval(session) is None


@pytest.mark.parametrize("operation, there, absent", [
    ("create", "data-exists", None), ("delete", None, "data-missing"), ("remove", None, None),
    ("merge", None, None), ("replace", None, None)])
def test_each_edit_operation_holds_to_what_is_there(connect, operation, there, absent):
    session = connect()

    def edit():
        leaf = f'<keepalive-interval nc:operation="{operation}">60</keepalive-interval>'
        try:
            session.edit_config(target="candidate", config=config(cloud(leaf)))
            return None
        except RPCError as error:
            assert error.path.endswith("keepalive-interval")
            return error.tag
    assert edit() == absent
    session.discard_changes()
    session.edit_config(target="candidate", config=config(cloud("<keepalive-interval>60</keepalive-interval>")))
    assert edit() == there


def test_copy_config_replaces_the_candidate_with_running(connect):
    session = connect()
    session.edit_config(target="candidate", config=config(cloud("<keepalive-interval>60</keepalive-interval>")))
    session.copy_config(source="running", target="candidate")
    assert interval(session, "candidate") is None


def test_running_cannot_be_deleted(connect):
    session = connect()
    error = refusal(session.dispatch, to_ele(
        '<delete-config xmlns="urn:ietf:params:xml:ns:netconf:base:1.0"><target><running/></target></delete-config>'))
    assert error.tag == "operation-not-supported"


def test_a_subtree_filter_selects_what_it_says(connect):
    session = connect()
    session.edit_config(target="running", config=config(
        cloud("<server><domain>cloud.example</domain><port>8443</port></server>"
              "<keepalive-interval>60</keepalive-interval>")))

    def get(inside):
        data = session.get_config("running", filter=("subtree", inside)).data_ele
        return {leaf.tag.partition("}")[2]: leaf.text for leaf in data.iter() if len(leaf) == 0 and leaf is not data}
    assert get(server("<port/>")) == {"port": "8443"}
    assert get(cloud("<keepalive-interval/>")) == {"keepalive-interval": "60"}
    assert get(server("<port>1</port>")) == {}
    assert get(server("<port>8443</port><domain/>")) == {"port": "8443", "domain": "cloud.example"}
    assert get(f'<system xmlns="{SYSTEM}"><authentication><user><name>admin</name></user></authentication></system>'
               ).keys() == {"name", "password"}
    assert get('<nonsense xmlns="urn:nonsense"/>') == {}


def test_get_shows_configuration_and_state(connect):
    session = connect()
    session.edit_config(target="running", config=config(cloud("<keepalive-interval>60</keepalive-interval>")))
    data = session.get().data_ele
    assert data.findtext(INTERVAL) == "60"
    assert data.findtext(f".//{{{CLOUD}}}connection-state") == "unconnected"
    assert data.find(f".//{{{SYSTEM}}}platform") is not None
    assert not session.get_config("running").data_ele.findall(f".//{{{CLOUD}}}state")


def test_every_schema_that_is_listed_can_be_fetched(connect):
    session = connect()
    namespace = "urn:ietf:params:xml:ns:yang:ietf-netconf-monitoring"
    wanted = f'<netconf-state xmlns="{namespace}"><schemas/></netconf-state>'
    listed = session.get(filter=("subtree", wanted)).data_ele.iterfind(f".//{{{namespace}}}schema")
    schemas = [(each.findtext(f"{{{namespace}}}identifier"), each.findtext(f"{{{namespace}}}version")) for each in listed]
    names = [name for name, _ in schemas]
    assert {"cloud-management", "device-hosts", "device-management", "ietf-system"} <= set(names)
    for name, version in schemas:
        assert f"module {name}" in session.get_schema(name, version=version).data


def test_a_lock_keeps_others_from_writing_until_it_is_given_back(connect):
    one, two = connect(), connect()
    with one.locked("candidate"):
        denied = refusal(two.lock, "candidate")
        assert (denied.tag, one.session_id in denied.info) == ("lock-denied", True)
        change = config(cloud("<keepalive-interval>60</keepalive-interval>"))
        assert refusal(two.edit_config, target="candidate", config=change).tag == "in-use"
        assert refusal(two.commit).tag == "in-use"
        assert refusal(two.unlock, "candidate").tag == "operation-failed"
    two.edit_config(target="candidate", config=change)
    two.commit()
    assert interval(one) == "60"


def test_a_commit_waits_for_nobody_under_anothers_lock_of_running(connect):
    one, two = connect(), connect()
    two.edit_config(target="candidate", config=config(cloud("<keepalive-interval>60</keepalive-interval>")))
    with one.locked("running"):
        assert refusal(two.commit).tag == "in-use"
    two.commit()
    assert interval(two) == "60"


@pytest.mark.parametrize("how", ["close", "kill", "reset"])
def test_a_session_that_ends_gives_its_lock_back_and_its_changes_up(connect, how):
    one, two = connect(), connect()
    one.lock("candidate")
    one.edit_config(target="candidate", config=config(cloud("<keepalive-interval>60</keepalive-interval>")))
    if how == "close":
        one.close_session()
    elif how == "kill":
        two.kill_session(one.session_id)
    else:
        one._session.transport.sock.close()

    def lock():
        try:
            two.lock("candidate")
            return True
        except RPCError:
            return False
    wait_until("the lock is free", lock)
    assert interval(two, "candidate") is None
    wait_until("the client notices", lambda: not one.connected)


def test_a_session_cannot_kill_itself_or_nobody(connect):
    session = connect()
    assert refusal(session.kill_session, session.session_id).tag == "invalid-value"
    assert refusal(session.kill_session, "4000000000").tag == "invalid-value"


def test_actions_are_called_inside_their_container(connect):
    session = connect()
    action = f'<action xmlns="urn:ietf:params:xml:ns:yang:1">{cloud("<reset-tunnel/>")}</action>'
    assert session.dispatch(to_ele(action)).ok
    missing = f'<action xmlns="urn:ietf:params:xml:ns:yang:1">{cloud("<unbind/>")}</action>'
    error = refusal(session.dispatch, to_ele(missing))
    assert error.tag in ("missing-element", "data-missing")
    assert "code" in error.message and "unbind" in error.path


def test_what_is_not_announced_is_refused(connect):
    session = connect()
    assert refusal(session.dispatch, to_ele('<make-coffee xmlns="urn:coffee"/>')).tag in (
        "operation-not-supported", "unknown-namespace")


@pytest.mark.parametrize("user, password", [("admin", "wrong"), ("nobody", "correct horse"), ("admin", "")])
def test_an_unknown_user_and_a_wrong_password_are_refused_alike(agent, user, password):
    with pytest.raises(AuthenticationError):
        agent.connect(user, password)
    assert agent.connect().connected
