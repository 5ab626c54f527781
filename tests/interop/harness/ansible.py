"""Ansible, with the collections that .ci/counterparts copies."""

import json
import os
import subprocess
import sys
from pathlib import Path

from . import program
from .agent import PASSWORD

PLAYBOOK = Path(sys.executable).with_name("ansible-playbook")
IS_THERE = PLAYBOOK.exists() and (program.COUNTERPARTS / "ansible_collections").exists()
MISSING = "no Ansible with its collections: see .ci/counterparts"
# A playbook starts several interpreters.
PATIENCE = 120


def play(book, directory, *arguments, **agents):
    """Runs a playbook on agents by their names; what `subprocess.run` says."""
    environment = os.environ | {
        "ANSIBLE_COLLECTIONS_PATH": str(program.COUNTERPARTS), "ANSIBLE_HOME": str(directory / "ansible"),
        "ANSIBLE_LOCAL_TEMP": str(directory / "ansible" / "tmp"), "ANSIBLE_STDOUT_CALLBACK": "ansible.builtin.default",
        "ANSIBLE_HOST_KEY_CHECKING": "False", "ANSIBLE_NOCOLOR": "1",
        "PATH": f"{PLAYBOOK.parent}{os.pathsep}{os.environ['PATH']}"}
    devices = {name: {"ansible_connection": "ansible.netcommon.netconf", "ansible_network_os": "default",
                      "ansible_host": "127.0.0.1", "ansible_port": agent.port, "ansible_user": "admin",
                      "ansible_password": PASSWORD} for name, agent in agents.items()}
    (directory / "hosts.json").write_text(json.dumps({"all": {"hosts": devices}}))
    return subprocess.run([PLAYBOOK, "-i", directory / "hosts.json", *arguments, book], env=environment, capture_output=True,
                          text=True, timeout=PATIENCE, check=False, cwd=directory)
