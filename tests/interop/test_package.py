"""The .deb on a throw-away machine with a systemd of its own: installed, used, upgraded, removed and purged."""

import json
import os
import re
import shutil
import subprocess

import pytest
from harness.agent import ANSWER
from harness.machine import Machine
from harness.net import Unavailable
from harness.program import BINARIES, COUNTERPARTS, ROOT
from harness.wait import DEADLINE, wait_until
from ncclient import manager

SYSTEM = "urn:ietf:params:xml:ns:yang:ietf-system"
HARDWARE = "urn:ietf:params:xml:ns:yang:ietf-hardware"
SOCKET = "/run/tether/tether.sock"
CONFIGURATION = "/etc/tether/tether.toml"
# linux/capability.h: CAP_NET_BIND_SERVICE and CAP_NET_RAW.
CAPABILITIES = 1 << 10 | 1 << 13


@pytest.fixture(scope="module")
def packages(tmp_path_factory):
    """Two versions of the package, of the binary that the other tests use, without its symbols."""
    tool = shutil.which(COUNTERPARTS / "bin" / "cargo-deb") or shutil.which("cargo-deb")
    if not tool:
        pytest.skip("no cargo-deb")
    directory = tmp_path_factory.mktemp("package")
    (directory / "release").mkdir()
    subprocess.run(["strip", "-o", directory / "release" / "tether", BINARIES / "tether"], check=True)
    # Where Cargo.toml has the package look for them, wherever else the build is.
    subprocess.run([BINARIES / "examples" / "package", ROOT / "target" / "package"], check=True)

    def package(version):
        file = directory / f"tether_{version}.deb"
        subprocess.run([tool, "--no-build", "--no-strip", "--fast", f"--deb-version={version}", f"--output={file}"], cwd=ROOT,
                       env=os.environ | {"CARGO_TARGET_DIR": str(directory)}, check=True, capture_output=True, timeout=120)
        return file
    return package("0.1.0-1"), package("0.1.1-1")


@pytest.fixture
def machine(tmp_path):
    try:
        machine = Machine(tmp_path / "machine")
    except Unavailable as reason:
        pytest.skip(str(reason))
    yield machine
    machine.end()


def install(machine, package):
    machine.run("dpkg", "--install", machine.copy(package), env=os.environ | {"DEBIAN_FRONTEND": "noninteractive"})
    wait_until("the service is up", lambda: unit(machine, "ActiveState") == "active")


def configure(machine, *lines):
    """Overrides lines of the unit."""
    drop_in = machine.path("/etc/systemd/system/tether.service.d")
    drop_in.mkdir(parents=True)
    (drop_in / "test.conf").write_text("\n".join(["[Service]", *lines, ""]))


def unit(machine, what):
    return machine.run("systemctl", "show", "tether", f"--property={what}", "--value").stdout.strip()


def status(machine, what):
    text = machine.path(f"/proc/{unit(machine, 'MainPID')}/status").read_text()
    return re.search(rf"^{what}:\s*(\S+)", text, re.MULTILINE)[1]


def connect(machine):
    return manager.connect_uds(path=str(machine.path(SOCKET)), timeout=ANSWER, manager_params={"timeout": ANSWER})


def hostname(machine):
    with connect(machine) as session:
        wanted = f'<system xmlns="{SYSTEM}"><hostname/></system>'
        return session.get_config("running", ("subtree", wanted)).data_ele.findtext(f".//{{{SYSTEM}}}hostname")


def test_the_installed_service_runs_as_its_own_user_with_two_capabilities(machine, packages):
    install(machine, packages[0])
    user = machine.run("id", "--user", "tether").stdout.strip()
    assert user != "0" and status(machine, "Uid") == user
    assert int(status(machine, "CapEff"), 16) == CAPABILITIES
    assert int(status(machine, "CapBnd"), 16) == CAPABILITIES
    assert status(machine, "NoNewPrivs") == "1" and status(machine, "Seccomp") == "2"
    assert machine.run("stat", "--format=%a %U", "/var/lib/tether").stdout == "700 tether\n"
    assert ":830 " in machine.run("ss", "--tcp", "--listening", "--numeric").stdout
    printed = machine.run("journalctl", "--unit=tether", "--output=cat").stdout
    assert len(re.findall(r"the user admin was made, with the password \S+", printed)) == 1
    shown = machine.run("tether", "cli", "-c", "display cloud-management state").stdout
    assert "Cloud connection state   : Unconnected" in shown


def test_the_journal_has_each_value_as_a_field(machine, packages):
    install(machine, packages[0])
    machine.run("tether", "cli", "-c", "system-view", "-c", "sysname mine")
    look = ["journalctl", "--unit=tether", "--output=json", "OPERATION=edit-config"]
    told = wait_until("it is told", lambda: machine.run(*look).stdout.splitlines())
    entry, = map(json.loads, told)
    assert (entry["USER"], entry["OUTCOME"], entry["TARGET"], entry["PRIORITY"]) == ("admin", "ok", "audit", "6"), entry
    assert entry["MESSAGE"].startswith("rpc session=")


def test_what_comes_with_it_is_there(machine, packages):
    install(machine, packages[0])
    for page in ["tether", "tether-agent", "tether-cli", "tether-service", "tether-dhcp-event"]:
        assert machine.path(f"/usr/share/man/man1/{page}.1.gz").exists()
    assert machine.path("/usr/share/man/man7/tether-commands.7.gz").exists()
    completed = machine.run("bash", "-c", ". /usr/share/bash-completion/completions/tether; COMP_WORDS=(tether ag); COMP_CWORD=1; "
                            "_tether tether ag tether; echo ${COMPREPLY[@]}").stdout
    assert completed == "agent\n"
    assert machine.run("systemd-analyze", "verify", "/usr/lib/systemd/system/tether.service").stderr == ""


def test_the_journal_has_the_levels_and_values_of_the_log(machine, packages):
    install(machine, packages[0])
    with connect(machine) as session:
        session.edit_config(target="running", config=f'<config xmlns="urn:ietf:params:xml:ns:netconf:base:1.0">'
                            f'<system xmlns="{SYSTEM}"><hostname>x</hostname></system></config>')
    machine.run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", "/root/key")
    key = machine.run("ssh-keygen", "-l", "-f", "/root/key").stdout.split()[1]
    refused = machine.run("ssh", "-F", "none", "-i", "/root/key", "-p", "830", "-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=no",
                          "admin@127.0.0.1", check=False)
    assert refused.returncode == 255 and "Permission denied" in refused.stderr

    def journal(*which):
        return machine.run("journalctl", "--unit=tether", "--output=cat", *which).stdout
    wait_until("the refusal is a warning", lambda: f"keys=1 key={key}" in journal("--priority=warning"))
    assert "running changed" not in journal("--priority=warning")
    wait_until("the audit is found by its fields", lambda: journal("TARGET=audit", "USER=admin", "OPERATION=edit-config"))
    configuration = machine.path(CONFIGURATION)
    configuration.write_text(configuration.read_text().replace("0.0.0.0:830", "192.0.2.1:830"))
    machine.run("systemctl", "restart", "tether", check=False)
    wait_until("what keeps it from running is an error", lambda: "192.0.2.1:830" in journal("--priority=err"))
    configuration.write_text(configuration.read_text().replace("192.0.2.1:830", "nowhere"))
    machine.run("systemctl", "restart", "tether", check=False)
    wait_until("and a wrong file is told with the line", lambda: re.search(r"tether\.toml is refused: line \d+, .*nowhere", journal()))


@pytest.fixture
def written(tmp_path):
    """The pages and completions as the package gets them."""
    subprocess.run([BINARIES / "examples" / "package", tmp_path / "written"], check=True, timeout=DEADLINE)
    return tmp_path / "written"


@pytest.mark.parametrize("command", [["agent"], ["cli"], ["dhcp-event"], ["service"], []])
def test_every_option_is_in_the_pages_and_in_the_completions(written, command):
    asked = subprocess.run([BINARIES / "tether", *command, "--help"], capture_output=True, text=True, check=True, timeout=DEADLINE)
    options = set(re.findall(r"--[a-z][a-z-]*", asked.stdout))
    assert "--help" in options and (command != ["agent"] or {"--metrics", "--log-to", "--startup-datastore"} <= options)
    page = written.joinpath("-".join(["tether", *command]) + ".1").read_text().replace("\\-", "-")
    said = {"the page": page, "bash": (written / "tether.bash").read_text(), "zsh": (written / "_tether").read_text()}
    for where, text in said.items():
        assert not [option for option in options if option not in text], where
    fish = (written / "tether.fish").read_text()
    assert not [option for option in options if f"-l {option[2:]}" not in fish]


def pages(written):
    return {page.name: page.read_text().replace("\\-", "-") for page in written.glob("*.[17]")}


def test_the_pages_say_all_that_the_options_do_not(written, tmp_path):
    """Keys of the file alone, environment, signals, exit status, files, and where to read on."""
    page = pages(written)["tether-agent.1"]
    (tmp_path / "bad.toml").write_text("no-key = 1")
    refused = subprocess.run([BINARIES / "tether", "agent", "--config", tmp_path / "bad.toml"], capture_output=True, text=True,
                             check=False, timeout=DEADLINE)
    keys = re.findall("`([a-z-]+)`", refused.stderr.split("expected one of")[1])
    assert {"restart-command", "shutdown-command", "log-to"} <= set(keys)
    assert not [key for key in keys if key not in page]
    for word in ["TETHER_ADMIN_PASSWORD", "SIGHUP", "SIGTERM", "EXIT STATUS", "/etc/tether/tether.toml", "secret.key"]:
        assert word in page, word
    assert "tether-commands(7)" in pages(written)["tether-cli.1"]
    for name, text in pages(written).items():
        named = set(re.findall(r"(tether[a-z-]*)\(([17])\)", text.split("SEE ALSO")[1]))
        assert named and all((written / ".".join(other)).exists() for other in named), name


def test_the_page_of_commands_has_every_command(written):
    page = pages(written)["tether-commands.7"]
    table = (ROOT / "src" / "cli" / "commands.md").read_text()
    commands = [syntax.replace("\\|", "|") for syntax in re.findall(r"^\| `(.+?)` \|", table, re.MULTILINE)]
    assert len(commands) > 40 and not [syntax for syntax in commands if syntax not in page]


def test_the_pages_are_as_groff_wants_them(written):
    if not shutil.which("groff"):
        pytest.skip("no groff")
    for page in written.glob("*.[17]"):
        ran = subprocess.run(["groff", "-man", "-Tutf8", "-ww", "-z", page], capture_output=True, text=True, check=False, timeout=DEADLINE)
        assert (ran.returncode, ran.stderr) == (0, ""), page.name


def test_what_is_hidden_is_not_offered(written):
    for file in written.iterdir():
        assert "session-on-stdin" not in file.read_text().replace("\\-", "-"), file.name


def test_the_unit_exposes_little():
    unit = ROOT / "examples" / "package" / "tether.service"
    ran = subprocess.run(["systemd-analyze", "security", "--offline=true", "--threshold=20", "--no-pager", unit],
                         capture_output=True, text=True, check=False, timeout=DEADLINE)
    if "Overall exposure level" not in ran.stdout:
        pytest.skip(f"no systemd-analyze that looks at a file: {ran.stderr.strip()}")
    assert ran.returncode == 0, ran.stdout.splitlines()[-1]


def test_an_upgrade_keeps_configuration_state_and_what_was_changed_by_hand(machine, packages):
    install(machine, packages[0])
    with connect(machine) as session:
        session.edit_config(target="running", config=f'<config xmlns="urn:ietf:params:xml:ns:netconf:base:1.0">'
                            f'<system xmlns="{SYSTEM}"><hostname>kept</hostname></system></config>')
    machine.path(CONFIGURATION).write_text(machine.path(CONFIGURATION).read_text() + 'serial-number = "BY-HAND"\n')
    key = machine.path("/var/lib/tether/ssh_host_ed25519_key").read_bytes()
    process = unit(machine, "MainPID")
    install(machine, packages[1])
    wait_until("the new version runs", lambda: unit(machine, "MainPID") not in (process, "0"))
    wait_until("it serves", lambda: unit(machine, "ActiveState") == "active")
    assert hostname(machine) == "kept"
    assert "BY-HAND" in machine.path(CONFIGURATION).read_text()
    assert machine.path("/var/lib/tether/ssh_host_ed25519_key").read_bytes() == key


def test_removed_it_leaves_its_state_and_purged_nothing(machine, packages):
    install(machine, packages[0])
    machine.run("dpkg", "--remove", "tether")
    assert unit(machine, "ActiveState") == "inactive"
    assert machine.path("/var/lib/tether/configuration.redb").exists() and machine.path(CONFIGURATION).exists()
    install(machine, packages[0])
    machine.run("dpkg", "--purge", "tether")
    assert not machine.path("/var/lib/tether").exists() and not machine.path("/etc/tether").exists()
    assert not machine.path("/usr/bin/tether").exists()


def test_the_serial_number_of_the_hardware_comes_as_a_credential(machine, packages):
    probe = ["--pipe", "--wait", "--property=User=nobody", "--property=SetCredential=a:b", "cat", "/run/credentials/probe.service/a"]
    if machine.run("systemd-run", "--unit=probe", *probe, check=False).stdout != "b":
        pytest.skip("systemd hands no credentials to other users here")
    machine.path("/etc/serial").write_text("210235A1XXX000000077\n")
    configure(machine, "LoadCredential=", "LoadCredential=serial-number:/etc/serial")
    install(machine, packages[0])
    with connect(machine) as session:
        wanted = f'<hardware xmlns="{HARDWARE}"><component><serial-num/></component></hardware>'
        assert "210235A1XXX000000077" in session.get(("subtree", wanted)).xml


def test_an_agent_that_does_not_answer_is_started_anew(machine, packages):
    configure(machine, "WatchdogSec=1", "RestartSec=0")
    install(machine, packages[0])
    process = unit(machine, "MainPID")
    machine.run("kill", "-STOP", process)
    wait_until("another one runs", lambda: unit(machine, "MainPID") not in (process, "0"), 2 * DEADLINE)
    assert "watchdog" in machine.run("journalctl", "--unit=tether", "--output=cat").stdout.lower()
