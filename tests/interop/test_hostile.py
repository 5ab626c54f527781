"""Hostile clients by the hundred, and an honest one that must not notice."""

import statistics

import pytest
from harness.config import cloud, config
from harness.crowd import Crowd
from harness.wait import wait_until

ROUNDS = 5
REQUESTS = 400
MILLISECOND = 1000


@pytest.fixture
def crowd(agent, key):
    return Crowd(agent, key)


@pytest.fixture
def siege(crowd):
    """1,000 silent connections, 100 sessions with half a message, 100 that never read, 10 that send octet by octet,
    20 that send noise, before and after the login."""
    siege = crowd.siege()
    yield siege
    siege.kill()


def p99(crowd):
    """The median of several rounds: one disturbance by the machine is not the agent's."""
    return statistics.median(crowd.ask(REQUESTS)["p99"] for _ in range(ROUNDS))


def test_an_honest_session_is_as_quick_under_siege(crowd, request):
    undisturbed = p99(crowd)
    siege = request.getfixturevalue("siege")
    assert siege.laid == 1210
    disturbed = p99(crowd)
    done = siege.lift()
    assert done["slow_replies"] > 0 and done["noise"] > 0, done
    assert disturbed < max(5 * undisturbed, 5 * MILLISECOND), (undisturbed, disturbed)


def test_new_managers_log_in_and_commit_under_siege(agent, siege):
    for interval in ("60", "61", "62"):
        with agent.connect() as session, session.locked("candidate"):
            edit = cloud(f"<keepalive-interval>{interval}</keepalive-interval>")
            session.edit_config(target="candidate", config=config(edit))
            session.commit()
    siege.lift()


def test_nothing_is_left_of_a_siege_that_is_over(agent, siege, connect):
    # There is room for 1,152: some of the silent ones have just given way, and come again.
    assert agent.descriptors() > 800
    siege.lift()
    wait_until("the connections are gone", lambda: agent.descriptors() < 40, seconds=60)
    session = connect()
    assert len(agent.sessions(session)) == 1
    with session.locked("running"), session.locked("candidate"):
        assert session.get_config("running").data_ele is not None
