"""netconf_get and netconf_config of Ansible (collection ansible.netcommon), in playbooks as operators write them."""

import json
import sys
from pathlib import Path

import pytest
from harness import ansible
from harness.config import CLOUD, cloud, config, server

pytestmark = pytest.mark.skipif(not ansible.IS_THERE, reason=ansible.MISSING)
INTERVAL = f".//{{{CLOUD}}}keepalive-interval"


@pytest.fixture
def play(agent, tmp_path):
    """Runs tasks as one playbook and gives the result of each, failed ones too."""
    def play(*tasks):
        results = tmp_path / "results.json"
        steps = [{"name": f"step {number}", "register": f"step_{number}", "ignore_errors": True} | task
                 for number, task in enumerate(tasks)]
        registered = ", ".join(f"step_{number}" for number in range(len(tasks)))
        keep = {"name": "keep the results", "delegate_to": "localhost", "connection": "local",
                "ansible.builtin.copy": {"dest": str(results), "content": "{{ [" + registered + "] | to_json }}"},
                "vars": {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}}
        book = [{"hosts": "all", "gather_facts": False, "tasks": [*steps, keep]}]
        (tmp_path / "book.yml").write_text(json.dumps(book))
        ran = ansible.play(tmp_path / "book.yml", tmp_path, device=agent)
        assert ran.returncode == 0 and results.exists(), ran.stdout[-3000:] + ran.stderr[-3000:]
        return json.loads(results.read_text())
    return play


def edit(inside, **options):
    return {"ansible.netcommon.netconf_config": {"content": config(inside)} | options}


def get(**options):
    return {"ansible.netcommon.netconf_get": options}


def done(result):
    assert not result.get("failed"), result.get("msg")
    return result


def test_a_playbook_edits_reads_back_and_changes_nothing_the_second_time(play, connect):
    wanted = edit(cloud("<keepalive-interval>60</keepalive-interval>"), validate=True, lock="always")
    state = cloud("<state><connection-state/></state>")
    first, second, configured, looked = play(
        wanted, wanted, get(source="running", lock="if-supported", filter=cloud("<keepalive-interval/>")),
        get(filter=state, display="pretty"))
    assert (done(first)["changed"], done(second)["changed"]) == (True, False)
    assert "<keepalive-interval>60</keepalive-interval>" in done(configured)["stdout"]
    assert "unconnected" in done(looked)["output"]
    assert connect().get_config("running").data_ele.findtext(INTERVAL) == "60"


def test_each_target_a_backup_and_a_commit_alone_are_served(play, connect):
    # Not `confirm`: this version of the module hands ncclient a number where it takes text, and nothing is sent.
    directly, committed, backup = play(
        edit(cloud("<keepalive-interval>61</keepalive-interval>"), target="running"),
        {"ansible.netcommon.netconf_config": {"confirm_commit": True}},
        edit(server("<port>8443</port>"), default_operation="merge", error_option="rollback-on-error", backup=True))
    assert done(directly)["changed"] and done(committed)
    kept = Path(done(backup)["backup_path"]).read_text()
    assert "<keepalive-interval>61</keepalive-interval>" in kept and "8443" not in kept
    data = connect().get_config("running").data_ele
    assert (data.findtext(INTERVAL), data.findtext(f".//{{{CLOUD}}}port")) == ("61", "8443")


def test_a_refused_edit_fails_its_task_with_words_and_changes_nothing(play, connect):
    results = play(edit(cloud("<keepalive-interval>9</keepalive-interval>")), edit(cloud("<nonsense/>")),
                   edit(server("<port>0</port>"), target="running"), get(source="running"))
    for result, word in zip(results, ("\"9\" was given", "nonsense", "\"0\" was given")):
        assert result["failed"] and word in result["msg"], result
    assert "cloud-management" not in done(results[3])["stdout"]
    assert connect().get_config("candidate").data_ele.find(INTERVAL) is None
