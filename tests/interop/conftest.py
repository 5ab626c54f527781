"""Fixtures: each test has programs, ports, a home and a directory of its own."""

import pytest
from harness.abreast import abreast
from harness.agent import Agent
from harness.cloud import Cloud
from harness.config import authorized_key, config
from harness.lab import Lab
from harness.session import generate_key


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    """A home without keys: nobody's own reach the agent."""
    home = tmp_path / "home"
    (home / ".ssh").mkdir(parents=True, mode=0o700)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    return home


@pytest.fixture
def start(tmp_path):
    """Starts agents, by default on the state directory of the one before; all end with the test."""
    agents = []

    def start(*options, directory=tmp_path / "agent", **others):
        agents.append(Agent(directory, *options, **others))
        return agents[-1]
    yield start
    for agent in agents:
        agent.kill()


@pytest.fixture
def agent(start):
    return start()


@pytest.fixture
def cloud(tmp_path):
    cloud = Cloud(tmp_path / "cloud")
    yield cloud
    cloud.kill()


@pytest.fixture
def lab(tmp_path):
    """A device and a cloud on hosts of their own; all ends with the test."""
    lab = Lab(tmp_path / "lab")
    yield lab
    lab.end()


@pytest.fixture(scope="session")
def running(request, tmp_path_factory):
    """The scenarios of all tests selected that have one, under way at once."""
    tests = [item for item in request.session.items if "running" in item.fixturenames]
    with abreast([test.callspec.params["scenario"] for test in tests], tmp_path_factory.mktemp("abreast")) as running:
        yield running


@pytest.fixture
def connect(agent):
    """Opens sessions of ncclient; all end with the test."""
    sessions = []

    def connect(*who, **options):
        sessions.append(agent.connect(*who, **options))
        return sessions[-1]
    yield connect
    for session in sessions:
        if session.connected:
            session.close_session()


@pytest.fixture
def make_key(tmp_path):
    def make_key(kind="ed25519", bits=None):
        path = tmp_path / f"key-{kind}-{bits}"
        generate_key(path, kind, bits)
        return path
    return make_key


@pytest.fixture
def key(agent, make_key):
    """A key that `admin` may log in with."""
    path = make_key()
    with agent.connect() as session:
        session.edit_config(target="running", config=config(authorized_key("admin", path)))
    return path


@pytest.fixture
def by_hand(agent, key):
    """Opens sessions through the OpenSSH client; all end with the test."""
    sessions = []

    def by_hand():
        sessions.append(agent.ssh(key))
        return sessions[-1]
    yield by_hand
    for session in sessions:
        session.close()
