"""What ncclient's manager offers beyond an edit and a read, and the device handlers that name a kind of device."""

import pytest
from harness.config import CLOUD, NACM, NETCONF, SYSTEM, cloud, config, server
from harness.wait import wait_until
from ncclient.operations import RPCError
from ncclient.operations.retrieve import WithDefaultsError
from ncclient.xml_ import to_ele

INTERVAL = f".//{{{CLOUD}}}keepalive-interval"
NMDA = "urn:ietf:params:xml:ns:yang:ietf-netconf-nmda"
DATASTORES = "urn:ietf:params:xml:ns:yang:ietf-datastores"
ORIGIN = "{urn:ietf:params:xml:ns:yang:ietf-origin}origin"


def edit(value, **options):
    leaf = cloud(f"<keepalive-interval>{value}</keepalive-interval>")
    return {"target": "candidate", "config": config(leaf)} | options


def interval(session, source="running"):
    return session.get_config(source).data_ele.findtext(INTERVAL)


def refusal(operation, *arguments, **options):
    with pytest.raises(RPCError) as caught:
        operation(*arguments, **options)
    return caught.value


@pytest.mark.parametrize("name", ["default", "h3c", "hpcomware", "huaweiyang", "alu", "nexus", "iosxe", "iosxr", "sros"])
def test_every_kind_of_device_handler_edits_commits_and_reads_errors(connect, name):
    session = connect(device_params={"name": name})
    session.edit_config(**edit(60))
    session.commit()
    assert session.connected
    assert "<keepalive-interval>60</keepalive-interval>" in str(session.get_config(source="running"))
    error = refusal(session.edit_config, **edit(9))
    assert (error.tag, error.path.endswith("keepalive-interval")) == ("invalid-value", True)


@pytest.mark.parametrize("name, call", [
    ("h3c", lambda session: session.get_bulk()),
    ("h3c", lambda session: session.get_bulk_config("running")),
    ("h3c", lambda session: session.save("startup.cfg")),
    ("h3c", lambda session: session.rollback("startup.cfg")),
    ("hpcomware", lambda session: session.save("startup.cfg")),
    ("hpcomware", lambda session: session.cli_display("display version")),
])
def test_the_operations_of_one_vendor_are_refused_in_its_handler_and_the_session_goes_on(connect, name, call):
    session = connect(device_params={"name": name})
    assert refusal(call, session).tag in ("operation-not-supported", "unknown-namespace", "unknown-element")
    assert interval(session) is None


def test_a_confirmed_commit_is_taken_back_at_its_deadline(connect):
    session = connect()
    session.edit_config(**edit(60))
    session.commit(confirmed=True, timeout="1")
    assert interval(session) == "60"
    wait_until("it is taken back", lambda: interval(session) is None)


@pytest.mark.parametrize("end", ["cancel", "end of session"])
def test_a_confirmed_commit_goes_with_its_session_or_when_it_is_cancelled(connect, end):
    session, other = connect(), connect()
    session.edit_config(**edit(60))
    session.commit(confirmed=True, timeout="600")
    assert refusal(other.commit).tag == "in-use"
    if end == "cancel":
        session.cancel_commit()
    else:
        session.close_session()
    wait_until("it is taken back", lambda: interval(other) is None)


def test_a_persistent_confirmed_commit_is_confirmed_from_another_session_that_knows_its_id(connect):
    session, other = connect(), connect()
    session.edit_config(**edit(60))
    session.commit(confirmed=True, timeout="600", persist="a secret")
    session.close_session()
    assert interval(other) == "60"
    assert refusal(other.commit, persist_id="another").tag == "invalid-value"
    assert refusal(other.cancel_commit, persist_id="another").tag == "invalid-value"
    other.commit(persist_id="a secret")
    assert interval(other) == "60"
    assert refusal(other.cancel_commit, persist_id="a secret").tag in ("operation-failed", "invalid-value")


def test_a_persistent_confirmed_commit_is_cancelled_with_its_id(connect):
    session = connect()
    session.edit_config(**edit(60))
    session.commit(confirmed=True, persist="a secret")
    session.cancel_commit(persist_id="a secret")
    assert interval(session) is None


@pytest.mark.parametrize("mode, shown, default", [
    ("explicit", False, None), ("trim", False, None), ("report-all", True, None), ("report-all-tagged", True, "true")])
def test_each_mode_of_defaults_shows_what_it_says(connect, mode, shown, default):
    session = connect()
    session.edit_config(target="running", config=config(server("<domain>cloud.example</domain>")))
    for read in (session.get, lambda **options: session.get_config("running", **options)):
        port = read(filter=("subtree", server("")), with_defaults=mode).data_ele.find(f".//{{{CLOUD}}}port")
        assert (port is not None) == shown
        if shown:
            assert port.text == "443"
            assert port.get("{urn:ietf:params:xml:ns:netconf:default:1.0}default") == default


def test_a_mode_that_is_none_is_refused_before_it_is_sent(connect):
    with pytest.raises(WithDefaultsError):
        connect().get(with_defaults="sometimes")


def test_an_xpath_filter_selects_by_the_prefixes_of_the_request(connect):
    session = connect()
    session.edit_config(target="running", config=config(
        cloud("<server><domain>cloud.example</domain><port>8443</port></server><keepalive-interval>60</keepalive-interval>")))
    for prefix in ("cm", "whatever"):
        data = session.get_config("running", filter=(
            "xpath", ({prefix: CLOUD}, f"/{prefix}:cloud-management/{prefix}:server/{prefix}:port"))).data_ele
        assert [leaf.text for leaf in data.iter() if len(leaf) == 0] == ["8443"]
    users = ("xpath", ({"s": SYSTEM}, "//s:user[starts-with(s:name, 'adm')]/s:name"))
    assert [leaf.text for leaf in session.get(filter=users).data_ele.iter() if len(leaf) == 0] == ["admin"]


@pytest.mark.parametrize("namespaces, expression", [
    ({"cm": CLOUD}, "/cm:cloud-management["), ({"cm": CLOUD}, "/other:cloud-management"), ({"cm": CLOUD}, "1 + 1")])
def test_an_xpath_filter_that_makes_no_sense_is_refused(connect, namespaces, expression):
    session = connect()
    error = refusal(session.get, filter=("xpath", (namespaces, expression)))
    assert error.tag in ("invalid-value", "bad-attribute", "unknown-namespace"), error.tag
    assert interval(session) is None


def test_each_error_option_and_test_option_is_taken(connect):
    session = connect()
    session.edit_config(**edit(60, test_option="test-only", error_option="rollback-on-error"))
    assert interval(session, "candidate") is None
    for option in ("set", "test-then-set"):
        session.edit_config(**edit(60, test_option=option, error_option="stop-on-error"))
        assert interval(session, "candidate") == "60"
    session.edit_config(target="candidate", default_operation="none", error_option="continue-on-error",
                        config=config(cloud('<keepalive-interval nc:operation="remove"/>')))
    assert interval(session, "candidate") is None


def test_a_configuration_in_the_request_is_validated_and_copied(connect):
    # As elements: the manager's own methods take names only.
    session = connect()

    def request(operation, inside, target=""):
        return to_ele(f'<{operation} xmlns="{NETCONF}">{target}<source>{config(inside)}</source></{operation}>')
    users = session.get_config("running", filter=("subtree", f'<system xmlns="{SYSTEM}"/>')).data_xml
    system = users[users.index("<system"):users.index("</data")]
    session.dispatch(request("validate", system))
    session.dispatch(request("copy-config", cloud("<keepalive-interval>60</keepalive-interval>") + system,
                             "<target><candidate/></target>"))
    assert interval(session, "candidate") == "60"
    assert session.get_config("candidate").data_ele.find(f".//{{{NACM}}}groups") is None
    wrong = cloud("<keepalive-interval>9</keepalive-interval>")
    assert refusal(session.dispatch, request("validate", wrong)).tag == "invalid-value"


def test_a_schema_comes_in_both_formats_and_an_unknown_one_is_refused(connect):
    session = connect()
    assert "module cloud-management {" in session.get_schema("cloud-management", format="yang").data
    assert '<module name="cloud-management"' in session.get_schema("cloud-management", format="yin").data
    assert refusal(session.get_schema, "nonsense").tag == "invalid-value"
    assert refusal(session.get_schema, "cloud-management", version="1999-01-01").tag == "invalid-value"


def test_the_operational_datastore_shows_where_its_values_come_from(connect):
    session = connect()
    session.edit_config(target="running", config=config(cloud("<keepalive-interval>60</keepalive-interval>")))
    reply = session.rpc(to_ele(
        f'<get-data xmlns="{NMDA}" xmlns:ds="{DATASTORES}"><datastore>ds:operational</datastore>'
        f"<subtree-filter>{cloud('<keepalive-interval/><server><port/></server>')}</subtree-filter>"
        "<with-origin/></get-data>"))
    data = to_ele(reply.xml)
    found = {name: data.find(f".//{{{CLOUD}}}{name}") for name in ("keepalive-interval", "port")}
    origins = {name: [each.get(ORIGIN) for each in (leaf, *leaf.iterancestors()) if each.get(ORIGIN)][0].rpartition(":")[2]
               for name, leaf in found.items()}
    assert origins == {"keepalive-interval": "intended", "port": "default"}


def test_the_manager_kills_another_session_and_not_its_own(connect):
    one, two = connect(), connect()
    one.lock("candidate")
    assert refusal(two.kill_session, two.session_id).tag == "invalid-value"
    assert refusal(two.kill_session, "4000000").tag == "invalid-value"
    two.kill_session(one.session_id)
    with two.locked("candidate"):
        wait_until("the session ends", lambda: not one.connected)


def test_operations_may_be_sent_without_waiting(connect):
    session = connect()
    session.async_mode = True
    reads = [session.get_config("running") for _ in range(50)]
    for read in reads:
        assert read.event.wait(20)
        assert read.error is None and "admin" in read.reply.xml
    session.async_mode = False
