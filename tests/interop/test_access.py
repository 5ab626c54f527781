"""Users and access control (ietf-system, RFC 8341), as managers and operators meet them."""

import time

import paramiko
import pytest
from harness.agent import PASSWORD
from harness.config import CLOUD, NACM, SYSTEM, cloud, config, member, server, user
from harness.wait import wait_until
from ncclient.operations import RPCError
from ncclient.transport.errors import AuthenticationError
from ncclient.xml_ import to_ele

SECRETS = f".//{{{CLOUD}}}password", f".//{{{CLOUD}}}unbinding-code"
CLOUD_SETTINGS = cloud("<server><domain>cloud.example</domain><password>$0$cloud-Pa55</password></server>"
                       "<unbinding-code>7A3F-22C1</unbinding-code>")


@pytest.fixture
def admin(connect):
    session = connect()
    session.edit_config(target="running", config=config(
        CLOUD_SETTINGS, user("olga", "<password>$0$olga</password>"), member("operator", "olga")))
    return session


@pytest.fixture
def operator(admin, connect):
    return connect("olga", "olga")


def refusal(operation, *arguments, **options):
    with pytest.raises(RPCError) as caught:
        operation(*arguments, **options)
    return caught.value


def test_an_operator_reads_but_not_the_secrets(admin, operator):
    for read in (operator.get, lambda: operator.get_config("running")):
        data = read().data_ele
        assert data.findtext(f".//{{{CLOUD}}}domain") == "cloud.example"
        for secret in SECRETS:
            assert data.find(secret) is None, secret
    assert operator.get().data_ele.findtext(f".//{{{CLOUD}}}connection-state")
    for secret in SECRETS:
        assert admin.get_config("running").data_ele.find(secret) is not None, secret


def test_an_operator_cannot_find_a_secret_out_by_a_filter(operator):
    match = server("<domain/><password>$0$cloud-Pa55</password>"), cloud("<unbinding-code>7A3F-22C1</unbinding-code>")
    wrong = server("<domain/><password>$0$x</password>"), cloud("<unbinding-code>x</unbinding-code>")
    for right, other in zip(match, wrong):
        answers = [operator.get_config("running", filter=("subtree", each)).data_xml for each in (right, other)]
        assert answers[0] == answers[1]


@pytest.mark.parametrize("act", [
    lambda session: session.edit_config(target="running", config=config(cloud("<keepalive-interval>60</keepalive-interval>"))),
    lambda session: session.edit_config(target="candidate", config=config(cloud("<keepalive-interval>60</keepalive-interval>"))),
    lambda session: session.commit(),
    lambda session: session.copy_config(source="running", target="candidate"),
    lambda session: session.lock("candidate"),
    lambda session: session.discard_changes(),
    lambda session: session.kill_session("1"),
], ids=["edit running", "edit candidate", "commit", "copy", "lock", "discard", "kill"])
def test_an_operator_changes_nothing(admin, operator, act):
    assert refusal(act, operator).tag == "access-denied"
    assert admin.connected
    assert admin.get_config("running").data_ele.find(f".//{{{CLOUD}}}keepalive-interval") is None


@pytest.mark.parametrize("action", ["<reset-tunnel/>", "<unbind><code>7A3F-22C1</code></unbind>"])
def test_an_operator_runs_no_action(operator, action):
    error = refusal(operator.dispatch, to_ele(f'<action xmlns="urn:ietf:params:xml:ns:yang:1">{cloud(action)}</action>'))
    assert error.tag == "access-denied"


def test_who_may_edit_but_not_everything_is_told_the_path(admin, connect):
    rules = f"""<nacm xmlns="{NACM}"><groups><group><name>editors</name><user-name>edith</user-name></group></groups>
      <rule-list><name>editors</name><group>editors</group>
      <rule><name>operations</name><module-name>ietf-netconf</module-name><rpc-name>*</rpc-name>
        <access-operations>exec</access-operations><action>permit</action></rule>
      <rule><name>interval</name><path xmlns:cm="{CLOUD}">/cm:cloud-management/cm:keepalive-interval</path>
        <access-operations>create update delete</access-operations><action>permit</action></rule></rule-list></nacm>"""
    admin.edit_config(target="running", config=config(user("edith", "<password>$0$edith</password>"), rules))
    edith = connect("edith", "edith")
    edith.edit_config(target="running", config=config(cloud("<keepalive-interval>60</keepalive-interval>")))
    for edit, path in ((server("<port>8443</port>"), "/server/port"), (server("<password>$0$x</password>"), "password")):
        error = refusal(edith.edit_config, target="running", config=config(edit))
        assert error.tag == "access-denied"
        assert error.path.replace("cloud-management:", "").endswith(path)


def test_the_sessions_of_a_removed_user_end(admin, operator):
    admin.edit_config(target="running", config=config(user("olga", operation="delete")))
    wait_until("the session ends", lambda: not operator.connected)
    assert admin.get_config("running").data_ele is not None


def test_a_change_of_rights_holds_from_the_next_request_on(admin, operator):
    admin.edit_config(target="running", config=config(member("admin", "olga")))
    operator.edit_config(target="running", config=config(cloud("<keepalive-interval>60</keepalive-interval>")))
    groups = (f'<nacm xmlns="{NACM}"><groups><group><name>admin</name>'
              '<user-name nc:operation="delete">olga</user-name></group></groups></nacm>')
    admin.edit_config(target="running", config=config(groups))
    change = config(cloud("<keepalive-interval>61</keepalive-interval>"))
    assert refusal(operator.edit_config, target="running", config=change).tag == "access-denied"


def test_a_clear_text_password_is_hashed_at_the_edit(admin, connect):
    admin.edit_config(target="candidate", config=config(user("alice", "<password>$0$alice</password>")))
    for source in ("candidate", "running"):
        if source == "running":
            admin.commit()
        data = admin.get_config(source).data_ele
        found = {each.findtext(f"{{{SYSTEM}}}name"): each.findtext(f"{{{SYSTEM}}}password")
                 for each in data.iterfind(f".//{{{SYSTEM}}}user")}
        assert found["alice"].startswith(("$5$", "$6$"))
    with pytest.raises(AuthenticationError):
        connect("alice", found["alice"])
    assert connect("alice", "alice").connected


def test_a_changed_password_holds_from_the_next_login_on(admin, connect):
    admin.edit_config(target="running", config=config(user("olga", "<password>$0$new</password>")))
    with pytest.raises(AuthenticationError):
        connect("olga", "olga")
    assert connect("olga", "new").connected


def attempts(port, passwords):
    """Tries passwords on one connection: for each the seconds it took and whether it was let in."""
    transport = paramiko.Transport(("127.0.0.1", port))
    transport.start_client(timeout=20)
    outcomes = []
    try:
        for password in passwords:
            began = time.monotonic()
            try:
                transport.auth_password("admin", password)
                outcomes.append((time.monotonic() - began, True))
            except paramiko.BadAuthenticationType:
                outcomes.append((time.monotonic() - began, False))
            except paramiko.AuthenticationException:
                outcomes.append((time.monotonic() - began, False))
            except (paramiko.SSHException, EOFError):
                break
    finally:
        transport.close()
    return outcomes


def test_a_connection_has_three_attempts_and_each_failure_slows_the_next_down(agent):
    first = attempts(agent.port, ["wrong"] * 6)
    assert len([each for each in first if not each[1]]) <= 4
    assert attempts(agent.port, ["wrong"])[0][0] >= 0.5
    took, let_in = attempts(agent.port, [PASSWORD])[0]
    assert let_in and took >= 1
