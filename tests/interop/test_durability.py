"""What is acknowledged is on the disk; what is refused has left no trace."""

import errno
import os
import random
import re
import subprocess
import threading
from pathlib import Path

import pytest
from harness.config import CLOUD, cloud
from harness.session import Ended
from harness.wait import DEADLINE, wait_until

ROUNDS = 200
# Seconds after the first commit of a round within which the agent is killed; a commit takes a few milliseconds.
LONGEST_ROUND = 0.06
COMMIT = "<commit/>"
GET = "<get-config><source><running/></source></get-config>"


def edit(number, target="candidate"):
    """Both leaves say the same number, so that a mixture of two commits shows."""
    inside = f"<server><domain>d{number}.example</domain></server><unbinding-code>c{number}</unbinding-code>"
    return f"<edit-config><target><{target}/></target><config>{cloud(inside)}</config></edit-config>"


def number_in(session):
    """The number that running holds, 0 without one."""
    reply = session.rpc(GET)
    domain = reply.element.findtext(f".//{{{CLOUD}}}domain") or "d0.example"
    code = reply.element.findtext(f".//{{{CLOUD}}}unbinding-code") or "c0"
    number = int(re.fullmatch(r"d(\d+)\.example", domain)[1])
    assert code == f"c{number}", f"a mixture: {domain}, {code}"
    return number


def commit_until_killed(agent, session, number, seconds):
    """Commits number after number until the agent is killed; the last that was tried, and the last acknowledged."""
    tried = acknowledged = number
    killer = threading.Timer(seconds, agent.process.kill)
    try:
        while True:
            tried = acknowledged + 1
            if tried == number + 1:
                killer.start()
            assert session.rpc(edit(tried)).is_ok
            assert session.rpc(COMMIT).is_ok
            acknowledged = tried
    except Ended:
        return tried, acknowledged
    finally:
        killer.join()
        agent.kill()


def test_after_kill_9_running_is_what_was_acknowledged_last_or_was_in_flight(start):
    chance = random.Random(6241)
    tried = acknowledged = 0
    for _ in range(ROUNDS):
        agent = start()
        session = agent.local()
        session.hello()
        kept = number_in(session)
        assert kept in (acknowledged, tried)
        tried, acknowledged = commit_until_killed(agent, session, kept, chance.uniform(0, LONGEST_ROUND))
        session.close()
    assert acknowledged > ROUNDS, "each round should see a few commits"


def test_a_commit_is_synchronised_before_its_ok_leaves(agent, tmp_path):
    witnessed = tmp_path / "strace"
    session = agent.local()
    session.hello()
    calls = "trace=fdatasync,fsync,msync,write,writev,sendto,sendmsg,recvfrom,recvmsg,read,readv"
    strace = subprocess.Popen(["strace", "-f", "-qq", "-s", "4096", "-e", calls, "-o", witnessed,
                               "-p", str(agent.process.pid)], stderr=subprocess.PIPE)
    try:
        def is_attached():
            if strace.poll() is not None:
                pytest.skip(f"strace cannot attach here: {strace.stderr.read().decode().strip()}")
            tracers = re.findall(r"TracerPid:\t(\d+)", "".join(
                (task / "status").read_text() for task in Path(f"/proc/{agent.process.pid}/task").iterdir()))
            return tracers and all(tracer != "0" for tracer in tracers)
        wait_until("strace is attached", is_attached)
        for number in range(1, 11):
            assert session.rpc(edit(number)).is_ok
            assert session.rpc(COMMIT).is_ok
    finally:
        strace.terminate()
        strace.wait(DEADLINE)
    asked = synchronised = None
    commits = 0
    for place, line in enumerate(witnessed.read_text().splitlines()):
        call = line.split(None, 1)[1]
        if re.search(r"<commit/>", call):
            asked, synchronised = place, None
        elif re.match(r"(fdatasync|fsync|msync)\(.*= 0$|<\.\.\. (fdatasync|fsync|msync) resumed.*= 0$", call):
            synchronised = place
        elif re.match(r"(write|writev|sendto|sendmsg)\(", call) and "<ok/>" in call and asked is not None:
            assert synchronised is not None, f"the ok of line {place} left before the sync:\n" + call
            commits, asked = commits + 1, None
    assert commits == 10


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 4 MiB."""
    place = tmp_path / "disk"
    place.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", place], capture_output=True, text=True,
                             check=False, timeout=DEADLINE)
    if mounted.returncode != 0:
        pytest.skip(f"no tmpfs can be mounted here: {mounted.stderr.strip()}")
    yield place
    subprocess.run(["umount", "--lazy", place], check=True, timeout=DEADLINE)


def test_a_full_disk_refuses_the_commit_and_nothing_else(start, small_disk):
    agent = start(directory=small_disk / "agent")
    session = agent.local()
    session.hello()
    assert session.rpc(edit(1)).is_ok and session.rpc(COMMIT).is_ok
    ballast = small_disk / "ballast"
    fill(ballast)
    number, refused = 1, None
    while refused is None:
        # What the store has at hand already may still take a few.
        number += 1
        assert number < 1000, "a full disk takes any number of commits"
        assert session.rpc(edit(number)).is_ok
        refused = next(iter(session.rpc(COMMIT).errors), None)
    assert (refused.kind, refused.tag) == ("application", "resource-denied")
    assert "no space left on device" in refused.message
    assert number_in(session) == number - 1
    ballast.unlink()
    assert session.rpc(COMMIT).is_ok
    assert number_in(session) == number
    session.close()
    agent.kill()
    again = start(directory=small_disk / "agent").local()
    again.hello()
    assert number_in(again) == number
    again.close()


def fill(path):
    with path.open("wb", buffering=0) as file:
        size = 1 << 16
        while size:
            try:
                file.write(bytes(size))
            except OSError as error:
                assert error.errno == errno.ENOSPC
                size //= 2


CONFIRMED = "<commit><confirmed/><confirm-timeout>600</confirm-timeout><persist>t</persist>{}</commit>"


def test_after_kill_9_a_confirmed_commit_that_nobody_confirmed_is_gone(start):
    agent = start()
    session = agent.local()
    session.hello()
    assert session.rpc(edit(1)).is_ok and session.rpc(COMMIT).is_ok
    for number, follow_up in ((2, ""), (3, "<persist-id>t</persist-id>"), (4, "<persist-id>t</persist-id>")):
        assert session.rpc(edit(number)).is_ok and session.rpc(CONFIRMED.format(follow_up)).is_ok
    assert number_in(session) == 4
    agent.kill()
    agent = start()
    again = agent.local()
    again.hello()
    assert number_in(again) == 1
    # There is nothing left to confirm, and what comes now stays.
    refused, = again.rpc("<commit><persist-id>t</persist-id></commit>").errors
    assert refused.tag == "invalid-value"
    assert again.rpc(edit(5)).is_ok and again.rpc(COMMIT).is_ok
    agent.kill()
    last = start().local()
    last.hello()
    assert number_in(last) == 5
    last.close()


def test_after_kill_9_at_any_moment_a_confirmed_commit_is_there_if_it_was_confirmed(start):
    """Round after round: a confirmed commit, its confirmation, and the kill somewhere between."""
    chance = random.Random(84)
    confirmed = 0
    unconfirmed = rounds = 0
    for _ in range(40):
        agent = start()
        session = agent.local()
        session.hello()
        kept = number_in(session)
        assert kept in (confirmed, confirmed + 1), "only the confirmation in flight may be there or not"
        confirmed = number = kept
        killer = threading.Timer(chance.uniform(0, LONGEST_ROUND), agent.process.kill)
        killer.start()
        try:
            while True:
                number = confirmed + 1
                assert session.rpc(edit(number)).is_ok
                assert session.rpc(CONFIRMED.format("")).is_ok
                assert session.rpc("<commit><persist-id>t</persist-id></commit>").is_ok
                confirmed, rounds = number, rounds + 1
        except Ended:
            unconfirmed += 1
        finally:
            killer.join()
            agent.kill()
            session.close()
    assert rounds > 40 and unconfirmed == 40


def test_a_full_disk_does_not_keep_a_confirmed_commit_from_being_taken_back_at_a_start(start, small_disk):
    agent = start(directory=small_disk / "agent")
    session = agent.local()
    session.hello()
    assert session.rpc(edit(1)).is_ok and session.rpc(COMMIT).is_ok
    assert session.rpc(edit(2)).is_ok and session.rpc(CONFIRMED.format("")).is_ok
    agent.kill()
    ballast = small_disk / "ballast"
    for _ in range(2):
        fill(ballast)
        agent = start(directory=small_disk / "agent")
        session = agent.local()
        session.hello()
        assert number_in(session) == 1
        agent.kill()
    agent = start(directory=small_disk / "agent")
    session = agent.local()
    session.hello()
    assert number_in(session) == 1
    ballast.unlink()
    assert session.rpc(edit(3)).is_ok and session.rpc(COMMIT).is_ok
    agent.kill()
    last = start(directory=small_disk / "agent").local()
    last.hello()
    assert number_in(last) == 3
    last.close()


def test_a_commit_survives_an_orderly_restart(start):
    agent = start()
    session = agent.local()
    session.hello()
    assert session.rpc(edit(7)).is_ok and session.rpc(COMMIT).is_ok
    session.close()
    assert agent.stop() == 0
    session = start().local()
    session.hello()
    assert number_in(session) == 7
    session.close()


def test_an_edit_that_was_not_committed_does_not_survive(start):
    agent = start()
    session = agent.local()
    session.hello()
    assert session.rpc(edit(7)).is_ok
    agent.kill()
    again = start().local()
    again.hello()
    assert number_in(again) == 0
    again.close()


def test_nothing_secret_is_on_the_disk_in_clear_text(start):
    agent = start()
    session = agent.local()
    session.hello()
    secret = "<server><password>$0$a-cloud-Pa55</password></server>"
    assert session.rpc(f"<edit-config><target><running/></target><config>{cloud(secret)}</config></edit-config>").is_ok
    session.close()
    agent.stop()
    for file in agent.state.iterdir():
        assert os.stat(file).st_mode & 0o077 == 0, file
        content = file.read_bytes()
        assert b"a-cloud-Pa55" not in content and b"correct horse" not in content, file
