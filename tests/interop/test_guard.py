"""The commit guard as an orchestrator meets it, and what is left of it after a kill at any moment."""

import os
import random
import subprocess
import sys
import threading

from harness import program
from harness.agent import PASSWORD as ADMIN_PASSWORD
from harness.cloud import PASSWORD
from harness.config import CLOUD, cloud as settings
from harness.orchestrator import Orchestrator
from harness.session import Ended
from harness.wait import DEADLINE

ROUNDS = 16
# Seconds after the guarded commit of a round within which the agent is killed, in turn: while it is stored and its tunnel
# is made, which takes some thousandths; and before or after that on a slow machine, too.
WITHIN = (0.01, 0.03, 0.3)


def test_the_example_pushes_a_wrong_password_and_reads_why_the_device_is_back(agent, cloud, connect):
    Orchestrator(connect(), agent).point_at(cloud)
    done = subprocess.run(
        [sys.executable, program.ROOT / "examples/guarded.py", "--device", f"127.0.0.1:{agent.port}"],
        capture_output=True, text=True, timeout=5 * DEADLINE, check=False,
        env=os.environ | {"TETHER_ADMIN_PASSWORD": ADMIN_PASSWORD})
    assert done.returncode == 0, done.stdout + done.stderr
    said = done.stdout.splitlines()
    assert said[0] == "committed a password that the cloud does not know"
    assert said[2].startswith("told: commit 3 was taken back by commit 4"), said
    assert said[2].endswith("cloud.example says password-refused"), said
    assert said[3].endswith("again; last down: commit-rolled-back"), said
    assert said[4].endswith("password-refused"), said


def test_after_kill_9_while_it_is_armed_the_device_starts_with_what_was_before(start, cloud):
    agent = start()
    session = agent.local()
    orchestrator = Orchestrator(agent.connect(), agent)
    orchestrator.point_at(cloud)
    orchestrator.sees_established()
    session.hello()
    commit(session, "<commit-guard><timeout>3600</timeout></commit-guard>")
    before = server(session)
    commit(session, "<server><password>$0$wrong</password></server>")
    orchestrator.sees(failure_reason="password-refused", device_state="waiting")
    agent.kill()
    agent = start()
    again = Orchestrator(agent.connect(), agent)
    state = again.sees_established()
    assert state["last-down/reason"] == "commit-rolled-back"
    assert state["commit-guard/last-rollback/rolled-back-commit-id"] == "4"
    assert "commit-guard/deadline" not in state
    session = agent.local()
    session.hello()
    assert server(session) == before
    # Once: another kill finds nothing to take back.
    agent.kill()
    agent = start()
    assert Orchestrator(agent.connect(), agent).sees_established()["commit-guard/last-rollback/commit-id"] == "5"


def test_after_kill_9_at_any_moment_the_guarded_commit_is_there_or_gone_as_a_whole_and_the_tunnel_stands(start, cloud):
    """Round after round: a guarded commit to a password that the cloud takes, and the kill somewhere between."""
    chance = random.Random(8040)
    agent = start()
    Orchestrator(agent.connect(), agent).point_at(cloud)
    kept = gone = 0
    password = PASSWORD
    for number in range(ROUNDS):
        orchestrator = Orchestrator(agent.connect(), agent)
        orchestrator.sees_established()
        session = agent.local()
        session.hello()
        commit(session, "<commit-guard><timeout>3600</timeout></commit-guard>")
        assert "commit-guard/deadline" not in orchestrator.state()
        before = server(session)
        offered = f"password-{number}"
        cloud.obey(f"password 210235A1XXX000000001 {offered}")
        killer = threading.Timer(chance.uniform(0, WITHIN[number % len(WITHIN)]), agent.process.kill)
        after = None
        try:
            killer.start()
            commit(session, f"<server><password>$0${offered}</password></server>")
            after = server(session)
        except Ended:
            pass
        finally:
            killer.join()
            agent.kill()
            session.close()
        agent = start()
        session = agent.local()
        session.hello()
        now = server(session)
        assert after is None or now in (before, after), "neither what was before nor what was committed"
        if now == before:
            gone += 1
            cloud.obey(f"password 210235A1XXX000000001 {password}")
            Orchestrator(agent.connect(), agent).act("<reset-tunnel/>")
        else:
            kept += 1
            password = offered
        session.close()
    Orchestrator(agent.connect(), agent).sees_established()
    assert kept and gone, (kept, gone)


def commit(session, inside):
    edit = f"<edit-config><target><candidate/></target><config>{settings(inside)}</config></edit-config>"
    for operation in (edit, "<commit/>"):
        assert session.rpc(operation).is_ok


def server(session):
    """The configured password, as it is stored."""
    reply = session.rpc("<get-config><source><running/></source></get-config>")
    return reply.element.findtext(f".//{{{CLOUD}}}password")
