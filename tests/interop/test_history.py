"""The list of commits: it agrees with running whatever ends the agent, and each of its fifty leads back."""

import random
import re
import threading

from harness.config import CLOUD, MANAGEMENT, cloud
from harness.session import Ended

ROUNDS = 40
# Seconds after the first commit of a round within which the agent is killed; a commit takes a few milliseconds.
LONGEST_ROUND = 0.06
KEPT = 50
HISTORY = f'<get><filter type="subtree"><device-management xmlns="{MANAGEMENT}"><commit/></device-management></filter></get>'
RUNNING = f'<get-config><source><running/></source><filter type="subtree">{cloud("<server/>")}</filter></get-config>'
CONFIRMED = "<commit><confirmed/><confirm-timeout>600</confirm-timeout><persist>t</persist></commit>"


def edit(number):
    return ("<edit-config><target><candidate/></target><config>"
            + cloud(f"<server><domain>d{number}.example</domain></server>") + "</config></edit-config>")


def roll_back(number):
    return (f'<action xmlns="urn:ietf:params:xml:ns:yang:1"><device-management xmlns="{MANAGEMENT}"><rollback-to>'
            f"<commit-id>{number}</commit-id></rollback-to></device-management></action>")


def domain(element):
    return element.findtext(f".//{{{CLOUD}}}domain")


def running(session):
    return domain(session.rpc(RUNNING).element)


def listed(session):
    """Each commit of the list: its number, its source, and the domain that running had after it, as its difference says."""
    commits = []
    for commit in session.rpc(HISTORY).element.iterfind(f".//{{{MANAGEMENT}}}commit"):
        of = commit.findtext
        commits.append((int(of(f"{{{MANAGEMENT}}}id")), of(f"{{{MANAGEMENT}}}source"), domain(commit)))
    return commits


def open_session(agent):
    session = agent.local()
    session.hello()
    return session


def commit_until_killed(agent, session, number, seconds):
    """Commits, every third a confirmed one that is confirmed afterwards; the number that was tried last."""
    killer = threading.Timer(seconds, agent.process.kill)
    killer.start()
    try:
        while True:
            number += 1
            assert session.rpc(edit(number)).is_ok
            if number % 3:
                assert session.rpc("<commit/>").is_ok
            else:
                assert session.rpc(CONFIRMED).is_ok
                assert session.rpc("<commit><persist-id>t</persist-id></commit>").is_ok
    except Ended:
        return number
    finally:
        killer.join()
        agent.kill()


def test_after_kill_9_the_list_ends_with_what_running_is(start):
    chance = random.Random(8341)
    number, taken_back, before = 0, 0, []
    for _ in range(ROUNDS):
        agent = start()
        session = open_session(agent)
        commits = listed(session)
        numbers = [commit[0] for commit in commits]
        assert numbers == list(range(numbers[-1] - len(numbers) + 1, numbers[-1] + 1)), "a gap, or one twice"
        assert len(numbers) == min(KEPT, numbers[-1])
        # What was listed once is never another one afterwards.
        known = dict((commit[0], commit) for commit in before)
        assert all(known.get(commit[0], commit) == commit for commit in commits)
        last = next((commit[2] for commit in reversed(commits) if commit[2]), None)
        assert running(session) == last
        taken_back += commits[-1][1] == "confirmed-commit"
        before = commits
        number = commit_until_killed(agent, session, number, chance.uniform(0, LONGEST_ROUND))
        session.close()
    assert number > KEPT and taken_back, f"{number} commits, {taken_back} taken back at a start"


def test_each_of_the_fifty_leads_back_to_what_it_made(agent):
    session = open_session(agent)
    for number in range(1, KEPT + 10):
        assert session.rpc(edit(number)).is_ok and session.rpc("<commit/>").is_ok
    made = {commit[0]: commit[2] for commit in listed(session)}
    assert len(made) == KEPT
    newest = max(made)
    # Each way back is a commit, too, and pushes the oldest out: the newer half from its end, the older from its head.
    half = KEPT // 2
    for number in [newest - age for age in range(1, half)]:
        assert session.rpc(roll_back(number)).is_ok
        assert running(session) == made[number]
    session.close()


def test_the_oldest_of_the_list_leads_back_and_the_one_before_it_is_refused(agent):
    session = open_session(agent)
    for number in range(1, KEPT + 10):
        assert session.rpc(edit(number)).is_ok and session.rpc("<commit/>").is_ok
    for _ in range(KEPT // 2 + 1):
        oldest, _, made = listed(session)[0]
        refused, = session.rpc(roll_back(oldest - 1)).errors
        assert refused.tag == "invalid-value" and re.search(rf"has {oldest} to \d+", refused.message), refused.message
        assert session.rpc(roll_back(oldest)).is_ok
        assert running(session) == made
        assert listed(session)[-1][1:] == ("rollback-to", made)
    session.close()
