#!/usr/bin/env python3
"""Looks after many devices at once with nornir: their tunnels in a table, and on request another keepalive interval.

    pip install nornir ncclient
    TETHER_ADMIN_PASSWORD=... examples/automation/fleet.py --hosts hosts.yaml [--keepalive-interval 60] [--timeout 30]

`hosts.yaml` is the inventory of nornir: `NAME: {hostname: 192.0.2.1, port: 830, username: admin}`. Host keys are looked for in
known_hosts; what else ncclient is to be told stands in `connection_options: {netconf: {extras: {…}}}`. A device that is away is
waited for until the timeout, or 15 s where something takes the connection and says nothing, and keeps none of the others
waiting. The exit code is 0 if every device answered and has a tunnel.
"""

import argparse
import logging
import os
import sys

from ncclient import manager
from ncclient.xml_ import to_ele
from nornir.core.plugins.connections import ConnectionPluginRegister
from nornir.core.plugins.inventory import InventoryPluginRegister
from nornir.core.task import Result
from nornir.init_nornir import InitNornir
from nornir.plugins.inventory.simple import SimpleInventory

CLOUD = "urn:tether:yang:cloud-management"
NETCONF = "urn:ietf:params:xml:ns:netconf:base:1.0"
# Devices at a time.
ABREAST = 20
COLUMNS = ["connection-state", "server-domain", "server-address", "failure-reason"]


class Netconf:
    """NETCONF as nornir's way to a device."""

    # Seconds for a connection, and for each answer.
    timeout = 30

    def open(self, hostname, username, password, port, platform, extras=None, configuration=None):
        self.connection = manager.connect(host=hostname, port=port or 830, username=username, password=password, timeout=self.timeout,
                                          **(extras or {}))

    def close(self):
        self.connection.close_session()


def show(task):
    """The state of a device's tunnel, by the names of its leaves."""
    session = task.host.get_connection("netconf", task.nornir.config)
    wanted = f'<cloud-management xmlns="{CLOUD}"><state/></cloud-management>'
    state = session.get(filter=("subtree", wanted)).data_ele.find(f".//{{{CLOUD}}}state")
    leaves = state if state is not None else []
    return Result(host=task.host, result={leaf.tag.partition("}")[2]: leaf.text for leaf in leaves if len(leaf) == 0})


def set_interval(task, seconds):
    """Sets the keepalive interval; the tunnel stays."""
    session = task.host.get_connection("netconf", task.nornir.config)
    interval = f'<cloud-management xmlns="{CLOUD}"><keepalive-interval>{seconds}</keepalive-interval></cloud-management>'
    with session.locked("running"):
        session.edit_config(target="running", config=to_ele(f'<config xmlns="{NETCONF}">{interval}</config>'))
    return Result(host=task.host, changed=True)


def fleet(hosts, password):
    """All devices of an inventory file."""
    # What fails is told in the table.
    logging.getLogger("nornir").addHandler(logging.NullHandler())
    ConnectionPluginRegister.register("netconf", Netconf)
    InventoryPluginRegister.register("simple", SimpleInventory)
    devices = InitNornir(
        runner={"plugin": "threaded", "options": {"num_workers": ABREAST}}, logging={"enabled": False},
        inventory={"plugin": "simple", "options": {"host_file": hosts}})
    devices.inventory.defaults.password = password
    return devices


def main():
    arguments = parse()
    Netconf.timeout = arguments.timeout
    devices = fleet(arguments.hosts, os.environ.get("TETHER_ADMIN_PASSWORD"))
    failed = {}
    with devices:
        if arguments.keepalive_interval:
            failed |= devices.run(set_interval, seconds=arguments.keepalive_interval).failed_hosts
        shown = devices.run(show)
        failed |= shown.failed_hosts
    established = 0
    for name in devices.inventory.hosts:
        if name in failed:
            print(f"{name:<20} {' '.join(str(failed[name].exception).split()) or 'no answer in time'}")
            continue
        leaves = shown[name].result
        established += leaves.get("connection-state") == "established"
        print(f"{name:<20} " + " ".join(f"{leaves.get(column, '-'):<16}" for column in COLUMNS).rstrip())
    sys.exit(established != len(devices.inventory.hosts))


def parse():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hosts", required=True, metavar="FILE", help="inventory of nornir")
    parser.add_argument("--keepalive-interval", type=int, metavar="SECONDS", help="set it on every device first")
    parser.add_argument("--timeout", type=int, default=Netconf.timeout, metavar="SECONDS",
                        help="for a connection, and for each answer [%(default)s]")
    return parser.parse_args()


if __name__ == "__main__":
    main()
