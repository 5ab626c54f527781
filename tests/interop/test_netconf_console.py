"""netconf-console2: the command line that operators type by hand."""

import subprocess
import sys
from pathlib import Path

import pytest
from harness.agent import PASSWORD
from harness.config import CLOUD, cloud, server
from harness.wait import DEADLINE
from lxml import etree

COMMAND = Path(sys.executable).with_name("netconf-console2")
PREFIXED = f"--ns=cm={CLOUD}"


@pytest.fixture
def console(agent):
    """Runs it once; what it prints."""
    def console(*arguments, given=""):
        command = [COMMAND, "--host=127.0.0.1", f"--port={agent.port}", "-u", "admin", "-p", PASSWORD, *arguments]
        ran = subprocess.run(command, input=given, capture_output=True, text=True, timeout=DEADLINE, check=False)
        assert not ran.stderr, ran.stderr
        return ran.stdout
    return console


@pytest.fixture
def write(tmp_path):
    def write(text):
        path = tmp_path / "part.xml"
        path.write_text(text)
        return path
    return write


def error_tag(printed):
    error = etree.fromstring(printed.encode())
    assert etree.QName(error).localname == "rpc-error", printed
    return error.findtext("{*}error-tag")


def test_hello_prints_the_capabilities(console):
    assert "urn:ietf:params:netconf:capability:candidate:1.0" in console("--hello")


def test_several_commands_share_one_session(console, write):
    edit = write(cloud("<keepalive-interval>60</keepalive-interval>"))
    printed = console("--db=candidate", "--lock", f"--edit-config={edit}", "--validate=candidate", "--commit", "--unlock")
    assert printed.count("ok") == 5, printed
    assert "<keepalive-interval>60</keepalive-interval>" in console("--get-config")


def test_an_expression_sets_and_deletes(console):
    leaf = "/cm:cloud-management/keepalive-interval"
    console(PREFIXED, "--db=running", f"--set={leaf}=61")
    assert "<keepalive-interval>61</keepalive-interval>" in console("--get-config")
    console(PREFIXED, "--db=running", f"--delete={leaf}")
    assert "keepalive-interval" not in console("--get-config")
    again = console(PREFIXED, "--db=running", "--del-operation=delete", f"--delete={leaf}")
    assert error_tag(again) == "data-missing"


def test_discarded_changes_are_gone(console, write):
    edit = write(cloud("<keepalive-interval>60</keepalive-interval>"))
    console("--db=candidate", f"--edit-config={edit}", "--discard-changes")
    assert "keepalive-interval" not in console("--get-config", "--db=candidate")


def test_a_schema_is_fetched(console):
    assert "module cloud-management {" in console("--get-schema=cloud-management")


def test_state_is_printed(console):
    assert "<connection-state>unconnected</connection-state>" in console("--get")


@pytest.mark.parametrize("inside, tag", [
    (cloud("<keepalive-interval>9</keepalive-interval>"), "invalid-value"),
    (server("<port>0</port>"), "invalid-value"),
    (cloud("<nonsense/>"), "unknown-element"),
    ('<nonsense xmlns="urn:nonsense"/>', "unknown-namespace"),
])
def test_a_refused_edit_is_printed_with_its_tag(console, write, inside, tag):
    assert error_tag(console("--db=candidate", f"--edit-config={write(inside)}")) == tag
    assert "cloud-management" not in console("--get-config", "--db=candidate")


def test_an_operation_of_its_own_is_sent_as_it_is(console, write):
    operation = write("<get-config xmlns='urn:ietf:params:xml:ns:netconf:base:1.0'><source><candidate/></source></get-config>")
    assert "<user-name>admin</user-name>" in console(f"--rpc={operation}")


def test_a_script_of_commands_shares_one_session(console):
    printed = console("--interactive", given="lock --db candidate\nget-config\nunlock --db candidate\n")
    assert printed.count("<ok ") == 2 and "<user-name>admin</user-name>" in printed, printed
