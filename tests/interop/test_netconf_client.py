"""netconf_client: futures and a manager like that of ncclient, over paramiko."""

import pytest
from harness.agent import ANSWER, PASSWORD
from harness.config import CLOUD, NETCONF, cloud, config, server
from harness.wait import wait_until
from netconf_client.connect import connect_ssh
from netconf_client.error import RpcError
from netconf_client.ncclient import Manager

INTERVAL = f".//{{{CLOUD}}}keepalive-interval"


@pytest.fixture
def managers(agent):
    """Opens managers; all end with the test."""
    opened = []

    def open_manager(**who):
        who = {"username": "admin", "password": PASSWORD} | who
        session = connect_ssh(host="127.0.0.1", port=agent.port, initial_timeout=ANSWER, general_timeout=ANSWER, **who)
        opened.append(session)
        return Manager(session, timeout=ANSWER)
    yield open_manager
    for session in opened:
        session.close()


def interval(manager, source="running"):
    return manager.get_config(source=source).data_ele.findtext(INTERVAL)


def edit(inside, **options):
    return {"config": config(inside), "target": "candidate"} | options


def refusal(operation, *arguments, **options):
    with pytest.raises(RpcError) as caught:
        operation(*arguments, **options)
    return caught.value


def has_ended(manager):
    # A request now would wait for ever: the library leaves open what the end of its session overtakes.
    wait_until("the channel is closed", lambda: manager.session.sock.channel.closed)


def test_a_key_logs_in(managers, key):
    assert managers(password=None, key_filename=str(key)).session_id > 0


def test_an_edit_of_the_candidate_is_running_after_the_commit_only(managers):
    manager = managers()
    manager.lock(target="candidate")
    manager.edit_config(**edit(cloud("<keepalive-interval>60</keepalive-interval>")))
    manager.validate(source="candidate")
    assert (interval(manager), interval(manager, "candidate")) == (None, "60")
    manager.commit()
    manager.unlock(target="candidate")
    assert interval(manager) == "60"


def test_discarded_and_copied_over_changes_are_gone(managers):
    manager = managers()
    for undo in (manager.discard_changes, lambda: manager.copy_config(source="running", target="candidate")):
        manager.edit_config(**edit(cloud("<keepalive-interval>60</keepalive-interval>")))
        undo()
        assert interval(manager, "candidate") is None


def test_a_subtree_filter_selects_state(managers):
    wanted = f'<filter type="subtree">{cloud("<state><connection-state/></state>")}</filter>'
    data = managers().get(filter=wanted).data_ele
    assert [leaf.text for leaf in data.iter() if len(leaf) == 0] == ["unconnected"]


def test_an_operation_of_its_own_is_sent_as_it_is(managers):
    reply = managers().dispatch("<get-config><source><running/></source></get-config>")
    assert b"<data" in reply.xml


def test_a_hundred_requests_may_be_on_their_way_at_once(managers):
    session = managers().session
    get = '<rpc xmlns="{}" message-id="{}"><get-config><source><running/></source></get-config></rpc>'
    answers = [session.send_rpc(get.format(NETCONF, number).encode()) for number in range(100)]
    replies = [answer.result(timeout=ANSWER)[1] for answer in answers]
    assert [reply.xpath("/*/@message-id") for reply in replies] == [[str(number)] for number in range(100)]


@pytest.mark.parametrize("inside, tag, word", [
    (cloud("<keepalive-interval>9</keepalive-interval>"), "invalid-value", None),
    (server("<port>0</port>"), "invalid-value", None),
    (cloud("<nonsense/>"), "unknown-element", b"<bad-element>nonsense</bad-element>"),
    (cloud('<keepalive-interval nc:operation="delete"/>'), "data-missing", None),
])
def test_a_refused_edit_raises_its_tag(managers, inside, tag, word):
    manager = managers()
    error = refusal(manager.edit_config, **edit(inside))
    assert error.tag == tag and error.message
    assert word is None or word in error.info
    assert not manager.get_config(source="candidate").data_ele.findall(f".//{{{CLOUD}}}*")


def test_a_lock_of_another_is_refused_with_its_session(managers):
    one, two = managers(), managers()
    one.lock(target="running")
    error = refusal(two.lock, target="running")
    assert (error.tag, f"<session-id>{one.session_id}</session-id>".encode() in error.info) == ("lock-denied", True)
    assert refusal(two.edit_config, **edit(cloud("<keepalive-interval>60</keepalive-interval>"), target="running")
                   ).tag == "in-use"


def test_a_killed_session_is_over_and_what_it_held_is_free(managers):
    one, two = managers(), managers()
    one.lock(target="candidate")
    two.kill_session(one.session_id)
    two.lock(target="candidate")
    has_ended(one)


def test_a_closed_session_is_over(managers):
    manager = managers()
    manager.close_session()
    has_ended(manager)


def test_running_cannot_be_deleted(managers):
    assert refusal(managers().delete_config, target="running").tag == "operation-not-supported"
